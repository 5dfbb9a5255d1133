"""Results as rows of a table on a terminal."""

import io

from rich import box
from rich.console import Console
from rich.table import Table

from trainbench.report import facts
from trainbench.report.numbers import duration, number, percent, plus_minus, size
from trainbench.results.record import Result

UNKNOWN = "-"
# Of the columns that `figures` fills after the rate, whose title is its unit.
TITLES = ("±", "step", "MFU", "memory", "compile")
NO_FIGURES = (UNKNOWN,) * (1 + len(TITLES))


def grid() -> Table:
    """A table without columns, as narrow as it can be."""
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)


def figures(result: Result) -> tuple[str, ...]:
    """Rate, its interval, step time, MFU, peak memory, compile time; "-" for what does not exist."""
    rate, step, used = facts.rate(result), facts.step_time_s(result), facts.mfu(result)
    peak, compiling = facts.peak_bytes(result), facts.compile_s(result)
    return (
        UNKNOWN if rate is None else number(rate),
        UNKNOWN if rate is None else plus_minus(rate, facts.interval(result)).removeprefix("± "),
        UNKNOWN if step is None else duration(step),
        UNKNOWN if used is None else percent(used),
        UNKNOWN if peak is None else size(peak),
        UNKNOWN if compiling is None else duration(compiling),
    )


def plain(table: Table, width: int) -> str:
    """The rendered table; its console believes in no terminal, whatever the environment says."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
