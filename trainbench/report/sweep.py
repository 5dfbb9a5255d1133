"""The table at the end of a sweep: one row a point, the best one marked, failures shown as what they are."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainbench.report import facts
from trainbench.report.grid import NO_FIGURES, TITLES, figures, grid
from trainbench.report.numbers import number
from trainbench.results.knee import WITHIN, knee
from trainbench.results.record import Result


@dataclass(frozen=True)
class Row:
    """One point: its overrides, its record (None when its process left none), and a word on how it ended."""

    label: str
    result: Result | None
    note: str = ""


_WIDTH = 100
_BEST = "*"
_TIED = "~"


def sweep_table(rows: Sequence[Row], width: int = _WIDTH) -> str:
    """The table as plain text of at most `width` columns, without escape codes; then notes, then the legend.

    The best point has the highest samples/s among those that are ok; points whose 95 % interval overlaps its
    interval are marked too, as the sweep cannot tell them apart. Samples of different units are not ranked.
    """
    marks = _marks([row.result for row in rows])
    table = grid()
    table.add_column("")
    table.add_column("overrides", overflow="fold")
    table.add_column("status", no_wrap=True)
    for title in (f"{_common_unit(rows)}/s", *TITLES):
        table.add_column(title, justify="right", no_wrap=True)
    for row, mark in zip(rows, marks, strict=True):
        # Text, as a label such as "axes=[data]" would be taken for markup in a plain string.
        table.add_row(*(Text(cell) for cell in (mark, row.label, *_cells(row.result))))
    lines = [line.rstrip() for line in _plain(table, width).splitlines()]
    return "\n".join([*lines, *_notes(rows), *_legend(marks)])


def _plain(table: Table, width: int) -> str:
    """The rendered table; its console believes in no terminal, whatever the environment says."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _common_unit(rows: Sequence[Row]) -> str:
    found = {facts.unit(row.result) for row in rows if row.result and row.result.workload}
    return found.pop() if len(found) == 1 else "samples"


def best_line(rows: Sequence[Row]) -> str:
    """The best point and, where batch sizes were varied, the knee; empty where none can be ranked."""
    ranked = _ranked([row.result for row in rows])
    if not ranked:
        return ""
    best = max(ranked, key=_rate)
    label = next(row.label for row in rows if row.result is best)
    line = f"best: {label}, {number(_rate(best))} {facts.unit(best)}/s"
    rates = {
        facts.batch(result) or 0: _rate(result) for result in ranked if _otherwise(result) == _otherwise(best)
    }
    if len(rates) < 2:
        return line
    small = knee(rates)
    return f"{line}; knee (within {100 * WITHIN:g} % of it): batch_size={small}, {number(rates[small])}"


def _otherwise(result: Result) -> dict[str, JsonValue]:
    """What was run, apart from the batch size."""
    return {key: value for key, value in result.config.items() if key != "batch_size"}


def _ranked(results: Sequence[Result | None]) -> list[Result]:
    """Those that ended well, if there are several and their samples are of one kind."""
    ranked = [result for result in results if result and result.status == "ok" and result.throughput]
    comparable = len({facts.unit(result) for result in ranked if result.workload}) == 1
    return ranked if len(ranked) > 1 and comparable else []


def _marks(results: Sequence[Result | None]) -> list[str]:
    """A mark for each point: best, as good within the intervals, or neither."""
    ranked = _ranked(results)
    if not ranked:
        return [""] * len(results)
    best = max(ranked, key=_rate)
    floor = facts.ends(best)[0]
    return [_mark(result, best, floor) if result in ranked else "" for result in results]


def _mark(result: Result | None, best: Result, floor: float) -> str:
    if result is best:
        return _BEST
    return _TIED if result is not None and facts.ends(result)[1] >= floor else ""


def _rate(result: Result) -> float:
    return facts.rate(result) or 0.0


def _cells(result: Result | None) -> tuple[str, ...]:
    """Status and figures; a point without a record failed."""
    return ("failed", *NO_FIGURES) if result is None else (facts.status(result), *figures(result))


def _notes(rows: Sequence[Row]) -> list[str]:
    """Below the table, in full: in a cell they would be folded into unreadable columns."""
    lines = []
    for row in rows:
        reason = row.result.status_reason if row.result and row.result.status != "ok" else None
        told = "; ".join(part for part in (reason, row.note) if part)
        lines += [f"{row.label}: {told}"] if told else []
    return lines


def _legend(marks: Sequence[str]) -> list[str]:
    parts = [f"{_BEST} best"] if _BEST in marks else []
    parts += [f"{_TIED} its 95 % interval overlaps the best one's"] if _TIED in marks else []
    return ["; ".join(parts)] if parts else []
