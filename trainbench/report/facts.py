"""What tables and plots show of a result, each number found in one way everywhere."""

from collections import Counter
from collections.abc import Iterable

from trainbench.report.numbers import clip, percent, units
from trainbench.results.outcome import NOT_STEADY, outcome, steady
from trainbench.results.record import Operation, Result, Trace

_MOST_OPERATIONS = 3
_MOST_OF_A_NAME = 40


def rate(result: Result) -> float | None:
    """Samples per second over all devices; None where none were measured."""
    return result.throughput.samples_per_s if result.throughput else None


def interval(result: Result) -> tuple[float, float] | None:
    """The 95 % interval of `rate`; None where too few blocks were timed."""
    return result.throughput.samples_per_s_ci95 if result.throughput else None


def ends(result: Result) -> tuple[float, float]:
    """The ends of `interval`, or the rate itself where there is none; 0 where there is no rate."""
    return interval(result) or (rate(result) or 0.0,) * 2


def usable(result: Result) -> bool:
    """Whether its rate may stand beside others: a run that came to its end, or a forecast, and is valid."""
    known = result.workload is not None and result.throughput is not None
    return known and result.status == "ok" and result.kind != "probe"


def measured(result: Result) -> bool:
    """Whether a device ran it; a forecast has figures of the same names that no device has shown."""
    return result.kind == "measured"


def status(result: Result) -> str:
    """How it came out, in the word that exports have too: ok, not steady, oom, ..."""
    return outcome(result)


def doubt(result: Result) -> str:
    """What is said after a figure of a run that was not steady; else nothing."""
    return "" if steady(result) else f", {NOT_STEADY}"


def counted(results: Iterable[Result]) -> str:
    """How many came out how, the most frequent first, for example "3 ok, 1 oom"."""
    found = Counter(map(status, results))
    return ", ".join(f"{number:,} {word}" for word, number in found.most_common())


def unit(result: Result) -> str:
    """The plural of what is counted: images or sequences; samples where it is neither.

    It stands in titles of axes, which Vega-Lite puts into expressions: no text of a file may come there.
    """
    said = result.workload.sample_unit if result.workload else ""
    return units(said if said in ("image", "sequence") else "sample")


def step_time_s(result: Result) -> float | None:
    """The median step time."""
    step = result.timing.step_time_s if result.timing else None
    return step.median if step else None


def mfu(result: Result) -> float | None:
    """The fraction of the published peak; None where the device has none."""
    return result.utilization.mfu if result.utilization else None


def peak_bytes(result: Result) -> int | None:
    """Peak memory of the fullest device: the allocator's where it keeps one, else the compiler's."""
    return peak(result)[0]


def peak(result: Result) -> tuple[int | None, str]:
    """`peak_bytes`, and whose figure it is."""
    memory = result.memory
    if memory is None:
        return None, "compiler"
    if memory.peak_bytes_allocator is not None:
        return memory.peak_bytes_allocator, "allocator"
    return memory.peak_bytes_compiled, "compiler"


def compile_s(result: Result) -> float | None:
    """Seconds of tracing, lowering and compiling; None for a program that was not compiled."""
    stages = result.compile
    if stages is None or stages.compile_s is None:
        return None
    return (stages.trace_s or 0) + (stages.lower_s or 0) + stages.compile_s


def batch(result: Result) -> int | None:
    """Samples per device and optimizer step."""
    return result.workload.batch_size if result.workload else None


def device(result: Result) -> str | None:
    """The devices, for example "8 x TPU v3"; the count is left out where it is 1."""
    hardware = result.hardware
    if hardware is None:
        return None
    times = f"{hardware.device_count} x " if hardware.device_count != 1 else ""
    return f"{times}{hardware.device_kind}"


def axes(result: Result) -> dict[str, int]:
    """Devices along each axis of the mesh; empty where nothing was split."""
    split = result.parallel
    return {"data": split.data, "fsdp": split.fsdp, "tensor": split.tensor} if split else {}


def sent_bytes(result: Result) -> float | None:
    """Bytes that each device sends per optimizer step; None where that is unknown, or there is one device."""
    return result.communication.bytes_per_step if result.communication else None


def communication_share(result: Result) -> float | None:
    """Of a step, with collectives running and nothing else: traced, or of a forecast step."""
    if result.forecast:
        return next((one.share for one in result.forecast.limits if one.name == "collectives"), None)
    return result.communication.time_fraction if result.communication else None


def step_times_s(result: Result) -> tuple[float, ...]:
    """Seconds per optimizer step in each timed block, in order."""
    timing = result.timing
    return tuple(seconds / timing.steps_per_block for seconds in timing.block_s) if timing else ()


def busy(trace: Trace) -> str:
    """The share of the traced time that the device was at work."""
    return "n/a" if trace.device_busy_fraction is None else percent(trace.device_busy_fraction)


def operation(one: Operation, width: int = _MOST_OF_A_NAME) -> str:
    """Where in the program an operation comes from, in at most `width` columns; else the compiler's name.

    The function around all of it is left out; what is too long loses its beginning.

    >>> operation(Operation(name="fusion.15", origin="jit(step)/transpose(jvp(mlp))/dot_general",
    ...                     self_time_s=1e-3, share=0.1, occurrences=1))
    'transpose(jvp(mlp))/dot_general'
    """
    return place(one.origin, width) if one.origin else clip(one.name, width)


def place(origin: str, width: int = _MOST_OF_A_NAME) -> str:
    """A place of the traced program as `operation` shows it."""
    first, _, rest = origin.partition("/")
    name = " ".join((rest if first.startswith("jit(") and rest else origin).split())
    return name if len(name) <= width else f"…{name[1 - width :]}"


def traced(trace: Trace) -> str:
    """The three longest operations, and how busy the device was, on one line."""
    longest = [f"{operation(one)} {percent(one.share)}" for one in trace.operations[:_MOST_OPERATIONS]]
    return " · ".join(
        [*([f"top ops: {', '.join(longest)}"] if longest else []), f"device busy {busy(trace)}"]
    )
