"""Results as rows of a table on a terminal."""

from rich import box
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
