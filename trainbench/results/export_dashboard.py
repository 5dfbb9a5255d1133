"""The JSON that dashboards of continuous benchmarks read: github-action-benchmark's, and Bencher's.

github-action-benchmark takes a list of {name, unit, value, range, extra} of which either more or less is
better, as its `tool` says: customBiggerIsBetter or customSmallerIsBetter. Bencher's Metric Format is a
mapping {benchmark: {measure: {value, lower_value, upper_value}}}; there the direction is set in the project.
Sources: github.com/benchmark-action/github-action-benchmark; bencher.dev/docs/reference/bencher-metric-format
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trainbench.results.collect import printable
from trainbench.results.compare_pairs import work_of
from trainbench.results.outcome import NOT_STEADY, outcome, steady
from trainbench.results.record import Result

Format = Literal["github", "github-smaller", "bencher"]
FORMATS: tuple[Format, ...] = ("github", "github-smaller", "bencher")
_LONGEST_NAME = 1000  # Bencher takes 1024 characters

Figure = tuple[float, tuple[float, float] | None]


@dataclass(frozen=True)
class _Measure:
    """A figure that is followed over time, with its 95 % interval where it has one."""

    name: str
    unit: str
    more_is_better: bool
    read: Callable[[Result], Figure | None]


def dashboard(results: Iterable[Result], form: Format) -> Any:
    """What is written as JSON: the figures of the runs that are ok, of each benchmark the newest run's.

    Runs that were not steady are none of them, as a dashboard can't say so. Empty where there is no such run.
    """
    known = [one for one in results if one.status == "ok" and one.workload and steady(one)]
    newest = {_name(one): one for one in sorted(known, key=_started)}
    if form == "bencher":
        # A bound has none of the measures.
        return {name: found for name, one in newest.items() if (found := dict(_bencher(one)))}
    more = form == "github"
    return [entry for name, one in newest.items() for entry in _github(name, one, more_is_better=more)]


def passed_over(results: Iterable[Result]) -> int:
    """How many runs are on no dashboard for nothing but that they were not steady."""
    return sum(outcome(one) == NOT_STEADY and one.workload is not None for one in results)


def _started(result: Result) -> float:
    return result.created_utc.timestamp()


def _name(result: Result) -> str:
    """What was run where; the same from day to day, and another for each other benchmark."""
    work, hardware, ran = result.workload, result.hardware, work_of(result)
    assert work is not None
    assert ran is not None
    parts = [
        "" if result.kind == "measured" else result.kind,
        work.model,
        ran.architecture or "",
        work.precision,
        f"batch {work.batch_size}",
        f"in {work.gradient_accumulation} parts" if work.gradient_accumulation > 1 else "",
        f"{work.image_size} px" if work.image_size else "",
        f"{work.sequence_length} tokens" if work.sequence_length else "",
        work.optimizer,
        work.data,
        f"{result.input.mode} input" if result.input else "",
        f"{ran.steps_per_call} steps a call" if (ran.steps_per_call or 1) > 1 else "",
        f"on {hardware.device_count} x {hardware.device_kind}" if hardware else "",
    ]
    return printable(" ".join(filter(None, parts)))[:_LONGEST_NAME]


def _github(name: str, result: Result, *, more_is_better: bool) -> Iterator[dict[str, Any]]:
    extra = f"run {result.id}, {result.created_utc.isoformat()}"
    if result.software:
        extra += f", jax {result.software.jax}, trainbench {result.software.git_commit or 'unknown commit'}"
    for measure in _MEASURES:
        figure = measure.read(result)
        if figure and measure.more_is_better == more_is_better:
            value, interval = figure
            spread = {"range": f"95 % interval {interval[0]:.6g} to {interval[1]:.6g}"} if interval else {}
            entry = {"name": f"{name}: {measure.name}", "unit": measure.unit, "value": value}
            yield entry | spread | {"extra": extra}


def _bencher(result: Result) -> Iterator[tuple[str, dict[str, float]]]:
    for measure in _MEASURES:
        if figure := measure.read(result):
            value, interval = figure
            ends = {"lower_value": interval[0], "upper_value": interval[1]} if interval else {}
            yield measure.name, {"value": value} | ends


def _throughput(result: Result) -> Figure | None:
    speed = result.throughput
    return (speed.samples_per_s, speed.samples_per_s_ci95) if speed else None


def _mfu(result: Result) -> Figure | None:
    share = result.utilization.mfu if result.utilization else None
    return None if share is None else (share, None)


def _step_time(result: Result) -> Figure | None:
    step = result.timing.step_time_s if result.timing else None
    return (step.median, step.ci95) if step else None


def _compile_time(result: Result) -> Figure | None:
    seconds = result.compile.fresh_s if result.compile else None
    return None if seconds is None else (seconds, None)


def _peak_memory(result: Result) -> Figure | None:
    peak = result.memory.peak_bytes_compiled if result.memory else None
    return None if peak is None else (peak, None)


_MEASURES = (
    _Measure("throughput", "samples/s", True, _throughput),
    _Measure("mfu", "fraction", True, _mfu),
    _Measure("step-time", "s", False, _step_time),
    _Measure("compile-time", "s", False, _compile_time),
    _Measure("compiled-peak-memory", "bytes", False, _peak_memory),
)
