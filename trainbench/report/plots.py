"""The chart of a run among the published figures: as an Altair chart, and as PNG and SVG.

A bar on a logarithmic scale has no natural base: one that starts at 1 image/s would have a length that means
nothing. Here every bar starts at this run's own figure and ends at the published one, so its length is the
factor between the two, to the right where the published figure is higher.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainbench.report.numbers import clip, number, units
from trainbench.results.record import Workload

if TYPE_CHECKING:
    import altair

CLOSING = (
    "Like for like: same model, task and input size, and no other difference that is known to move",
    "throughput by more than about a tenth (precision class, batch, data, number of chips, padding, ...).",
    "Another chip or framework is no such difference, being what is compared.",
    "A CPU counts as one chip, and is never like for like.",
)

_HERE, _ALIKE, _UNLIKE = "this run", "like for like", "not like for like"
# Okabe and Ito's palette, which the colour-blind can tell apart; the shapes and the words say the same.
_COLOURS = {_HERE: "#d55e00", _ALIKE: "#0072b2", _UNLIKE: "#8a8a8a"}
_SHAPES = {_HERE: "diamond", _ALIKE: "circle", _UNLIKE: "square"}

_WIDTH, _ROW_HEIGHT = 420, 36  # pixels, before the scale of the PNG
_GAP = 12
_COLUMNS = 60  # of a text
_MARGIN = 1.15  # beyond the least and the greatest value
_PNG_SCALE = 2.0


@dataclass(frozen=True)
class Row:
    """One line of the chart: a published figure, or the run itself (with ratio 1, and no source).

    Attributes:
      accelerator: what it was measured on.
      conditions: precision and what else matters, in a few words.
      source: repository or site, and year.
      value: samples per second and chip.
      ratio: this run / value.
    """

    accelerator: str
    conditions: str
    source: str
    value: float
    ratio: float
    like_for_like: bool


def published_chart(work: Workload, own: Row, rows: Sequence[Row]) -> "altair.LayerChart":
    """The chart of a workload: this run's `own` row, then the published `rows` in their order.

    Raises:
      ValueError: there is nothing to compare, or a rate that a logarithmic scale has no place for.
    """
    values = [row.value for row in (own, *rows)]
    if not rows or min(values) <= 0:
        raise ValueError("a chart needs a rate of this run and of a published figure, above 0")
    # Imported late, as only the end of a run needs it: it takes a third of a second to load.
    import altair

    table = altair.Data(values=_table(own, rows))
    base = altair.Chart(table, width=_WIDTH, height=altair.Step(_ROW_HEIGHT)).encode(
        y=altair.Y("row:O", axis=None)
    )
    layers = [
        *_marks(altair, base, (min(values) / _MARGIN, max(values) * _MARGIN), work),
        *_words(altair, base),
    ]
    title = altair.TitleParams(
        text=_title(work),
        subtitle="A bar goes from this run to the published figure: its length is the factor between them.",
        anchor="start",
        offset=16,
    )
    return altair.layer(*layers, title=title).configure_view(stroke=None)


def images(chart: "altair.LayerChart") -> tuple[bytes, bytes]:
    """The chart as PNG and as SVG, drawn without a browser and without a network."""
    png, svg = io.BytesIO(), io.StringIO()
    chart.save(png, format="png", scale_factor=_PNG_SCALE)
    chart.save(svg, format="svg")
    return _smaller(png), svg.getvalue().encode()


def _smaller(png: io.BytesIO) -> bytes:
    """The same picture in a quarter of the bytes: it comes hardly compressed, with transparency unused."""
    from PIL import Image

    packed = io.BytesIO()
    Image.open(png).convert("RGB").save(packed, "PNG")
    return packed.getvalue()


def _title(work: Workload) -> str:
    size = f"{work.image_size} px" if work.image_size else f"{work.sequence_length} tokens"
    unit = units(work.sample_unit)
    return f"Training {_plain(work.model)}, {size}: this run among published figures, {unit}/s per chip"


def _table(own: Row, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One record for each line of the chart; strings are data, never part of an expression."""
    lines = [_line(own, own.value, _HERE, number(own.value), _HERE)]
    for row in rows:
        kind = _ALIKE if row.like_for_like else _UNLIKE
        figure = f"{number(row.value)} · here {number(row.ratio)} x that"
        lines.append(_line(row, own.value, kind, figure, f"{kind} · {row.source}"))
    return [{"row": place, **line} for place, line in enumerate(lines)]


def _line(row: Row, here: float, kind: str, figure: str, sign: str) -> dict[str, Any]:
    words = {"label": row.accelerator, "conditions": row.conditions, "figure": figure, "sign": sign}
    plain = {name: _plain(text) for name, text in words.items()}
    return {"value": row.value, "here": here, "kind": kind, **plain}


def _plain(text: str) -> str:
    """`text` in one short line, without the control characters that XML has no place for."""
    return clip("".join(letter if letter.isprintable() else " " for letter in text), _COLUMNS)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends, three or more, as evenly as there are; none for a narrow range.

    >>> ticks(4, 7000), ticks(600, 6000)
    ([10.0, 100.0, 1000.0], [1000.0, 2000.0, 5000.0])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        all_of_them = [step * 10.0**decade for decade in decades for step in steps]
        inside = [tick for tick in all_of_them if low <= tick <= high]
        if len(inside) >= 3:
            return inside
    return []


def _marks(altair: Any, base: Any, domain: tuple[float, float], work: Workload) -> list[Any]:
    """Bars from this run to each figure, their ends, and this run's own value as a line through all rows."""
    axis = altair.Axis(
        title=[f"{units(work.sample_unit)}/s per chip, logarithmic scale", "", *CLOSING],
        titleAlign="left",
        titleAnchor="start",
        titleFontWeight="normal",
        titlePadding=10,
        titleLineHeight=15,
        format=",~r",
        values=ticks(*domain) or altair.Undefined,
        gridOpacity=0.5,
    )
    scale = altair.Scale(type="log", domain=list(domain), nice=False)
    x = altair.X("value:Q", scale=scale, axis=axis)
    kinds = list(_COLOURS)
    colour = altair.Color(
        "kind:N",
        scale=altair.Scale(domain=kinds, range=list(_COLOURS.values())),
        legend=altair.Legend(title=None, orient="top", symbolSize=100, symbolOpacity=1),
    )
    shape = altair.Shape("kind:N", scale=altair.Scale(domain=kinds, range=list(_SHAPES.values())))
    own = altair.X("here:Q", scale=scale, axis=axis)
    return [
        base.mark_rule(strokeDash=[4, 4], color=_COLOURS[_HERE]).encode(x=own, y=altair.Y()),
        base.mark_bar(height=8, opacity=0.45).encode(x=own, x2="value:Q", color=colour),
        base.mark_point(filled=True, size=90, opacity=1).encode(x=x, color=colour, shape=shape),
    ]


def _words(altair: Any, base: Any) -> list[Any]:
    """Who measured what to the left of the bars; the figures, the sign and the source to their right."""
    columns = (("right", -_GAP, ("label", "conditions")), ("left", _WIDTH + _GAP, ("figure", "sign")))
    lines = ((-7, 12, "#000000"), (8, 10, "#555555"))
    return [
        base.mark_text(align=align, dy=dy, fontSize=size, color=colour).encode(
            x=altair.value(place), text=f"{field}:N"
        )
        for align, place, fields in columns
        for field, (dy, size, colour) in zip(fields, lines, strict=True)
    ]
