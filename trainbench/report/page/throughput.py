"""Throughput against batch size."""

from collections.abc import Iterator, Sequence
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import number
from trainbench.report.page import marks
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.series import Run, Series
from trainbench.results.outcome import NOT_STEADY


def section(found: Sequence[Series], runs: Sequence[Run]) -> Section | None:
    """A plot for each kind of sample, then best batch and knee where there was a choice; None without any.

    Args:
      found: the series of `runs`.
    """
    if not found:
        return None
    kinds = list(dict.fromkeys(one.unit for one in found))
    chosen = [one for one in found if len(one.points) > 1]
    # What never came to have samples of any kind is counted once, below the first plot.
    left = {unit: _left(unit, found, runs, nameless=unit == kinds[0]) for unit in kinds}
    return Section(
        id="throughput",
        title="Throughput against batch size",
        plots=tuple(_plot(unit, [one for one in found if one.unit == unit], left[unit]) for unit in kinds),
        tables=(_best(chosen),) if chosen else (),
    )


def _left(unit: str, found: Sequence[Series], runs: Sequence[Run], *, nameless: bool) -> str:
    """A sentence that counts what has no place in the plot of `unit`; empty where everything has one."""
    crosses = {(one.name, batch) for one in found for batch in one.out_of_memory}
    passed_over = sum(point.passed_over for one in found if one.unit == unit for point in one.points)
    counted = facts.counted(
        run.result
        for run in runs
        if not facts.usable(run.result)
        and (facts.unit(run.result) == unit if run.result.workload else nameless)
        and not (run.result.status == "oom" and (run.series, facts.batch(run.result)) in crosses)
    )
    beside = f"{passed_over:,} {NOT_STEADY} beside steady ones" if passed_over else ""
    told = ", ".join(filter(None, (counted, beside)))
    return f" Not drawn: {told}." if told else ""


def _plot(unit: str, found: Sequence[Series], left: str) -> Plot:
    from trainbench.report.page import chart

    drawn = found[: chart.MOST_SERIES]
    points = [point for one in drawn for point in one.points]
    rates = [point.rate for point in points]
    caption = [
        f"Training throughput in {unit} per second over all devices ({chart.named(rates)}) against the batch "
        "size per device (logarithmic).",
        "Bars are 95 % intervals of one result; where a point was measured several times, its median with "
        "the range of all."
        if any(len(point.runs) > 1 for point in points)
        else "Bars are 95 % intervals of one result.",
        "" if all(point.steady for point in points) else f"Hollow points are {NOT_STEADY}.",
        "Where points coincide, those below are larger." if marks.crowded(drawn) else "",
        "Ringed, best: the highest rate of a series; knee: the smallest batch within 5 % of it. Words "
        "without room are left out; the table has all."
        if any(len(one.points) > 1 for one in drawn)
        else "",
        "A cross on the axis is a batch that ran out of memory." if _refused(drawn) else "",
        "" if all(one.measured for one in drawn) else chart.FORECASTS,
    ]
    return Plot(
        name=f"throughput-{unit}",
        title=f"{unit.capitalize()} per second against batch size",
        caption=" ".join(filter(None, caption)) + left + chart.shown([one.name for one in found], "series"),
        lines=tuple(_lines(drawn))[: chart.MOST_LINES],
        chart=_chart(unit, drawn, rates),
    )


def _chart(unit: str, drawn: Sequence[Series], rates: Sequence[float]) -> Any:
    import altair

    from trainbench.report.page import chart

    names = [one.name for one in drawn]
    sizes = [point.batch for one in drawn for point in one.points]
    sizes += [row["batch"] for row in _refused(drawn)]
    x = chart.batches(sizes, "batch size per device")
    y = altair.Y("rate:Q", title=f"{unit} per second", scale=chart.scale(rates), axis=chart.axis(rates))
    colour = chart.colour(names)
    rows = _rows(drawn)
    base = altair.Chart(chart.table(rows)).encode(x=x, color=colour)
    layers = [
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(y=y, strokeDash=chart.dashes()),
        base.mark_rule(strokeWidth=2).encode(y=altair.Y("low:Q"), y2="high:Q", opacity=chart.opacities()),
        *_points(rows, names, x, y, _tooltip(unit)),
        *marks.words(drawn, x, y),
    ]
    if refused := _refused(drawn):
        crosses = altair.Chart(chart.table(refused)).encode(x=x, color=colour)
        layers.append(
            crosses.mark_point(shape="cross", angle=45, filled=True, size=90, opacity=1).encode(
                y=altair.value("height"), tooltip=["series:N", "batch:Q", "status:N"]
            )
        )
    return chart.finished(layers, f"{unit} per second against batch size")


