"""How steady the step time was: its distribution, and each timed block in order."""

from collections.abc import Sequence
from statistics import quantiles
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import duration, percent
from trainbench.report.page.content import Plot, Section
from trainbench.report.series import Run

MOST_RUNS = 12
_MOST_BLOCKS = 300
_FEWEST_BLOCKS = 3
_LEAST_SPAN, _MARGIN = 1.0, 0.2  # per cent


def section(found: Sequence[Run]) -> Section | None:
    """One plot of all distributions, then the blocks of each run; None where no run has a few blocks.

    Args:
      found: the newest first.
    """
    timed = [run for run in found if _enough(run)]
    if not timed:
        return None
    drawn = timed[:MOST_RUNS]
    several = f"the newest {len(drawn)} of {len(timed):,} runs" if len(timed) > len(drawn) else "every run"
    others = facts.counted(run.result for run in found if not _enough(run))
    left = f" Without enough blocks, or not brought to their end: {others}." if others else ""
    return Section(
        id="steps",
        title="Step time",
        paragraphs=(
            f"Shown for {several} with at least {_FEWEST_BLOCKS} timed blocks, whether or not they were "
            f"steady.{left}",
        ),
        plots=(_distribution(drawn), *(_blocks(place, run) for place, run in enumerate(drawn, 1))),
    )


def _enough(run: Run) -> bool:
    times = facts.step_times_s(run.result)
    enough = facts.usable(run.result) and len(times) >= _FEWEST_BLOCKS
    return enough and min(times) > 0 and _median(run) > 0


def _name(place: int, run: Run) -> str:
    return f"{place}. {run.label}"


def _distribution(drawn: Sequence[Run]) -> Plot:
    import altair

    from trainbench.report.page import chart

    names = [_name(place, run) for place, run in enumerate(drawn, 1)]
    every = [row for name, run in zip(names, drawn, strict=True) for row in _deviations(name, run)]
    low, high = _middle([row["deviation"] for row in every])
    blocks = [row for row in every if low <= row["deviation"] <= high]
    boxes = [_box(name, run) for name, run in zip(names, drawn, strict=True)]
    y = chart.rows("run")
    x = altair.X("low:Q", title="% from the run's median", scale=altair.Scale(domain=[low, high], nice=False))
    outside = len(every) - len(blocks)
    left = f" {outside:,} of {len(every):,} ticks lie beyond the ends of the axis." if outside else ""
    all_of_them = altair.Chart(chart.table(blocks)).mark_tick(
        opacity=0.8, color=chart.COLOURS[0], size=16, thickness=1.5
    )
    quarters = altair.Chart(chart.table(boxes)).mark_bar(
        opacity=0.3, color=chart.COLOURS[1], height=10, clip=True
    )
    layers = [
        quarters.encode(x=x, x2="high:Q", y=y),
        all_of_them.encode(x=altair.X("deviation:Q"), y=y, tooltip=["run:N", "block:Q", "time:N"]),
    ]
    return Plot(
        name="step-times",
        title="Distribution of the step time",
        caption=(
            "Each tick is one timed block: how far its step time lies from the median of its run, in per "
            f"cent, slower to the right. The bar spans the middle half of the blocks.{left}"
        ),
        lines=tuple(_line(name, run) for name, run in zip(names, drawn, strict=True)),
        chart=chart.finished(layers, "distribution of the step time of each run", len(names)),
    )


def _middle(deviations: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis: where most blocks lie, or as far as they reach if that is not much more."""
    first, *_, last = quantiles(deviations, n=10, method="inclusive")
    room = max(last - first, _LEAST_SPAN) * 0.75
    return max(min(deviations) - _MARGIN, first - room), min(max(deviations) + _MARGIN, last + room)


def _deviations(name: str, run: Run) -> list[dict[str, Any]]:
    times, middle = facts.step_times_s(run.result), _median(run)
    return [
        {
            "run": name,
            "block": place,
            "deviation": round(100 * (seconds / middle - 1), 4),
            "time": duration(seconds),
        }
        for place, seconds in _thinned(times)
    ]


def _thinned(times: Sequence[float]) -> list[tuple[int, float]]:
    """At most `_MOST_BLOCKS` (number, seconds): all, or every second, third, ... one."""
    stride = -(-len(times) // _MOST_BLOCKS)
    return list(enumerate(times, 1))[::stride]


def _box(name: str, run: Run) -> dict[str, Any]:
    low, _, high = quantiles(facts.step_times_s(run.result), n=4, method="inclusive")
    middle = _median(run)
    return {"run": name, "low": 100 * (low / middle - 1), "high": 100 * (high / middle - 1)}


def _median(run: Run) -> float:
    """The run's median step time; 0 where it has none."""
    return facts.step_time_s(run.result) or 0.0


def _line(name: str, run: Run) -> str:
    times = facts.step_times_s(run.result)
    fastest, slowest = (percent(end(times) / _median(run) - 1) for end in (min, max))
    ends = f"{fastest} to {slowest} of it"
    return f"{name}: median {duration(_median(run))}, {len(times)} blocks, {ends}{facts.doubt(run.result)}"


def _blocks(place: int, run: Run) -> Plot:
    import altair

    from trainbench.report.page import chart

    times = facts.step_times_s(run.result)
    outliers = set(run.result.timing.outlier_blocks) if run.result.timing else set()
    values = [
        {
            "block": block,
            "time": seconds * 1e3,
            "kind": "outlier" if block - 1 in outliers else "block",
        }
        for block, seconds in _thinned(times)
    ]
    x = altair.X("block:Q", title="timed block", axis=_WHOLE)
    base = altair.Chart(chart.table(values)).encode(x=x)
    middle = altair.Chart(chart.table([{"median": _median(run) * 1e3}]))
    y = altair.Y("time:Q", title="ms per step", scale=_scale(times))
    kinds = altair.Scale(domain=["block", "outlier"], range=[chart.COLOURS[0], chart.COLOURS[1]])
    layers = [
        middle.mark_rule(strokeDash=[4, 4], opacity=0.5).encode(y=altair.Y("median:Q", scale=_scale(times))),
        base.mark_line(color=chart.COLOURS[0], opacity=0.4, strokeWidth=1).encode(y=y),
        base.mark_point(filled=True, size=25, opacity=1).encode(
            y=y, color=altair.Color("kind:N", scale=kinds, legend=None), tooltip=["block:Q", "time:Q"]
        ),
    ]
    every = " (not every one drawn)" if len(values) < len(times) else ""
    return Plot(
        name=f"blocks-{place:02}",
        title=_name(place, run),
        caption=f"Milliseconds per step in each timed block{every}; dashed: the median"
        + ("; orange: outliers, which count like all others." if outliers else "."),
        lines=(_line(_name(place, run), run),),
        chart=chart.finished(layers, "step time of each timed block").properties(height=130),
        wide=False,
    )


_WHOLE = {"format": "d", "tickMinStep": 1, "tickCount": 6}


def _scale(times: Sequence[float]) -> Any:
    """From the fastest to the slowest block, but never less than 2 % of them: noise isn't magnified."""
    import altair

    low, high = min(times) * 1e3, max(times) * 1e3
    room = max(0.1 * (high - low), 0.01 * high)
    return altair.Scale(domain=[low - room, high + room], nice=False, zero=False)
