"""The end of a run on the console: plain lines that read the same on a terminal, in a pipe and in a log.

Lines are returned, not printed: `print` neither wraps nor colours them, so a pipe gets no escape codes and
no line broken at a terminal's width. Live progress and the table of a sweep are files of their own.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainbench.errors import UserError
from trainbench.report import facts
from trainbench.report.checkpoints import checkpoints
from trainbench.report.comparisons import published, reproduction
from trainbench.report.numbers import clip, duration, number, percent, plus_minus, size
from trainbench.report.progress import ProgressLine, block_text
from trainbench.report.sweep import sweep_table
from trainbench.report.what_ran import LABEL, labelled, what_ran
from trainbench.results.collect import printable
from trainbench.results.record import (
    Compile,
    Input,
    Loss,
    Result,
    Throughput,
    Timing,
)

__all__ = [
    "ProgressLine",
    "autos",
    "block_text",
    "closing",
    "error_screen",
    "summary",
    "sweep_table",
    "warnings",
]

_WIDTH = 110  # columns at which free text is cut; the result file has it in full
_MOST_LINES = 10
_MOST_COMPARISONS = 4
_HEADLINES = {
    "oom": "OUT OF MEMORY",
    "interrupted": "INTERRUPTED",
    "failed": "FAILED",
    "invalid": "INVALID, do not use these figures",
}


def closing(result: Result, path: Path) -> list[str]:
    """All that a run says at its end; `path` is where the record is, and shown as one would type it."""
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return [*summary(result, near), *autos(result), *warnings(result)]


def summary(result: Result, path: Path | None = None) -> list[str]:
    """Five to ten lines: what ran, how fast, how sure, against what; `path` is where the record is.

    A run that is not ok says so first. What it costs, and published figures, four at most, fill what is left
    of the ten lines.
    """
    lines = [*_headline(result), *what_ran(result), *_speed(result), *_processes(result)]
    lines += [*_ends(result), *_trace(result)]
    lines += [labelled("checkpoints", text) for text in checkpoints(result)]
    last = [labelled("result", str(path))] if path else []
    room = _MOST_LINES - len(lines) - len(last)
    texts = published(result, max(1, min(room, _MOST_COMPARISONS)))
    lines += [labelled("published", text) for text in texts]
    answer = reproduction(result)
    # The rest of the answer is set below its first line, which alone is named.
    lines += [labelled("" if place else "reproduce", text) for place, text in enumerate(answer)]
    return lines + last


def autos(result: Result) -> list[str]:
    """One line for each value that the program chose, with its reason."""
    return [f"auto: {name} = {auto.value} ({auto.reason})" for name, auto in result.autos.items()]


def warnings(result: Result) -> list[str]:
    """One line for each warning, in full; why a field is unknown stays in the record, where the field is."""
    unknown = set(_unknown_fields(result.model_dump()))
    return [f"warning: {text}" for text in result.warnings if text.partition(":")[0] not in unknown]


def _unknown_fields(section: Mapping[str, Any]) -> Iterator[str]:
    for name, value in section.items():
        if value is None:
            yield name
        elif isinstance(value, Mapping):
            yield from _unknown_fields(value)


def error_screen(error: UserError) -> str:
    """The user's mistake as plain text: the problem, what is allowed, what to type.

    What was typed, or stands in a file, cannot steer the terminal.
    """
    lines = [f"trainbench: {error.problem}"]
    lines += [f"  allowed: {error.allowed}"] if error.allowed else []
    lines += [f"  fix:     {error.fix}"] if error.fix else []
    return "\n".join(printable(line) for text in lines for line in text.split("\n"))


def _headline(result: Result) -> list[str]:
    if result.status == "ok":
        return []
    return [f"{_HEADLINES[result.status]}: {result.status_reason}"]


def _speed(result: Result) -> list[str]:
    lines = []
    if result.throughput:
        unit = facts.unit(result)
        lines.append(labelled("throughput", _throughput(result.throughput, unit, result.timing)))
    if result.timing:
        lines.append(
            labelled("step time", " · ".join([_step_time(result.timing), *_input_cost(result.input)]))
        )
    lines += _ways(result)
    device = [*_mfu(result), *_peak_memory(result), *_cost(result)]
    return lines + ([labelled("device", " · ".join(device))] if device else [])


def _throughput(throughput: Throughput, unit: str, timing: Timing | None) -> str:
    """The rate with its 95 % interval; a window that never was steady is said before the number."""
    rate = throughput.samples_per_s
    interval = throughput.samples_per_s_ci95
    sure = f"{plus_minus(rate, interval)} (95 % interval)" if interval else "(no interval: too few blocks)"
    parts = [f"{number(rate)} {unit}/s {sure}"]
    if throughput.tokens_per_s is not None:
        parts.append(f"{number(throughput.tokens_per_s)} tokens/s{_useful(throughput)}")
    if throughput.samples_per_s_per_chip is not None:
        parts.append(f"{number(throughput.samples_per_s_per_chip)} {unit}/s per chip")
    text = " · ".join(parts)
    if timing is None or timing.steady:
        return text
    why = clip(timing.steady_reason, max(_WIDTH - len(text) - LABEL - 16, 40))
    return f"NOT STEADY: {text} · {why}"


def _useful(throughput: Throughput) -> str:
    """How many of the tokens are no padding, where some are."""
    if throughput.useful_tokens_per_s in (None, throughput.tokens_per_s):
        return ""
    return f" ({number(throughput.useful_tokens_per_s or 0)} without padding)"


def _input_cost(given: Input | None) -> list[str]:
    """What the batches cost where they come from the host."""
    if given is None or given.stall_fraction is None:
        return []
    return [f"input costs {percent(given.stall_fraction)} of it"]


def _ways(result: Result) -> list[str]:
    """The verdict on the input, and the rates behind it, where the loader was measured by itself."""
    given = result.input
    if given is None or given.mode != "all" or not given.rates:
        return []
    unit = facts.unit(result)
    rates = ", ".join(
        f"{way} {number(rate.samples_per_s)} {plus_minus(rate.samples_per_s, rate.samples_per_s_ci95)}"
        for way, rate in given.rates.items()
    )
    lines = [labelled("by input", f"{rates} {unit}/s")]
    if given.verdict_reason is None:
        return lines
    return [*lines, labelled("verdict", f"{given.verdict or 'n/a'}: {given.verdict_reason}")]


def _step_time(timing: Timing) -> str:
    step = timing.step_time_s
    if step is None:
        return "n/a: no timed block was completed"
    text = f"{duration(step.median)} median"
    if step.p5 is not None and step.p95 is not None:
        text += f" · {duration(step.p5)} to {duration(step.p95)} (5th to 95th percentile)"
    return text + f" · {len(timing.block_s)} blocks of {timing.steps_per_block} steps"


def _lacks_mfu(result: Result) -> bool:
    return result.throughput is not None and (result.utilization is None or result.utilization.mfu is None)


def _mfu(result: Result) -> list[str]:
    """MFU with the rate behind it, or why there is none; nothing when nothing was measured."""
    if _lacks_mfu(result):
        return [f"MFU n/a: {result.reason('mfu') or 'no reason recorded'}"]
    used = result.utilization
    if used is None or used.mfu is None:
        return []
    extra = [f"HFU {percent(used.hfu)}"] if used.hfu is not None else []
    if used.model_tflops_per_s_per_chip is not None:
        extra.append(f"{number(used.model_tflops_per_s_per_chip)} TFLOP/s per chip")
    return [f"MFU {percent(used.mfu)}" + (f" ({', '.join(extra)})" if extra else "")]


def _peak_memory(result: Result) -> list[str]:
    """The allocator's peak if it keeps one, else the compiler's; which of the two is said."""
    if result.memory is None:
        return []
    peak, source = facts.peak(result)
    limit = f" of {size(result.memory.limit_bytes)}" if result.memory.limit_bytes else ""
    return ["peak memory n/a" if peak is None else f"peak memory {size(peak)}{limit} ({source})"]


def _processes(result: Result) -> list[str]:
    """How many there were, on how many hosts, and the longest wait for input, by name."""
    processes = result.processes
    if not processes:
        return []
    hosts = len({process.host for process in processes})
    text = f"{len(processes)} on {hosts} host{'s' if hosts > 1 else ''}"
    waits = [(process.input_wait_s, process) for process in processes if process.input_wait_s is not None]
    if waits:
        longest, slow = max(waits, key=lambda wait: wait[0])
        who = f"process {slow.index} ({slow.host})"
        text += f" · longest input wait {duration(longest)} a step, {who}"
    return [labelled("processes", text)]


def _ends(result: Result) -> list[str]:
    lines = []
    if result.compile:
        lines.append(labelled("compile", compile_text(result.compile)))
    learnt = [*_loss(result.loss), *_evaluation(result)]
    return [*lines, labelled("loss", " · ".join(learnt))] if learnt else lines


def _trace(result: Result) -> list[str]:
    """The three longest operations, and how busy the device was; nothing without a trace."""
    trace = result.trace
    if trace is None:
        return []
    kept = f"{trace.steps} steps in {trace.path}/ ({size(trace.size_bytes)})"
    return [labelled("trace", f"{facts.traced(trace)} · {kept}")]


def _cost(result: Result) -> list[str]:
    """Dollars for a million samples, and at which price; where that is from stands in the record."""
    cost = result.cost
    if cost is None or cost.usd_per_million_samples is None or cost.price_source is None:
        return []
    unit = facts.unit(result)
    price = cost.price_source.partition("; source: ")[0]
    return [f"${number(cost.usd_per_million_samples)} per million {unit} at {price}"]


def compile_text(stages: Compile) -> str:
    """How long the program took to make, stage by stage, and whether from the cache."""
    named = [("trace", stages.trace_s), ("lower", stages.lower_s), ("compile", stages.compile_s)]
    known = [(name, seconds) for name, seconds in named if seconds is not None]
    split = ", ".join(f"{name} {duration(seconds)}" for name, seconds in known)
    total = duration(sum(seconds for _, seconds in known)) if known else "n/a"
    cache = f" · cache {stages.cache}" if stages.cache else ""
    return f"{total} ({split}){cache}" if split else f"{total}{cache}"


def _loss(loss: Loss | None) -> list[str]:
    """First and last loss; nothing when none was fetched."""
    if loss is None or (loss.finite and loss.last is None):
        return []
    first, last = (number(end) if end is not None else "not finite" for end in (loss.first, loss.last))
    between = [] if loss.finite or loss.last is None else ["some losses between were not finite"]
    return [f"{first} → {last}", *between]


def _evaluation(result: Result) -> list[str]:
    """The share of right predictions, of which a sequence has one a token and an image has one."""
    evaluation = result.evaluation
    if evaluation is None:
        return []
    share, loss = percent(evaluation.value), ""
    if evaluation.loss is not None:
        loss = f", loss {number(evaluation.loss)}"
    of_text = result.workload is not None and result.workload.sample_unit == "sequence"
    what = {"accuracy": "tokens" if of_text else "images", "masked_accuracy": "masked tokens"}
    return [
        f"{evaluation.metric.replace('_', ' ')} {share}{loss} on {evaluation.samples:,} held-out "
        f"{what[evaluation.metric]} ({evaluation.split})"
    ]
