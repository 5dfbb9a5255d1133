"""The chart of scaling efficiency: forecasts and published figures against the number of chips."""

from collections.abc import Mapping, Sequence
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
    heading = altair.TitleParams(text=title, subtitle=list(_CAPTION), anchor="start", offset=12)
    drawn = altair.layer(*layers([_row(point) for point in points], names, "chips"), title=heading)
    return drawn.properties(width=_WIDTH, height=_HEIGHT).configure_view(stroke=None)


def layers(rows: Sequence[Mapping[str, Any]], names: Sequence[str], count: str) -> list[altair.Chart]:
    """Columns for the share of collectives, intervals, lines and points.

    Args:
      rows: of each point `series`, one of `names`; `kind`, as `chart.kind` has it; under `count` a number of
        devices or chips; `efficiency`, and where known `low`, `high` and `collectives`, in per cent.
    """
    x = chart.powers(count, [row[count] for row in rows], count)
    top = max(110.0, *(row.get("high", row["efficiency"]) for row in rows))
    scale = altair.Scale(domain=[0, top])
    y = altair.Y("efficiency:Q", title=f"% of the rate per {count[:-1]} on the fewest {count}", scale=scale)
    base = altair.Chart(chart.table(rows)).encode(x=x, color=chart.colour(names))
    tooltip = ["series:N", "kind:N", f"{count}:Q", altair.Tooltip("efficiency:Q", title="%", format=".1f")]
    return [
        *_columns(rows, base, scale),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y=altair.Y("low:Q"), y2="high:Q"),
        base.mark_line(strokeWidth=1.5).encode(y=y, strokeDash=chart.dashes()),
        base.mark_point(filled=True, size=70).encode(
            y=y, shape=chart.shape(names), opacity=chart.opacities(), tooltip=tooltip
        ),
    ]


def _columns(
    rows: Sequence[Mapping[str, Any]], base: altair.Chart, scale: altair.Scale
) -> list[altair.Chart]:
    """The share of collectives where it is known: an unknown one at the same place would void the others."""
    known = [row for row in rows if "collectives" in row]
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
