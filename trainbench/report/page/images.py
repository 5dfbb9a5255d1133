"""The plots of the report as PNG and SVG files, drawn without a browser."""

from collections.abc import Iterable, Iterator

from trainbench.report import plots
from trainbench.report.page.content import Plot

_WIDTH = 720  # pixels, before the scale of the PNG


def images(found: Iterable[Plot]) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of each plot, twice."""
    for plot in found:
        chart = plot.chart.properties(width=_WIDTH, background="white", title=plot.title)
        png, svg = plots.images(chart)
        yield f"{plot.name}.png", png
        yield f"{plot.name}.svg", svg
