"""The verdict on each metric of each pair: worse, better, the same, or more than could have been seen."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trainbench.measure.series import MATERIAL_FRACTION
from trainbench.measure.statistics import MIN_BLOCKS_FOR_INTERVAL
from trainbench.results import compare_environment as environment
from trainbench.results import compare_forecasts as forecasts
from trainbench.results import compare_statistics as tests
from trainbench.results import compare_warnings
from trainbench.results.compare_metrics import (
    METRICS,
    SPEED,
    THRESHOLD,
    Metric,
    loss_curve,
    stall_bounds,
    step_times_s,
)
from trainbench.results.compare_pairs import Pair, Side
from trainbench.results.record import Result

BROKEN = ("oom", "failed", "invalid")
_NO_BLOCK = "was interrupted before any block was complete"

# unclear: neither a change nor its absence could be shown. shown: not judged. changed: another program.
Verdict = Literal["regression", "improvement", "same", "unclear", "shown", "changed"]


@dataclass(frozen=True)
class Judged:
    """One metric of a pair.

    Attributes:
      base, new: the middle of the runs of a side; None where no run has it.
      interval: of the ratio new / base, at the level that the verdict is made at.
      detectable: the smallest change, as a fraction, that would have been declared nearly always.
      reason: why it isn't judged, or what the values rest on.
    """

    metric: Metric
    base: float | None
    new: float | None
    verdict: Verdict
    interval: tuple[float, float] | None = None
    detectable: float | None = None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """new / base; None where one is missing or base is 0, or next to it."""
        ratio = self.new / self.base if self.new is not None and self.base else math.inf
        return ratio if math.isfinite(ratio) else None


@dataclass(frozen=True)
class Compared:
    """A pair with all that is to be said of it; `status` is about runs that ended badly."""

    pair: Pair
    judged: tuple[Judged, ...]
    status: Verdict
    status_reason: str
    environment: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def speed(self) -> Judged:
        """The judgement on samples/s."""
        return next(one for one in self.judged if one.metric is SPEED)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of its status and of every metric that was judged."""
        found = (self.status, *(one.verdict for one in self.judged))
        return tuple(verdict for verdict in found if verdict not in ("shown", "changed"))

    @property
    def regressed(self) -> bool:
        return "regression" in self.verdicts

    @property
    def improved(self) -> bool:
        return "improvement" in self.verdicts and not self.regressed


@dataclass(frozen=True)
class _Level:
    """What is asked of a change: how sure (share of false alarms in one test), and how large."""

    false_alarms: float
    threshold: float


# Of one pair: the tested difference of each metric; None where there is nothing to test with.
_Differences = Mapping[Metric, tests.Difference | None]


def compare(pairs: Sequence[Pair], threshold: float = THRESHOLD) -> tuple[Compared, ...]:
    """Each pair judged; all tests together give a false alarm in at most `FALSE_ALARMS` of comparisons.

    Args:
      threshold: the least change that counts, as a fraction, for metrics without one of their own.
    """
    differences = [{metric: _difference(metric, pair) for metric in METRICS} for pair in pairs]
    count = sum(one is not None for of_pair in differences for one in of_pair.values())
    level = _Level(tests.FALSE_ALARMS / max(1, count), threshold)
    return tuple(_compare(pair, of_pair, level) for pair, of_pair in zip(pairs, differences, strict=True))


def _compare(pair: Pair, differences: _Differences, level: _Level) -> Compared:
    judged = tuple(_judge(metric, pair, difference, level) for metric, difference in differences.items())
    status, reason = _status(pair)
    some = [f"some runs broke. {reason}"] if status == "shown" and reason else []
    changed = [
        f"another program ran: {one.metric.name} {one.base:,.6g} → {one.new:,.6g}"
        for one in judged
        if one.verdict == "changed"
    ]
    warnings = (*some, *changed, *compare_warnings.of_runs(pair), *environment.mixed(pair))
    return Compared(pair, judged, status, reason, tuple(environment.differences(pair)), warnings)


def _status(pair: Pair) -> tuple[Verdict, str]:
    """A run that broke where none did before is a regression."""
    base, new = _broken(pair.base), _broken(pair.new)
    if pair.forecast:
        return "shown", forecasts.broken(base, new)
    if new and not base:
        return "regression", f"NEW {new}"
    if base and not new:
        got_there = bool(pair.new.measured)
        return ("improvement", f"BASE {base}") if got_there else ("unclear", f"BASE {base}; NEW {_NO_BLOCK}")
    if not base:
        return "shown", ""
    if pair.base.measured and pair.new.measured:
        return "shown", f"BASE {base}; NEW {new}"
    alike = {run.status for run in pair.base.results} == {run.status for run in pair.new.results}
    return ("same" if alike else "unclear"), f"both broke. BASE {base}; NEW {new}"


def _broken(side: Side) -> str:
    """How many runs of a side broke, and how; empty when none did."""
    words = [f"{run.status}: {run.status_reason}" for run in side.results if run.status in BROKEN]
    words += [f"no result: {why}" for why in side.lost]
    if not words:
        return ""
    count = len(side.runs) + len(side.lost)
    return words[0] if count == 1 else f"{words[0]} ({len(words)} of {count} runs)"


def _judge(metric: Metric, pair: Pair, difference: tests.Difference | None, level: _Level) -> Judged:
    base, new = (_values(metric, side) for side in (pair.base, pair.new))
    known = Judged(metric, _middle(metric, base), _middle(metric, new), "shown")
    if metric.test == "curve":
        return _of_curves(metric, pair)
    if pair.forecast and metric.test != "identity":
        return replace(
            known,
            interval=forecasts.ends_apart(pair) if metric is SPEED else None,
            reason=forecasts.NEVER_JUDGED,
        )
    if known.base is None or known.new is None:
        return _as(known, "shown", _unmeasured(pair))
    match metric.test:
        case "shown":
            return known
        case "identity":
            return known if known.base == known.new else _as(known, "changed")
        case "exact":
            return _exact(known, level)
        case "bounds":
            return _bounds(known, pair, level)
        case "blocks" | "repeats":
            return _tested(known, difference, level) if difference else _as(known, "shown", _untested(metric))


