"""What a sweep over numbers of devices says of scaling: tables, and a plot beside its points."""

from collections.abc import Iterable
from pathlib import Path

from trainbench.errors import UserError, first_line
from trainbench.report import scaling, scaling_table, series
from trainbench.report.scaling import Scaling
from trainbench.results import store
from trainbench.results.collect import Loaded
from trainbench.results.record import Result

PLOT_FILES = ("scaling.png", "scaling.svg")
_WIDTH = 100


def of(found: Iterable[tuple[str, Result | None]], directory: Path) -> tuple[Scaling, ...]:
    """What scales among the points with these labels in the folder of a sweep."""
    loaded = [Loaded(directory / label / store.RESULT_FILE, result) for label, result in found if result]
    return scaling.scalings(series.runs(loaded))


def lines(found: tuple[Scaling, ...]) -> list[str]:
    """The tables with what they mean, a blank line before; nothing where nothing scales."""
    return ["", *scaling_table.lines(found, _WIDTH)] if found else []


def draw(found: tuple[Scaling, ...], directory: Path) -> str | None:
    """Write the plot; where it is, or in one line why there is none. None where nothing scales.

    What goes wrong here is said and costs no result.
    """
    if not found:
        return None
    # Imported late, as few sweeps need it: it takes a third of a second to load.
    from trainbench.report.page import images
    from trainbench.report.page import scaling as page

    try:
        for name, content in images.images([page.plot(found)]):
            store.write_whole(directory / name, content)
    except UserError as error:
        return f"warning: the plot was not written: {error.problem}"
    except Exception as error:
        return f"warning: the plot was not drawn: {type(error).__name__}: {first_line(error)}"
    return f"plot: {' and '.join(PLOT_FILES)} in {directory}"
