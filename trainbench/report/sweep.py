"""The table at the end of a sweep: one row a point, the best one marked, failures shown as what they are."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainbench.report.numbers import duration, number, percent, plus_minus, size, units
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
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("")
    table.add_column("overrides", overflow="fold")
    table.add_column("status", no_wrap=True)
    rate = f"{_common_unit(rows)}/s"
    for title in (rate, "±", "step", "MFU", "memory", "compile"):
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
    found = {row.result.workload.sample_unit for row in rows if row.result and row.result.workload}
    return units(found.pop()) if len(found) == 1 else "samples"


def best_line(rows: Sequence[Row]) -> str:
    """The best point and, where batch sizes were varied, the knee; empty where none can be ranked."""
    ranked = _ranked([row.result for row in rows])
    if not ranked:
        return ""
    best = max(ranked, key=_rate)
    label = next(row.label for row in rows if row.result is best)
    line = f"best: {label}, {number(_rate(best))} {_unit(best)}/s"
    rates = {_batch(result): _rate(result) for result in ranked if _otherwise(result) == _otherwise(best)}
    if len(rates) < 2:
        return line
    small = knee(rates)
    return f"{line}; knee (within {100 * WITHIN:g} % of it): batch_size={small}, {number(rates[small])}"


def _batch(result: Result) -> int:
    return result.workload.batch_size if result.workload else 0


def _unit(result: Result) -> str:
    return units(result.workload.sample_unit) if result.workload else "samples"


def _otherwise(result: Result) -> dict[str, JsonValue]:
    """What was run, apart from the batch size."""
    return {key: value for key, value in result.config.items() if key != "batch_size"}


def _ranked(results: Sequence[Result | None]) -> list[Result]:
    """Those that ended well, if there are several and their samples are of one kind."""
    ranked = [result for result in results if result and result.status == "ok" and result.throughput]
    comparable = len({result.workload.sample_unit for result in ranked if result.workload}) == 1
    return ranked if len(ranked) > 1 and comparable else []


def _marks(results: Sequence[Result | None]) -> list[str]:
    """A mark for each point: best, as good within the intervals, or neither."""
    ranked = _ranked(results)
    if not ranked:
        return [""] * len(results)
    best = max(ranked, key=_rate)
    floor = _interval(best)[0]
    return [_mark(result, best, floor) if result in ranked else "" for result in results]


def _mark(result: Result | None, best: Result, floor: float) -> str:
    if result is best:
        return _BEST
    return _TIED if result is not None and _interval(result)[1] >= floor else ""


def _rate(result: Result) -> float:
    return result.throughput.samples_per_s if result.throughput else 0.0


def _interval(result: Result) -> tuple[float, float]:
    """The 95 % interval of samples/s, or the point itself where there is none."""
    known = result.throughput.samples_per_s_ci95 if result.throughput else None
    return known or (_rate(result), _rate(result))


def _cells(result: Result | None) -> list[str]:
    """Status, rate, interval, step time, MFU, peak memory, compile time; "-" for what does not exist."""
    if result is None:
        return ["failed", *["-"] * 6]
    return [
        _status(result),
        *_rate_cells(result),
        _step_time(result),
        percent(result.utilization.mfu) if result.utilization and result.utilization.mfu is not None else "-",
        _memory(result),
        _compile(result),
    ]


def _status(result: Result) -> str:
    unsteady = result.status == "ok" and result.timing is not None and not result.timing.steady
    return "not steady" if unsteady else result.status


def _rate_cells(result: Result) -> list[str]:
    if result.throughput is None:
        return ["-", "-"]
    rate = result.throughput.samples_per_s
    return [number(rate), plus_minus(rate, result.throughput.samples_per_s_ci95).removeprefix("± ")]


def _step_time(result: Result) -> str:
    step = result.timing.step_time_s if result.timing else None
    return duration(step.median) if step else "-"


def _memory(result: Result) -> str:
    memory = result.memory
    if memory is None:
        return "-"
    peak = memory.peak_bytes_allocator
    peak = memory.peak_bytes_compiled if peak is None else peak
    return "-" if peak is None else size(peak)


def _compile(result: Result) -> str:
    stages = result.compile
    if stages is None or stages.compile_s is None:
        return "-"
    return duration((stages.trace_s or 0) + (stages.lower_s or 0) + stages.compile_s)


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
