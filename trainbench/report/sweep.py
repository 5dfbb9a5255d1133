"""The table at the end of a sweep: one row a point, the best one marked, failures shown as what they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from rich.text import Text

from trainbench.report import facts
from trainbench.report.grid import NO_FIGURES, TITLES, figures, grid, plain
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

    The best point of a model has the highest samples/s among those that are ok, and steady if any is; points
    whose 95 % interval overlaps its interval are marked too, as the sweep cannot tell them apart.
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
    lines = [line.rstrip() for line in plain(table, width).splitlines()]
    return "\n".join([*lines, *_notes(rows), *_legend(marks)])


def told(row: Row) -> str:
    """One line on how a point ended: its rate with the interval, or why there is none."""
    if row.result is None:
        return f"failed: {row.note}"
    if row.result.throughput is None:
        return row.result.status
    rate, interval, *_ = figures(row.result)
    steady = "" if row.result.status == "ok" and _steady(row.result) else f", {facts.status(row.result)}"
    return f"{rate} {facts.unit(row.result)}/s ± {interval}{steady}"


def _common_unit(rows: Sequence[Row]) -> str:
    found = {facts.unit(row.result) for row in rows if row.result and row.result.workload}
    return found.pop() if len(found) == 1 else "samples"


def best_lines(rows: Sequence[Row]) -> list[str]:
    """For each model its best point and, where batch sizes were varied, the knee; only what can be ranked."""
    groups = _ranked([row.result for row in rows])
    return [
        _best_line(ranked, rows, name=model if len(groups) > 1 else "") for model, ranked in groups.items()
    ]


def _best_line(ranked: Sequence[Result], rows: Sequence[Row], name: str) -> str:
    best = max(ranked, key=_rate)
    label = next(row.label for row in rows if row.result is best)
    unsteady = "" if _steady(best) else ", not steady"
    whose = f" for {name}" if name else ""
    whose = f" for {name}" if name else ""
    line = f"best{whose}: {label}, {number(_rate(best))} {facts.unit(best)}/s{unsteady}"
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


def _ranked(results: Sequence[Result | None]) -> dict[str, list[Result]]:
    """By model those that ended well, if there are several: the steady ones, or all where none is steady."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result and result.status == "ok" and result.throughput and result.workload:
            groups.setdefault(result.workload.model, []).append(result)
    steady = {model: [one for one in found if _steady(one)] for model, found in groups.items()}
    return {model: steady[model] or found for model, found in groups.items() if len(found) > 1}


def _marks(results: Sequence[Result | None]) -> list[str]:
    """A mark for each point: best of its model, as good within the intervals, or neither."""
    marks: dict[int, str] = {}
    for ranked in _ranked(results).values():
        best = max(ranked, key=_rate)
        floor = facts.ends(best)[0]
        marks |= {id(one): _mark(one, best, floor) for one in ranked}
    return [marks.get(id(result), "") for result in results]


def _mark(result: Result, best: Result, floor: float) -> str:
    if result is best:
        return _BEST
    return _TIED if facts.ends(result)[1] >= floor else ""


def _steady(result: Result) -> bool:
    return facts.status(result) != "not steady"


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
    parts = [f"{_BEST} best of its model"] if _BEST in marks else []
    parts += [f"{_TIED} its 95 % interval overlaps the best one's"] if _TIED in marks else []
    return ["; ".join(parts)] if parts else []
