"""Throughput against batch size."""

from collections.abc import Iterator, Sequence
from typing import Any

from trainbench.report.numbers import number
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.series import Point, Series


def section(found: Sequence[Series]) -> Section | None:
    """A plot for each kind of sample, and the best batch and the knee of each series; None without any."""
    if not found:
        return None
    kinds = list(dict.fromkeys(one.unit for one in found))
    return Section(
        id="throughput",
        title="Throughput against batch size",
        plots=tuple(_plot(unit, [one for one in found if one.unit == unit]) for unit in kinds),
        tables=(_best(found),),
    )


def mark(one: Series, point: Point) -> str:
    """ "best", "knee" or both where a series has several batch sizes to choose from; else empty."""
    if len(one.points) < 2:
        return ""
    named = (("best", one.best), ("knee", one.knee))
    return " and ".join(word for word, batch in named if batch == point.batch)


def _plot(unit: str, found: Sequence[Series]) -> Plot:
    from trainbench.report.page import chart

    drawn = found[: chart.MOST_SERIES]
    rates = [point.rate for one in drawn for point in one.points]
    several = any(len(point.runs) > 1 for one in drawn for point in one.points)
    caption = (
        f"Training throughput in {unit} per second over all devices ({chart.named(rates)}) against the batch "
        "size per device (logarithmic). Bars are 95 % intervals of one result"
        + (
            "; where a point was measured several times, its median with the range of all. "
            if several
            else ". "
        )
        + "Best: the highest rate of a series; knee: the smallest batch within 5 % of it."
        + (" A cross on the axis is a batch that ran out of memory." if _refused(drawn) else "")
        + ("" if all(one.measured for one in drawn) else f" {chart.FORECASTS}")
        + chart.shown([one.name for one in found], "series")
    )
    return Plot(
        name=f"throughput-{unit}",
        title=f"{unit.capitalize()} per second against batch size",
        caption=caption,
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
    y = altair.Y("rate:Q", title=f"{unit} per second", scale=chart.scale(rates))
    base = altair.Chart(chart.table(_rows(drawn))).encode(x=x)
    colour = chart.colour(names)
    layers = [
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(y=y, color=colour, strokeDash=chart.dashes()),
        base.mark_rule(strokeWidth=2).encode(y=altair.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=70).encode(
            y=y, color=colour, opacity=chart.opacities(), shape=chart.shape(names), tooltip=_tooltip(unit)
        ),
        base.mark_text(dy=-14, fontWeight="bold").encode(y=y, text="mark:N"),
    ]
    if refused := _refused(drawn):
        crosses = altair.Chart(chart.table(refused)).encode(x=x, color=colour)
        layers.append(
            crosses.mark_point(shape="cross", angle=45, filled=True, size=90, opacity=1).encode(
                y=altair.value("height"), tooltip=["series:N", "batch:Q", "status:N"]
            )
        )
    return chart.finished(layers, f"{unit} per second against batch size")


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
            "mark": mark(one, point),
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
            said = f", {mark(one, point)}" if mark(one, point) else ""
            yield f"{one.name}, batch {point.batch:,}: {number(point.rate)} {one.unit}/s{ends}{said}"
        for batch in one.out_of_memory:
            yield f"{one.name}, batch {batch:,}: out of memory"


def _best(found: Sequence[Series]) -> Table:
    titles = ("series", "batch sizes", "best batch", "its rate", "knee", "its rate ", "out of memory")
    return Table(
        caption="The best batch size of each series, and the knee: the smallest within 5 % of the best rate.",
        titles=titles,
        rows=[_best_row(one) for one in found],
        numeric=frozenset(titles[1:]),
    )


def _best_row(one: Series) -> list[Cell]:
    rates = {point.batch: point.rate for point in one.points}
    return [
        Cell(one.name),
        Cell(f"{len(rates)}"),
        Cell(f"{one.best:,}"),
        Cell(f"{number(rates[one.best])} {one.unit}/s"),
        Cell(f"{one.knee:,}"),
        Cell(f"{number(rates[one.knee])} {one.unit}/s"),
        Cell(", ".join(f"{batch:,}" for batch in one.out_of_memory) or "-"),
    ]