def _points(rows: Sequence[dict[str, Any]], names: Sequence[str], x: Any, y: Any, tooltip: Any) -> list[Any]:
    """Rings around the best, then filled points for what was steady and hollow ones for what was not."""
    import altair

    from trainbench.report.page import chart

    colour = chart.colour(names)
    size = altair.Size("size:Q", scale=None, legend=None)
    layers = []
    if ringed := [row for row in rows if "best" in row["mark"]]:
        rings = altair.Chart(chart.table(ringed)).mark_point(shape="circle", size=320, strokeWidth=1.5)
        layers.append(rings.encode(x=x, y=y, color=colour))
    for steady in (True, False):
        if some := [row for row in rows if row["steady"] is steady]:
            points = altair.Chart(chart.table(some)).mark_point(filled=steady, strokeWidth=2)
            look = {"opacity": chart.opacities(), "shape": chart.shape(names), "size": size}
            layers.append(points.encode(x=x, y=y, color=colour, tooltip=tooltip, **look))
    return layers


def _tooltip(unit: str) -> list[Any]:
    import altair

    return [
        altair.Tooltip("series:N"),
        altair.Tooltip("kind:N"),
        altair.Tooltip("batch:Q", title="batch per device", format=","),
        altair.Tooltip("rate:Q", title=f"{unit}/s", format=",.4~g"),
        altair.Tooltip("low:Q", title="lower end", format=",.4~g"),
        altair.Tooltip("high:Q", title="upper end", format=",.4~g"),
        altair.Tooltip("results:Q"),
        altair.Tooltip("outcome:N"),
    ]


def _rows(drawn: Sequence[Series]) -> list[dict[str, Any]]:
    from trainbench.report.page import chart

    return [
        {
            "series": one.name,
            "kind": chart.kind(one.measured),
            "batch": point.batch,
            "rate": point.rate,
            "low": point.low,
            "high": point.high,
            "results": len(point.runs),
            "steady": point.steady,
            "outcome": facts.status(point.runs[0].result),
            "mark": marks.mark(one, point),
            "size": marks.size(drawn, one, point),
        }
        for one in drawn
        for point in one.points
    ]


def _refused(drawn: Sequence[Series]) -> list[dict[str, Any]]:
    return [
        {"series": one.name, "batch": batch, "status": "out of memory"}
        for one in drawn
        for batch in one.out_of_memory
    ]


def _lines(drawn: Sequence[Series]) -> Iterator[str]:
    for one in drawn:
        for point in one.points:
            ends = f" ({number(point.low)} to {number(point.high)})" if point.low < point.high else ""
            word = marks.mark(one, point) or ("" if point.steady else NOT_STEADY)
            said = f", {word}" if word else ""
            yield f"{one.name}, batch {point.batch:,}: {number(point.rate)} {one.unit}/s{ends}{said}"
        for batch in one.out_of_memory:
            yield f"{one.name}, batch {batch:,}: out of memory"


def _best(found: Sequence[Series]) -> Table:
    titles = ("series", "batch sizes", "best batch", "its rate", "knee", "its rate ", "out of memory")
    return Table(
        caption="The best batch size of each series that has several, and the knee: the smallest within "
        "5 % of the best rate.",
        titles=titles,
        rows=[_best_row(one) for one in found],
        numeric=frozenset(titles[1:]),
    )


def _best_row(one: Series) -> list[Cell]:
    best, knee = one.at(one.best), one.at(one.knee)
    return [
        Cell(one.name),
        Cell(f"{len(one.points)}"),
        Cell(f"{one.best:,}"),
        Cell(f"{number(best.rate)} {one.unit}/s{facts.doubt(best.runs[0].result)}"),
        Cell(f"{one.knee:,}"),
        Cell(f"{number(knee.rate)} {one.unit}/s{facts.doubt(knee.runs[0].result)}"),
        Cell(", ".join(f"{batch:,}" for batch in one.out_of_memory) or "-"),
    ]
