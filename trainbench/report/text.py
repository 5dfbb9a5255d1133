"""The report as text, for a terminal or a pipe: a table with sparklines, then each series by batch size."""

import os
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainbench.report import facts, forecasts, scaling, scaling_table, series
from trainbench.report.grid import TITLES, UNKNOWN, figures, grid
from trainbench.report.numbers import duration, number, percent
from trainbench.report.page.marks import mark
from trainbench.report.series import Run, Series
from trainbench.results.collect import Collection, printable
from trainbench.results.outcome import NOT_STEADY
from trainbench.results.record import Operation

WIDTH = 100
MOST_ROWS = 200
_MOST_SERIES = 20
_MOST_SKIPPED = 20
_MOST_TRACED = 3
_MOST_FORECASTS = 20
_MOST_OPERATIONS = 10
_LEAST_WIDTH = 70
_NARROW = 80
_LEAST_NAME = 16
_LEAST_TOLD = ("compile", "MFU", "memory", "blocks")  # the least first
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 10
_BAR_WIDTH = 24
_BESIDE_BAR = 57  # columns of numbers and words
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

    At most `WIDTH` columns wide; as narrow as the terminal, or as `COLUMNS` says, down to 70.
    """
    terminal = file.isatty()
    console = Console(file=file, force_terminal=terminal, color_system="auto" if terminal else None)
    # A pipe has no width but the one that the environment tells.
    told = terminal or "COLUMNS" in os.environ
    console.width = min(WIDTH, max(_LEAST_WIDTH, console.width)) if told else WIDTH
    runs = series.runs(found.loaded)
    with console.capture() as captured:
        _print(console, runs, found)
    file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _print(console: Console, runs: Sequence[Run], found: Collection) -> None:
    console.print(_results(runs, console.width))
    for line in _notes(runs, found):
        console.print(Text(line))
    scaled = scaling.scalings(runs)[:_MOST_SERIES]
    for line in ("", *scaling_table.lines(scaled, console.width)) if scaled else ():
        console.print(Text(line))
    for one in [one for one in series.series(runs) if len(one.points) > 1][:_MOST_SERIES]:
        console.print()
        console.print(Text(one.name, style="bold"))
        console.print(_series(one, console.width))


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


def _results(runs: Sequence[Run], width: int) -> Table:
    """The newest runs; where `width` has no room for every column, without those that matter least."""
    shown = runs[:MOST_ROWS]
    columns = _columns(shown)
    gap = 2 if width >= _NARROW else 1
    for least in _LEAST_TOLD:
        if sum(_wide(title, cells) + gap for title, cells in columns.items()) - gap > width:
            columns.pop(least, None)
    table = grid()
    table.padding = (0, gap - 1, 0, 0)
    for title in columns:
        if title in ("run", "status"):
            table.add_column(title, overflow="fold", min_width=_LEAST_NAME if title == "run" else None)
        else:
            table.add_column(title, no_wrap=True, justify="left" if title == "blocks" else "right")
    for row in zip(*columns.values(), strict=True):
        table.add_row(row[0], Text(row[1].plain, style=_STYLES.get(row[1].plain, "red")), *row[2:])
    return table


def _columns(runs: Sequence[Run]) -> dict[str, list[Text]]:
    """The cells by title, without columns of which nothing is known."""
    titles = ("run", "status", "batch", "rate/s", *TITLES, "blocks")
    cells = zip(*(map(Text, _cells(run)) for run in runs), strict=True)
    return {
        title: list(column)
        for title, column in zip(titles, cells, strict=True)
        if any(cell.plain not in (UNKNOWN, "") for cell in column)
    }


def _wide(title: str, cells: Sequence[Text]) -> int:
    """The columns that it needs at least."""
    return _LEAST_NAME if title == "run" else max(len(title), *(cell.cell_len for cell in cells))


def _cells(run: Run) -> Iterator[str]:
    """Name, status, batch, figures and blocks."""
    yield run.series
    yield facts.status(run.result)
    batch = facts.batch(run.result)
    yield UNKNOWN if batch is None else f"{batch:,}"
    yield from figures(run.result)
    yield sparkline(facts.step_times_s(run.result))


def _notes(runs: Sequence[Run], found: Collection) -> Iterator[str]:
    yield _LEGEND
    if len(runs) > MOST_ROWS:
        yield f"The newest {MOST_ROWS} of {len(runs):,} results; the page (--out FILE) has all."
    traced = [(run.label, run.result.trace) for run in runs if run.result.trace]
    for name, trace in traced[:_MOST_TRACED]:
        yield f"traced: {printable(name)}: device busy {facts.busy(trace)}, {trace.steps:,} steps"
        yield from map(_operation, trace.operations[:_MOST_OPERATIONS])
    if len(traced) > _MOST_TRACED:
        yield f"The newest {_MOST_TRACED} of {len(traced):,} traced runs; the page (--out FILE) has more."
    yield from _forecasts([run for run in runs if run.result.forecast])
    for one in found.skipped[:_MOST_SKIPPED]:
        yield f"left out: {one}"
    if len(found.skipped) > _MOST_SKIPPED:
        yield f"left out: {len(found.skipped) - _MOST_SKIPPED:,} more"


def _forecasts(runs: Sequence[Run]) -> Iterator[str]:
    """A line for each forecast, and one for the run beside it where there is one."""
    if runs:
        yield forecasts.LEGEND
    for run in runs[:_MOST_FORECASTS]:
        yield printable(f"forecast {forecasts.name(run.result)}: {forecasts.words(run.result)}")
        yield from (f"  {label}: {printable(text)}" for label, text in forecasts.beside(run.result))
    if len(runs) > _MOST_FORECASTS:
        yield f"The newest {_MOST_FORECASTS} of {len(runs):,} forecasts; the page (--out FILE) has all."


def _operation(one: Operation) -> str:
    """One line: share, time per step and device, where it comes from."""
    name = printable(facts.operation(one, _LEAST_WIDTH - 24))
    return f"  {percent(one.share):>7}  {duration(one.self_time_s):>8}  {name}"


def _series(one: Series, width: int) -> Table:
    """A row for each batch size, with a bar for the rate."""
    table = grid()
    longest = min(_BAR_WIDTH, width - _BESIDE_BAR)
    for title in ("batch", f"{one.unit}/s", "from", "to"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("")
    best = max(point.rate for point in one.points)
    for point in one.points:
        bar = "█" * max(1, round(longest * point.rate / best))
        word = mark(one, point) or ("" if point.steady else NOT_STEADY)
        numbers = (f"{point.batch:,}", number(point.rate), number(point.low), number(point.high))
        table.add_row(*(Text(cell) for cell in (*numbers, bar, word)))
    for batch in one.out_of_memory:
        table.add_row(f"{batch:,}", "-", "-", "-", "", "out of memory")
    return table
