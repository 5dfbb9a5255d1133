"""The marks best and knee, and what to do where points or words would lie upon each other."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from trainbench.report.series import Point, Series
from trainbench.results.outcome import NOT_STEADY

_SIZE = 70  # square pixels
_GROWTH = 1.4
_NEAR = 0.02  # of the rate: about the width of a point
# The part of a chart that words take, on a narrow page: pixels of 400 and of 230.
_LETTER, _LINE = 7 / 400, 16 / 230
_EDGE = 0.12
_LOGARITHMIC = "log"


def mark(one: Series, point: Point) -> str:
    """ "best", "knee" or both where a series has several batch sizes to choose from; else empty."""
    if len(one.points) < 2:
        return ""
    named = (("best", one.best), ("knee", one.knee))
    words = " and ".join(word for word, batch in named if batch == point.batch)
    return f"{words}, {NOT_STEADY}" if words and not point.steady else words


def size(drawn: Sequence[Series], one: Series, point: Point) -> float:
    """Square pixels of a point: more where points of later series are drawn upon it."""
    later = drawn[drawn.index(one) + 1 :]
    return _SIZE * _GROWTH ** sum(_near(point, other) for after in later for other in after.points)


def crowded(drawn: Sequence[Series]) -> bool:
    """Whether any points coincide."""
    return any(size(drawn, one, point) > _SIZE for one in drawn for point in one.points)


def words(drawn: Sequence[Series], x: Any, y: Any) -> Iterator[Any]:
    """Layers with the words best and knee, as far as they have room, beside points at the edges."""
    import altair

    from trainbench.report.page import chart

    rows = _with_room(list(_rows(drawn, y.to_dict()["scale"]["type"])))
    for align in ("left", "center", "right"):
        if some := [row for row in rows if row["align"] == align]:
            data = [{key: row[key] for key in ("batch", "rate", "word")} for row in some]
            texts = altair.Chart(chart.table(data)).mark_text(dy=-16, fontWeight="bold", align=align)
            yield texts.encode(x=x, y=y, text="word:N")


def _near(one: Point, other: Point) -> bool:
    return one.batch == other.batch and abs(one.rate - other.rate) <= _NEAR * max(one.rate, other.rate)


def _rows(drawn: Sequence[Series], kind: str) -> Iterator[dict[str, Any]]:
    """The words with their places as parts of the width and the height."""
    points = [point for one in drawn for point in one.points]
    sizes = [point.batch for point in points] + [batch for one in drawn for batch in one.out_of_memory]
    rates = [point.rate for point in points]
    for one in drawn:
        for point in one.points:
            if word := mark(one, point):
                across = _part(math.log(point.batch), list(map(math.log, sizes)))
                up = point.rate / max(rates)
                if kind == _LOGARITHMIC:
                    up = _part(math.log(point.rate), list(map(math.log, rates)))
                align = "left" if across < _EDGE else "right" if across > 1 - _EDGE else "center"
                yield {
                    "batch": point.batch,
                    "rate": point.rate,
                    "word": word,
                    "align": align,
                    "at": (across, up),
                }


def _part(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return (value - low) / (high - low) if high > low else 0.5


def _with_room(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that lie on none before them."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if not any(_overlap(row, other) for other in kept):
            kept.append(row)
    return kept


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    (first, last), (begin, end) = _span(one), _span(other)
    return first < end and begin < last and abs(one["at"][1] - other["at"][1]) < _LINE


def _span(row: dict[str, Any]) -> tuple[float, float]:
    across, width = row["at"][0], _LETTER * len(row["word"])
    start = {"left": across, "center": across - width / 2, "right": across - width}[row["align"]]
    return start, start + width
