"""Every metric that runs are compared by: its better direction, how it is tested, and from which change on.

One table, so that a metric's direction is said in one place. What follows from another metric (MFU, step
time, tokens/s from samples/s) is shown or left out, never judged twice.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from trainbench.results import forecast_rate
from trainbench.results.forecast_rate import chips
from trainbench.results.record import Result

Better = Literal["higher", "lower"]
# blocks: from the blocks of the timed window; from run to run where there are several.
# exact: the compiler's figure, the same each time; a change above the threshold counts.
# repeats: from run to run; with one run a side it is shown.
# bounds: the record's own bounds have to lie apart by the threshold.
# identity: a change means that another program ran; warned of.
# shown: only shown.
# curve: shown, at the last step that all runs have.
Test = Literal["blocks", "exact", "repeats", "bounds", "identity", "shown", "curve"]
Unit = Literal["samples_per_s", "bytes", "seconds", "fraction", "flops", "count", "plain"]

# The least change that counts, unless the user sets another; compile times are less steady than steps.
THRESHOLD = 0.02
COMPILE_THRESHOLD = 0.10


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes:
      read: the value in a record; None where it has none.
      threshold: the least change that counts, as a fraction; None: what the user chose, or `THRESHOLD`. For
        a metric that is a fraction itself, the difference.
    """

    name: str
    unit: Unit
    test: Test
    read: Callable[[Result], float | None]
    better: Better = "lower"
    threshold: float | None = None


def step_times_s(result: Result) -> tuple[float, ...]:
    """Seconds of one optimizer step in each timed block; empty where nothing was timed."""
    timing = result.timing
    if timing is None or not timing.steps_per_block:
        return ()
    times = tuple(block / timing.steps_per_block for block in timing.block_s)
    return times if all(time > 0 for time in times) else ()


def _rate(result: Result) -> float | None:
    """Samples per second and chip of the median step; of a forecast the expected ones, else the bound."""
    if result.kind == "forecast":
        found = forecast_rate.rate(result)
        return found.value if found else None
    times = step_times_s(result)
    if not times or result.workload is None or not result.workload.global_batch_size:
        return None
    return result.workload.global_batch_size / statistics.median(times) / chips(result)


def rate_ends(result: Result) -> tuple[float, float] | None:
    """The 95 % interval of samples per second and chip; None where there is none, as of a bound."""
    ends = result.throughput.samples_per_s_ci95 if result.throughput else None
    return (ends[0] / chips(result), ends[1] / chips(result)) if ends else None


def _memory(name: str) -> Callable[[Result], float | None]:
    def read(result: Result) -> float | None:
        return (getattr(result.memory, name) or None) if result.memory else None

    return read


def _compiled(result: Result) -> float | None:
    """The compiler's peak memory; the section that has it differs with how far the run came."""
    stages = result.compile
    return _memory("peak_bytes_compiled")(result) or ((stages.peak_bytes or None) if stages else None)


def _compile_time(result: Result) -> float | None:
    return result.compile.fresh_s if result.compile else None


def _dispatch(result: Result) -> float | None:
    return result.timing.host_dispatch_s if result.timing else None


def _stall(result: Result) -> float | None:
    return result.input.stall_fraction if result.input else None


def stall_bounds(results: Sequence[Result]) -> tuple[float, float] | None:
    """Bounds of the share of a step that input costs, over these runs; None where one of them has none."""
    found = [result.input.stall_fraction_bounds for result in results if result.input]
    known = [bounds for bounds in found if bounds is not None]
    if not known or len(known) < len(results):
        return None
    return min(low for low, _ in known), max(high for _, high in known)


def _held_out(result: Result) -> float | None:
    return result.evaluation.value if result.evaluation else None


def loss_curve(result: Result) -> dict[int, float]:
    """The finite training losses that were fetched, by step."""
    return {step: loss for step, loss in result.loss.curve if loss is not None} if result.loss else {}


def _loss(result: Result) -> float | None:
    return result.loss.last if result.loss else None


def _mfu(result: Result) -> float | None:
    return result.utilization.mfu if result.utilization else None


def _flops(result: Result) -> float | None:
    return result.workload.flops_per_sample if result.workload else None


def _program_flops(result: Result) -> float | None:
    return result.compile.program_flops if result.compile else None


def _parameters(result: Result) -> float | None:
    return result.workload.parameters if result.workload else None


SPEED = Metric("speed", "samples_per_s", "blocks", _rate, "higher")

METRICS = (
    SPEED,
    Metric("compiled peak memory", "bytes", "exact", _compiled),
    Metric("allocator peak memory", "bytes", "repeats", _memory("peak_bytes_allocator")),
    Metric("compile time", "seconds", "repeats", _compile_time, threshold=COMPILE_THRESHOLD),
    Metric("input stall", "fraction", "bounds", _stall, threshold=THRESHOLD),
    Metric("host dispatch", "seconds", "shown", _dispatch),
    Metric("MFU", "fraction", "shown", _mfu, "higher"),
    Metric("loss", "plain", "curve", _loss),
    Metric("held-out accuracy", "fraction", "shown", _held_out, "higher"),
    Metric("FLOPs per sample", "flops", "identity", _flops),
    Metric("FLOPs in the program", "flops", "identity", _program_flops),
    Metric("parameters", "count", "identity", _parameters),
)
