"""Scaling efficiency from forecasts on ever more chips, beside published figures of the same chip and model.

Efficiency is the rate per chip over that on the fewest chips of the series, which is one where it was asked
for. The interval of a forecast is that of its rate; errors that all sizes share cancel in the efficiency, so
it is wider than the efficiency's own.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainbench.errors import UserError
from trainbench.forecast.tables import documents
from trainbench.forecast.tables.rows import Row
from trainbench.reference.figure import Figure
from trainbench.report.numbers import number, percent

FORECAST, PUBLISHED = "forecast", "published"
_TITLES = (
    *("target", "chips", "devices", "expected /s per chip", "95 %", "efficiency", "collectives"),
    *("published /s per chip", "its efficiency", "figure"),
)
_UNKNOWN = "-"


@dataclass(frozen=True)
class Point:
    """One size of one series.

    Attributes:
      series: the chip, with what gave the rate: "tpu-v3, forecast".
      kind: "forecast" or "published".
      rate: samples per second and chip.
      efficiency, low, high: the rate, and the ends of its interval, over the rate on the fewest chips.
      collectives: their share of the step, where it is known.
      id: of a published figure.
    """

    series: str
    kind: str
    chip: str
    chips: int
    rate: float
    efficiency: float
    low: float | None = None
    high: float | None = None
    collectives: float | None = None
    id: str = ""


def points(rows: Iterable[Row]) -> list[Point]:
    """The forecasts that have an expected rate, by chip and number of chips.

    Raises:
      UserError: those of a chip are of several batch sizes per device, so that no rates can be compared.
    """
    by_chip: dict[str, list[tuple[int, float, Row]]] = defaultdict(list)
    for row in rows:
        if row.expected:
            by_chip[row.chip].append((row.chips, row.expected, row))
    _check_batches(by_chip)
    found = []
    for chip, sizes in by_chip.items():
        sizes.sort(key=lambda size: size[0])
        fewest = sizes[0][1]
        found += [
            Point(
                series=f"{chip}, {FORECAST}",
                kind=FORECAST,
                chip=chip,
                chips=chips,
                rate=rate,
                efficiency=rate / fewest,
                low=row.low / fewest if row.low is not None else None,
                high=row.high / fewest if row.high is not None else None,
                collectives=row.collectives,
            )
            for chips, rate, row in sizes
        ]
    return found


def _check_batches(by_chip: Mapping[str, Sequence[tuple[int, float, Row]]]) -> None:
    for chip, sizes in by_chip.items():
        batches = sorted({row.batch_size or 0 for _, _, row in sizes})
        if len(batches) > 1:
            others = " ".join(row.target for _, _, row in sizes if row.batch_size != batches[-1])
            raise UserError(
                f"the forecasts on {chip} are of batch sizes {', '.join(map(str, batches))} per device",
                allowed="one batch size for all sizes of a slice",
                fix=f"--batch-size {batches[-1]} --target {others}",
            )


def published(rows: Sequence[Row], figures: Iterable[Figure]) -> list[Point]:
    """The figures of the same model, size and chip, the fastest of each number of chips.

    Their batches, data and years differ: the points of a chip are no series of one program.
    """
    if not rows:
        return []
    chips, model, size = {row.chip for row in rows}, rows[0].model, rows[0].size
    best: dict[str, dict[int, Figure]] = defaultdict(dict)
    for figure in figures:
        rate, count = figure.samples_per_s_per_chip, figure.num_chips
        same = figure.model == model and size in (
            f"{figure.image_size} px",
            f"{figure.sequence_length} tokens",
        )
        if figure.chip in chips and same and rate and count and figure.chip:
            known = best[figure.chip].get(count)
            if known is None or rate > (known.samples_per_s_per_chip or 0):
                best[figure.chip][count] = figure
    return [point for chip, by_count in sorted(best.items()) for point in _published(chip, by_count)]


def _published(chip: str, by_count: dict[int, Figure]) -> Iterator[Point]:
    fewest = by_count[min(by_count)].samples_per_s_per_chip
    assert fewest
    for count in sorted(by_count):
        figure = by_count[count]
        rate = figure.samples_per_s_per_chip or 0.0
        yield Point(f"{chip}, {PUBLISHED}", PUBLISHED, chip, count, rate, rate / fewest, id=figure.id)


def markdown(rows: Sequence[Row], beside: Iterable[Point]) -> str:
    """A row for each size that was forecast or published, by chip."""
    forecast = {(point.chip, point.chips): point for point in points(rows)}
    others = {(point.chip, point.chips): point for point in beside}
    by_size = {(row.chip, row.chips): row for row in rows}
    sizes = sorted({*by_size, *others}) if by_size else []
    cells = (_cells(size, by_size.get(size), forecast.get(size), others.get(size)) for size in sizes)
    return documents.table(_TITLES, cells, _TITLES[1:-1])


def _cells(size: tuple[str, int], row: Row | None, found: Point | None, other: Point | None) -> Iterator[str]:
    yield row.target if row else size[0]
    yield f"{size[1]:,}"
    yield f"{row.devices:,}" if row else _UNKNOWN
    yield number(found.rate) if found else (row.status if row and row.status != "ok" else _UNKNOWN)
    ends = (row.low, row.high) if row else (None, None)
    yield f"{number(ends[0])} to {number(ends[1])}" if ends[0] and ends[1] else _UNKNOWN
    yield percent(found.efficiency) if found else _UNKNOWN
    yield percent(found.collectives) if found and found.collectives is not None else _UNKNOWN
    yield number(other.rate) if other else _UNKNOWN
    yield percent(other.efficiency) if other else _UNKNOWN
    yield f"`{other.id}`" if other else _UNKNOWN
