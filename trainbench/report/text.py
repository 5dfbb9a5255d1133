"""The report as text, for a terminal or a pipe: a table with sparklines, then each series by batch size."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainbench.report import facts, series
from trainbench.report.grid import TITLES, UNKNOWN, figures, grid
from trainbench.report.numbers import number
from trainbench.report.page.throughput import mark
from trainbench.report.series import Run, Series
from trainbench.results.collect import Collection, printable

WIDTH = 100
MOST_ROWS = 200
_MOST_SERIES = 20
_MOST_SKIPPED = 20
_MOST_TRACED = 5
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 10
_BAR_WIDTH = 24
_LEAST_RANGE = 0.05
_STYLES = {
    "ok": "green",
    "not steady": "yellow",
    "interrupted": "yellow",
    "forecast": "cyan",
    "probe": "cyan",
}
_LEGEND = (
    f"blocks: step time of each timed block, from {_LEAST_RANGE:.0%} below to {_LEAST_RANGE:.0%} above the "
    "median or as far as they reach."
)


def write(found: Collection, file: TextIO) -> None:
    """Print the newest results, the series and what was left out; colours only on a terminal.

    At most `WIDTH` columns wide, fewer on a narrower terminal.
    """
    terminal = file.isatty()
    console = Console(file=file, force_terminal=terminal, color_system="auto" if terminal else None)
    console.width = min(WIDTH, console.width) if terminal else WIDTH
    runs = series.runs(found.loaded)
    console.print(_results(runs))
    for line in _notes(runs, found):
        console.print(Text(line))
    for one in [one for one in series.series(runs) if len(one.points) > 1][:_MOST_SERIES]:
        console.print()
        console.print(Text(one.name, style="bold"))
        console.print(_series(one))


def sparkline(times: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """Bars for `times`, each the mean of its share of them where there are more than `width`.

    The scale spans at least 5 % either side of the median, lest noise look like trouble.

    >>> sparkline([1.0, 1.0, 1.0, 1.2]), sparkline([])
    ('▂▂▂█', '')
    """
    if not times:
        return ""
    middle = sorted(times)[len(times) // 2]
    low = min(*times, middle * (1 - _LEAST_RANGE))
    high = max(*times, middle * (1 + _LEAST_RANGE))
    steps = [int((one - low) / (high - low or 1) * (len(_SPARKS) - 1) + 0.5) for one in _means(times, width)]
    return "".join(_SPARKS[step] for step in steps)


def _means(times: Sequence[float], width: int) -> Iterator[float]:
    count = min(width, len(times))
    for place in range(count):
        share = times[place * len(times) // count : (place + 1) * len(times) // count]
        yield sum(share) / len(share)


def _results(runs: Sequence[Run]) -> Table:
    table = grid()
    table.add_column("run", overflow="fold", min_width=16)
    table.add_column("status", overflow="fold")
    for title in ("batch", "rate/s", *TITLES):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("blocks", no_wrap=True)
    for run in runs[:MOST_ROWS]:
        status = facts.status(run.result)
        cells = [Text(cell) for cell in _cells(run)]
        table.add_row(Text(run.series), Text(status, style=_STYLES.get(status, "red")), *cells)
    return table


def _cells(run: Run) -> Iterator[str]:
    """Batch, figures and blocks."""
    batch = facts.batch(run.result)
    yield UNKNOWN if batch is None else f"{batch:,}"
    yield from figures(run.result)
    yield sparkline(facts.step_times_s(run.result))


def _notes(runs: Sequence[Run], found: Collection) -> Iterator[str]:
    yield _LEGEND
    if len(runs) > MOST_ROWS:
        yield f"The newest {MOST_ROWS} of {len(runs):,} results; the page (--out FILE) has all."
    traced = [(run.name, run.result.trace) for run in runs if run.result.trace]
    for name, trace in traced[:_MOST_TRACED]:
        yield printable(f"traced: {name}: {facts.traced(trace)}")
    for one in found.skipped[:_MOST_SKIPPED]:
        yield f"left out: {one}"
    if len(found.skipped) > _MOST_SKIPPED:
        yield f"left out: {len(found.skipped) - _MOST_SKIPPED:,} more"


def _series(one: Series) -> Table:
    """A row for each batch size, with a bar for the rate."""
    table = grid()
    for title in ("batch", f"{one.unit}/s", "from", "to"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("")
    best = max(point.rate for point in one.points)
    for point in one.points:
        bar = "█" * max(1, round(_BAR_WIDTH * point.rate / best))
        numbers = (f"{point.batch:,}", number(point.rate), number(point.low), number(point.high))
        table.add_row(*(Text(cell) for cell in (*numbers, bar, mark(one, point))))
    for batch in one.out_of_memory:
        table.add_row(f"{batch:,}", "-", "-", "-", "", "out of memory")
    return table
