"""Memory against batch size."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import size
from trainbench.report.page.content import Plot, Section
from trainbench.report.series import Point, Run, Series

_MOST_LIMITS = 4


def section(found: Sequence[Series], runs: Sequence[Run]) -> Section | None:
    """The plot; None where no memory is known.

    Args:
      found: the series of `runs`.
    """
    known = [one for one in found if any(_peak(point) for point in one.points)]
    left = facts.counted(run.result for run in runs if not facts.usable(run.result))
    return Section("memory", "Memory", plots=(_plot(known, left),)) if known else None


def _peak(point: Point) -> int:
    """The highest peak of the runs at one point, in bytes; 0 where none is known."""
    return max(facts.peak_bytes(run.result) or 0 for run in point.runs)


def _source(point: Point) -> str:
    sources = {facts.peak(run.result)[1] for run in point.runs}
    return "allocator" if "allocator" in sources else "compiler"


def _limits(found: Sequence[Series]) -> list[int]:
    memories = [run.result.memory for one in found for point in one.points for run in point.runs]
    known = {memory.limit_bytes for memory in memories if memory and memory.limit_bytes}
    return sorted(known)[:_MOST_LIMITS]


def _plot(found: Sequence[Series], left: str) -> Plot:
    from trainbench.report.page import chart

    drawn = found[: chart.MOST_SERIES]
    values = _values(drawn)
    sources = " and ".join(sorted({f"the {row['source']}'s" for row in values}))
    limits = _limits(drawn)
    unit, _ = _unit(values)
    dashed = f" Dashed: what the allocator may hand out ({', '.join(map(size, limits))})." if limits else ""
    return Plot(
        name="memory",
        title="Peak memory against batch size",
        caption=(
            f"Peak memory of the fullest device in {unit} ({chart.named(_heights(values, limits))}), "
            f"{sources} figure, against the batch size per device (logarithmic).{dashed}"
            + ("" if all(one.measured for one in drawn) else f" {chart.FORECASTS}")
            + chart.shown([one.name for one in found], "series")
            + (f" Not drawn: {left}." if left else "")
        ),
        lines=tuple(
            f"{row['series']}, batch {row['batch']:,}: {size(row['bytes'])} ({row['source']})"
            for row in values
        )[: chart.MOST_LINES],
        chart=_chart(values, limits),
    )


def _values(drawn: Sequence[Series]) -> list[dict[str, Any]]:
    from trainbench.report.page import chart

    return [
        {
            "series": one.name,
            "kind": chart.kind(one.measured),
            "batch": point.batch,
            "bytes": _peak(point),
            "source": _source(point),
        }
        for one in drawn
        for point in one.points
        if _peak(point)
    ]


def _unit(values: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """The unit of the axis, and its bytes: that in which most of the values are written."""
    return ("GiB", 2**30) if median(row["bytes"] for row in values) >= 2**30 else ("MiB", 2**20)


def _heights(values: Sequence[dict[str, Any]], limits: Sequence[int]) -> list[float]:
    """All that the vertical axis has to hold, in its unit."""
    _, unit_bytes = _unit(values)
    return [size_bytes / unit_bytes for size_bytes in (*(row["bytes"] for row in values), *limits)]


def _chart(values: Sequence[dict[str, Any]], limits: Sequence[int]) -> Any:
    import altair

    from trainbench.report.page import chart

    names = list(dict.fromkeys(row["series"] for row in values))
    unit, unit_bytes = _unit(values)
    heights = _heights(values, limits)
    values = [row | {"height": row["bytes"] / unit_bytes, "peak": size(row["bytes"])} for row in values]
    y = altair.Y("height:Q", title=unit, scale=chart.scale(heights), axis=chart.axis(heights))
    x = chart.batches([row["batch"] for row in values], "batch size per device")
    colour = chart.colour(names)
    base = altair.Chart(chart.table(values)).encode(x=x, y=y)
    tooltip = [
        altair.Tooltip("series:N"),
        altair.Tooltip("kind:N"),
        "batch:Q",
        altair.Tooltip("peak:N", title="memory"),
        "source:N",
    ]
    layers = [
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(color=colour, strokeDash=chart.dashes()),
        base.mark_point(filled=True, size=70).encode(
            color=colour, opacity=chart.opacities(), shape=chart.shape(names), tooltip=tooltip
        ),
    ]
    if limits:
        rules = altair.Chart(chart.table([{"height": limit / unit_bytes} for limit in limits]))
        layers.append(rules.mark_rule(strokeDash=[6, 4], opacity=0.7).encode(y=altair.Y("height:Q")))
    return chart.finished(layers, "peak memory against batch size")