def _unmeasured(pair: Pair) -> str:
    """Why a side has no numbers, where its runs were stopped too early; else empty."""
    for label, side in (("BASE", pair.base), ("NEW", pair.new)):
        if not side.measured and any(run.status == "interrupted" for run in side.results):
            return f"not judged: {label} {_NO_BLOCK}"
    return ""


def _of_curves(metric: Metric, pair: Pair) -> Judged:
    """The loss at the last step that every curve has: one that warmed up longer has learnt for longer."""
    sides = [[curve for run in side.measured if (curve := loss_curve(run))] for side in (pair.base, pair.new)]
    if not all(sides):
        return Judged(metric, None, None, "shown")
    shared = set.intersection(*(set(curve) for side in sides for curve in side))
    if not shared:
        return Judged(metric, None, None, "shown")
    step = max(shared)
    base, new = (statistics.median(curve[step] for curve in side) for side in sides)
    return Judged(metric, base, new, "shown", reason=f"at step {step:,}")


def _middle(metric: Metric, values: Sequence[float]) -> float | None:
    """The value to show for a side: for what is tested the mean of logarithms, as the tests take it."""
    if not values:
        return None
    logarithmic = metric.test in ("blocks", "repeats") and min(values) > 0
    middle = statistics.geometric_mean(values) if logarithmic else statistics.median(values)
    return middle if math.isfinite(middle) else None


def _values(metric: Metric, side: Side) -> list[float]:
    """The metric in each run that has it."""
    return [value for result in side.measured if (value := _read(metric, result)) is not None]


def _read(metric: Metric, result: Result) -> float | None:
    """None also for a speed that no number holds, as that of a step of next to no time."""
    value = metric.read(result)
    return value if value is not None and math.isfinite(value) else None


def _as(judged: Judged, verdict: Verdict, reason: str = "") -> Judged:
    return Judged(judged.metric, judged.base, judged.new, verdict, reason=reason)


def _untested(metric: Metric) -> str:
    if metric is SPEED:
        return f"not judged: one run a side, with fewer than {MIN_BLOCKS_FOR_INTERVAL} blocks"
    return "not judged: one run a side"


def _difference(metric: Metric, pair: Pair) -> tests.Difference | None:
    """The tested difference of a metric; None where there is nothing to test with."""
    if metric.test not in ("blocks", "repeats") or pair.forecast:
        return None
    base, new = (_values(metric, side) for side in (pair.base, pair.new))
    if not base or not new or min(*base, *new) <= 0:
        return None
    if pair.in_turn and len(base) == len(new) == len(pair.base.runs) and len(base) > 1:
        return tests.of_rounds(base, new)
    if metric.test == "blocks" and len(base) == len(new) == 1:
        return _of_blocks(metric, pair)
    return tests.of_repeats(base, new)


def _of_blocks(metric: Metric, pair: Pair) -> tests.Difference | None:
    """One run a side: the spread of step times gives that of samples/s."""
    ran = [
        next(run for run in side.measured if _read(metric, run) is not None) for side in (pair.base, pair.new)
    ]
    slower = tests.of_two_runs(*(step_times_s(run) for run in ran))
    base, new = (_read(metric, run) for run in ran)
    if slower is None or not base or not new:
        return None
    return replace(slower, log_ratio=math.log(new / base))


def _tested(known: Judged, difference: tests.Difference, level: _Level) -> Judged:
    least = math.log1p(_threshold(known.metric, level))
    low, high = difference.interval(level.false_alarms)
    significant, material = low > 0 or high < 0, abs(difference.log_ratio) > least
    widest = max(abs(low), abs(high))
    same = widest <= max(least, math.log1p(MATERIAL_FRACTION))
    verdict: Verdict = "same" if same else "unclear"
    if significant and material:
        verdict = _direction(known.metric, difference.log_ratio)
    detectable = difference.detectable(level.false_alarms, least)
    # A wild scatter has ends that no float holds.
    interval = (math.exp(max(low, -700.0)), math.exp(min(high, 700.0)))
    return Judged(known.metric, known.base, known.new, verdict, interval, math.expm1(min(detectable, 700.0)))


def _threshold(metric: Metric, level: _Level) -> float:
    return max(level.threshold, metric.threshold or 0)


def _direction(metric: Metric, change: float) -> Verdict:
    return "improvement" if (change > 0) == (metric.better == "higher") else "regression"


def _exact(known: Judged, level: _Level) -> Judged:
    assert known.ratio is not None
    change = math.log(known.ratio)
    material = abs(change) > math.log1p(_threshold(known.metric, level))
    return _as(known, _direction(known.metric, change) if material else "same")


def _bounds(known: Judged, pair: Pair, level: _Level) -> Judged:
    """Apart by more than the threshold, or not told from each other."""
    sides = [stall_bounds([run for run in side.measured if run.input]) for side in (pair.base, pair.new)]
    base, new = sides
    if base is None or new is None:
        return _as(known, "shown")
    apart = _threshold(known.metric, level)
    if new[0] > base[1] + apart:
        return _as(known, _direction(known.metric, 1))
    if base[0] > new[1] + apart:
        return _as(known, _direction(known.metric, -1))
    near = max(base[1], new[1]) - min(base[0], new[0]) <= MATERIAL_FRACTION
    return _as(known, "same" if near else "unclear")
