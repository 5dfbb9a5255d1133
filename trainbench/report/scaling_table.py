"""Scaling as a table on a terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from trainbench.report.grid import UNKNOWN, grid, plain
from trainbench.report.numbers import number, percent, plus_minus, size
from trainbench.report.scaling import ON_A_CPU, Point, Scaling
from trainbench.results.outcome import NOT_STEADY

_EFFICIENCY = "efficiency: of the rate per device on the fewest devices, with its 95 % interval"
_SENT = "sent: bytes that each device sends per optimizer step, in the compiled program"
_ALONE = "alone: share of a step with collectives running and nothing else, as traced or forecast"


def titles(one: Scaling) -> tuple[str, ...]:
    """Of the columns that `cells` fills."""
    per = "per chip" if one.per_chip else "per device"
    return ("devices", f"{one.unit}/s", "±", per, "efficiency", "95 %", "sent", "alone")


def cells(one: Scaling, point: Point) -> tuple[str, ...]:
    """One row; "-" for what is not known."""
    share, sent = point.communication_share, point.sent_bytes
    low, high = point.efficiency_low, point.efficiency_high
    return (
        f"{point.devices:,}",
        number(point.rate),
        plus_minus(point.rate, _interval(point)).removeprefix("± "),
        number(per_unit(one, point)),
        percent(point.efficiency),
        UNKNOWN if low is None or high is None else f"{percent(low)} to {percent(high)}",
        UNKNOWN if sent is None else size(round(sent)),
        UNKNOWN if share is None else percent(share),
    )


def per_unit(one: Scaling, point: Point) -> float:
    """The rate per chip; per device where chips are not known."""
    return point.rate / (point.chips if one.per_chip and point.chips else point.devices)


def _interval(point: Point) -> tuple[float, float] | None:
    return (point.low, point.high) if point.low < point.high else None


def table(one: Scaling) -> Table:
    """A row for each number of devices, without columns of which nothing is known."""
    rows = [cells(one, point) for point in one.points]
    columns = [
        (title, column)
        for title, column in zip(titles(one), zip(*rows, strict=True), strict=True)
        if any(cell != UNKNOWN for cell in column)
    ]
    made = grid()
    for title, _ in columns:
        made.add_column(title, justify="right", no_wrap=True)
    for place in range(len(rows)):
        made.add_row(*(Text(column[place]) for _, column in columns))
    return made


def lines(found: Sequence[Scaling], width: int) -> Iterator[str]:
    """The tables as plain text, then what their columns mean; nothing where nothing scales."""
    for one in found:
        yield one.title
        yield from (line.rstrip() for line in plain(table(one), width).splitlines())
        unsteady = [f"{point.devices:,}" for point in one.points if not point.steady]
        if unsteady:
            yield f"{NOT_STEADY}: on {', '.join(unsteady)}"
        yield ""
    yield from legend(found)


def legend(found: Sequence[Scaling]) -> Iterator[str]:
    """What the columns mean, and what simulated devices are."""
    points = [point for one in found for point in one.points]
    if points:
        yield _EFFICIENCY
    if any(point.sent_bytes is not None for point in points):
        yield _SENT
    if any(point.communication_share is not None for point in points):
        yield _ALONE
    if any(one.on_cpu for one in found):
        yield ON_A_CPU
