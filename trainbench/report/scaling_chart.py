"""The chart of scaling efficiency: forecasts and published figures against the number of chips."""

from collections.abc import Sequence
from typing import Any

import altair

from trainbench.forecast.tables.scaling import FORECAST, Point
from trainbench.report.page import chart

_WIDTH, _HEIGHT = 560, 320  # pixels, before the scale of the PNG
_CAPTION = (
    "Dashed and pale: forecast, with the 95 % interval of its rate.",
    "Columns: what collectives take of the forecast step.",
    "Whole: published, of several programs. Each line is relative to its own fewest chips.",
)


def scaling(points: Sequence[Point], title: str) -> altair.LayerChart:
    """Efficiency in per cent against chips, with the share of collectives as columns.

    Raises:
      ValueError: there is no point.
    """
    if not points:
        raise ValueError("a chart of the scaling needs a rate on some number of chips")
    names = list(dict.fromkeys(point.series for point in points))
    table = chart.table([_row(point) for point in points])
    x = chart.powers("chips", [point.chips for point in points], "chips")
    top = max(110.0, *(100 * (point.high or point.efficiency) for point in points))
    scale = altair.Scale(domain=[0, top])
    y = altair.Y("efficiency:Q", title="% of the rate per chip on the fewest chips", scale=scale)
    base = altair.Chart(table, width=_WIDTH, height=_HEIGHT).encode(x=x, color=chart.colour(names))
    layers = [
        *_columns(points, base, scale),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y=altair.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y, strokeDash=chart.dashes()),
        base.mark_point(filled=True, size=70).encode(
            y=y, shape=chart.shape(names), opacity=chart.opacities()
        ),
    ]
    heading = altair.TitleParams(text=title, subtitle=list(_CAPTION), anchor="start", offset=12)
    return altair.layer(*layers, title=heading).configure_view(stroke=None)


def _columns(points: Sequence[Point], base: altair.Chart, scale: altair.Scale) -> list[altair.Chart]:
    """The share of collectives where it is known: an unknown one at the same place would void the others."""
    known = [_row(point) for point in points if point.collectives is not None]
    if not known:
        return []
    columns = base.properties(data=chart.table(known)).mark_bar(size=12, opacity=0.25)
    return [columns.encode(y=altair.Y("collectives:Q", scale=scale, stack=None))]


def _row(point: Point) -> dict[str, Any]:
    """Everything in per cent; what is unknown is left out, and so not drawn."""
    shares = {"low": point.low, "high": point.high, "collectives": point.collectives}
    known = {name: 100 * share for name, share in shares.items() if share is not None}
    about = {"series": point.series, "kind": chart.kind(point.kind != FORECAST), "chips": point.chips}
    return about | known | {"efficiency": 100 * point.efficiency}
