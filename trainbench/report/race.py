"""A race as a table on the terminal, as Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from trainbench.report.compare_files import escaped
from trainbench.report.grid import UNKNOWN, grid, plain
from trainbench.report.numbers import number, percent, size, units
from trainbench.results.outcome import NOT_STEADY
from trainbench.results.race import Figures, Standing

COLUMNS = ("model", "batch", "JAX", "PyTorch", "unit", "JAX / PyTorch", "interval", "MFU", "memory", "JAX is")
WIDTH = 140
SCHEMA = 1


def row(one: Standing) -> tuple[str, ...]:
    """The cells of one model; those of two sides are JAX's, then PyTorch's."""
    sides = (one.jax, one.torch)
    return (
        one.model,
        _both([_text(side.batch_size, str) for side in sides]),
        *(_text(side.rate, number) for side in sides),
        f"{units(one.sample_unit)}/s" if one.sample_unit else UNKNOWN,
        _text(one.ratio, _ratio),
        " to ".join(map(_ratio, one.interval)) if one.interval else UNKNOWN,
        _both([_text(side.mfu, percent) for side in sides]),
        _both([_text(side.peak_bytes, size) for side in sides]),
        one.verdict,
    )


def _text(value: Any, write: Any) -> str:
    return UNKNOWN if value is None else str(write(value))


def _both(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else " · ".join(texts)


def _ratio(value: float) -> str:
    """A ratio; one far from 1 is the end of an interval that says nothing.

    >>> [_ratio(one) for one in (1.0375, 1e-9, 1e9)]
    ['1.038', '< 0.01', '> 100']
    """
    if value < 0.01:
        return "< 0.01"
    return "> 100" if value > 100 else f"{value:.3f}"


def text(standings: Sequence[Standing]) -> str:
    """A table, then what remained different, once for all models where it is the same."""
    table = grid()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for one in standings:
        table.add_row(*row(one))
    lines = [plain(table, WIDTH).rstrip()]
    for title, items in _notes(standings):
        lines += ["", title, *(f"  {item}" for item in items)]
    return "\n".join(lines)


def markdown(standings: Sequence[Standing]) -> str:
    """The same for a page."""
    lines = [_cells(COLUMNS), _cells(["---"] * len(COLUMNS))]
    lines += [_cells([escaped(cell) for cell in row(one)]) for one in standings]
    for title, items in _notes(standings):
        lines += ["", f"**{escaped(title)}**", "", *(f"- {escaped(item)}" for item in items)]
    return "\n".join([*lines, ""])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _notes(standings: Sequence[Standing]) -> list[tuple[str, list[str]]]:
    told = [one.differences for one in standings if one.differences]
    common = [item for item in told[0] if all(item in other for other in told)] if told else []
    found = [("what remains different (JAX · PyTorch)", common)] if common else []
    for one in standings:
        own = [item for item in one.differences if item not in common]
        broke = [f"{name} broke: {side.broke}" for name, side in _sides(one) if side.broke]
        restless = [
            f"{name}: {side.unsteady} of its runs {NOT_STEADY}" for name, side in _sides(one) if side.unsteady
        ]
        if own or broke or restless:
            found.append((one.model, [*broke, *restless, *own]))
    return found


def _sides(one: Standing) -> tuple[tuple[str, Figures], ...]:
    return ("JAX", one.jax), ("PyTorch", one.torch)


def as_json(standings: Sequence[Standing], more: Sequence[dict[str, Any]] = ()) -> str:
    """Everything that was found, for programs; rates are samples/s per chip, sizes bytes.

    Args:
      more: beside each standing, what else is known of it.
    """
    heats = [asdict(one) | (more[place] if place < len(more) else {}) for place, one in enumerate(standings)]
    return json.dumps({"schema": SCHEMA, "heats": heats}, indent=2) + "\n"
