"""What all charts of the report share: colours for light, dark and paper, axes, and limits on what is drawn.

Lines and words are in the colour of the text around the chart, so that it follows the page's theme. Strings
from results are values of the data, never a field's name, an expression or a part of the specification.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import altair

from trainbench.report.plots import ticks

# After Okabe and Ito's palette, moved to tones that are readable on white and on black; shapes say the same.
COLOURS = ("#2f7fc1", "#d55e00", "#1a9e77", "#c2649a", "#b8860b", "#7a6fd0", "#3aa0c9", "#808080")
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
MOST_SERIES = len(COLOURS)
MOST_LINES = 40

FORECASTS = (
    "Forecasts are no measurements: their lines are dashed, their points pale, and their intervals those of "
    "the calibration."
)

_KINDS = ("measured", "forecast")
_TEXT = "currentColor"
_HEIGHT = 300  # pixels
_ROW_HEIGHT = 26
_LOGARITHMIC = 20  # a range beyond which small values would not be told from 0 on a linear axis
_MOST_TICKS = 10
_MARGIN = 1.3  # a factor beyond the least and the greatest value
_LABEL = 260  # pixels
_SHORT = 40  # letters of all names


def table(values: Sequence[Mapping[str, Any]]) -> altair.Data:
    """Inline data of a chart."""
    return altair.Data(values=[dict(row) for row in values])


def colour(names: Sequence[str], field: str = "series") -> altair.Color:
    """A colour for each of `names`, at most `MOST_SERIES`, with a legend below the chart."""
    scale = altair.Scale(domain=list(names), range=list(COLOURS[: len(names)]))
    return altair.Color(f"{field}:N", scale=scale, legend=_legend(names))


def shape(names: Sequence[str], field: str = "series") -> altair.Shape:
    """The shapes that go with `colour`, in the same legend."""
    scale = altair.Scale(domain=list(names), range=list(SHAPES[: len(names)]))
    return altair.Shape(f"{field}:N", scale=scale, legend=_legend(names))


def kind(measured: bool) -> str:
    """The value of a field `kind`, which `dashes` and `opacities` tell apart."""
    return _KINDS[0 if measured else 1]


def dashes() -> altair.StrokeDash:
    """Whole lines for measurements, dashed ones for forecasts."""
    whole, dashed = [1, 0], [5, 4]
    return altair.StrokeDash("kind:N", scale=altair.Scale(domain=_KINDS, range=[whole, dashed]), legend=None)


def opacities() -> altair.Opacity:
    """Points as they are for measurements, pale ones for forecasts."""
    return altair.Opacity("kind:O", scale=altair.Scale(domain=_KINDS, range=[1, 0.45]), legend=None)


def scale(values: Sequence[float]) -> altair.Scale:
    """Linear from zero; logarithmic where the values, all above 0, are too far apart for that."""
    if min(values) > 0 and max(values) > _LOGARITHMIC * min(values):
        return altair.Scale(type="log", nice=False, padding=20)
    return altair.Scale(type="linear", zero=True)


def axis(values: Sequence[float]) -> altair.Axis:
    """The axis that goes with `scale`: round numbers, evenly spaced, where it is logarithmic."""
    if named(values) != "logarithmic":
        return altair.Axis(tickCount=8)
    round_ones = ticks(min(values) / _MARGIN, max(values) * _MARGIN)
    return altair.Axis(values=round_ones or altair.Undefined, format=",~g")


def named(values: Sequence[float]) -> str:
    """How a caption calls the axis that `scale` gives these values."""
    return "logarithmic" if scale(values).to_dict()["type"] == "log" else "from zero"


def batches(sizes: Sequence[int], title: str) -> altair.X:
    """The horizontal axis of a field `batch`: logarithmic, with the sizes that were run as its ticks."""
    return powers("batch", sizes, title)


def powers(field: str, sizes: Sequence[int], title: str) -> altair.X:
    """A logarithmic horizontal axis of whole numbers, with those of `sizes` as its ticks where they fit."""
    run = sorted(set(sizes))
    ends = [run[0] / 1.25, run[-1] * 1.25]
    values = run if len(run) <= _MOST_TICKS else altair.Undefined
    return altair.X(
        f"{field}:Q",
        title=title,
        scale=altair.Scale(type="log", base=2, domain=ends, nice=False),
        axis=altair.Axis(values=values, format=",d", labelOverlap="greedy"),
    )


def rows(field: str) -> altair.Y:
    """A vertical axis with one row for each name, in the data's order.

    An order that is stated by names would be compiled into an expression that holds them.
    """
    axis = altair.Axis(title=None, ticks=False, domain=False)
    return altair.Y(f"{field}:N", sort=None, axis=axis)


def finished(layers: Sequence[Any], description: str, count: int | None = None) -> altair.LayerChart:
    """The layers as one chart that is as wide as its place, `count` rows high where it consists of rows."""
    height = _HEIGHT if count is None else _ROW_HEIGHT * count + 10
    made = altair.layer(*layers).properties(
        width="container",
        height=height,
        background="transparent",
        description=description,
        autosize=altair.AutoSizeParams(type="fit-x", contains="padding"),
        # For the page's script: names of rows leave less room for the legend's.
        usermeta={"rows": count is not None},
    )
    return made.configure(**_THEME)


def shown(names: Sequence[str], what: str) -> str:
    """A sentence for the caption where only the first of `names` are drawn; else nothing."""
    left = len(names) - MOST_SERIES
    return f" Drawn are {MOST_SERIES} {what} of {len(names):,}; the table has all." if left > 0 else ""


def _legend(names: Sequence[str]) -> Any:
    """Below the chart: in one row where the names are short, else in a column, which the page may split."""
    if len(names) < 2:
        return None
    columns = len(names) if sum(map(len, names)) <= _SHORT else 1
    return altair.Legend(title=None, orient="bottom", direction="vertical", columns=columns, symbolOpacity=1)


_THEME: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": _TEXT,
        "titleColor": _TEXT,
        "domainColor": _TEXT,
        "tickColor": _TEXT,
        "gridColor": _TEXT,
        "domainOpacity": 0.4,
        "tickOpacity": 0.4,
        "gridOpacity": 0.12,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
    "axisY": {"labelLimit": _LABEL},
    "legend": {"labelColor": _TEXT, "labelFontSize": 12, "labelLimit": 600, "symbolSize": 90},
    "text": {"color": _TEXT, "fontSize": 12},
    "rule": {"color": _TEXT},
}
