"""How throughput grows with the number of devices."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainbench.report.numbers import number, percent
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.scaling import Scaling, scalings
from trainbench.report.scaling_table import cells, legend, titles
from trainbench.report.series import Run

_FORECASTS = "Forecasts are no measurements: their lines are dashed, their points pale."
_MOST_TABLES = 8


def section(found: Sequence[Run]) -> Section | None:
    """Plot and tables of what was run on several numbers of devices; None where nothing was."""
    scaled = scalings(found)
    if not scaled:
        return None
    tables = tuple(_table(one) for one in scaled[:_MOST_TABLES])
    return Section("scaling", "Scaling", tuple(legend(scaled)), plots=(plot(scaled),), tables=tables)


def plot(scaled: Sequence[Scaling]) -> Plot:
    """Efficiency against the number of devices; at least one of `scaled`."""
    from trainbench.report import scaling_chart
    from trainbench.report.page import chart

    drawn = scaled[: chart.MOST_SERIES]
    values = [row for one in drawn for row in _values(one)]
    layers = scaling_chart.layers(values, [one.title for one in drawn], "devices")
    many = chart.shown([one.title for one in scaled], "series")
    forecasts = "" if all(one.measured for one in drawn) else f" {_FORECASTS}"
    return Plot(
        name="scaling",
        title=_title(drawn),
        caption=(
            "The rate per device in % of that on the fewest devices of a series, with its 95 % interval. "
            "Weak scaling: the batch of each device stays the same; strong scaling: that of all together. "
            f"Columns: share of a traced step with collectives and nothing else.{forecasts}{many}"
        ),
        lines=tuple(_line(one, row) for one in drawn for row in _values(one))[: chart.MOST_LINES],
        chart=chart.finished(layers, "efficiency against the number of devices"),
    )


def _title(drawn: Sequence[Scaling]) -> str:
    """Names a single series, and what an image by itself must not hide."""
    what = drawn[0].title if len(drawn) == 1 else "Efficiency against the number of devices"
    return f"{what} (simulated devices that share a CPU)" if any(one.on_cpu for one in drawn) else what


def _values(one: Scaling) -> Iterator[dict[str, Any]]:
    from trainbench.report.page import chart

    for point in one.points:
        shares = {
            "low": point.efficiency_low,
            "high": point.efficiency_high,
            "collectives": point.communication_share,
        }
        yield {
            "series": one.title,
            "kind": chart.kind(one.measured),
            "devices": point.devices,
            "rate": point.rate,
            "efficiency": 100 * point.efficiency,
        } | {name: 100 * share for name, share in shares.items() if share is not None}


def _line(one: Scaling, row: Mapping[str, Any]) -> str:
    share = percent(row["efficiency"] / 100)
    return f"{one.title}, {row['devices']} devices: {number(row['rate'])}/s, {share} of ideal"


def _table(one: Scaling) -> Table:
    named = titles(one)
    rows = [[Cell(text) for text in cells(one, point)] for point in one.points]
    return Table(one.title, named, rows, numeric=frozenset(named))
