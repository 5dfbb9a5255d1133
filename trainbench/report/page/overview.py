"""The summary, and the table of all results."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from trainbench.report import facts
from trainbench.report.numbers import duration, number, percent, plus_minus, size
from trainbench.report.page.content import Cell, Section, Table
from trainbench.report.series import Run, Series, steadiest
from trainbench.results.collect import Collection, printable
from trainbench.results.outcome import NOT_STEADY
from trainbench.results.record import Result
from trainbench.results.store import RESULT_FILE

_MOST_NAMES = 6
_MOST_SERIES = 3
_NOTHING = Cell("-")


def summary(found: Sequence[Run], series: Sequence[Series], collection: Collection) -> Section:
    """What there is, in one paragraph, and the numbers that matter most."""
    sentences = [
        _counts(found),
        _named("Models", (run.result.workload.model for run in found if run.result.workload)),
        _named("Devices", (name for run in found if (name := facts.device(run.result)))),
        _named("Precision", (run.result.workload.precision for run in found if run.result.workload)),
        _when(found),
        _left_out(collection),
    ]
    return Section(
        id="summary",
        title="Summary",
        paragraphs=(" ".join(sentence for sentence in sentences if sentence),),
        numbers=tuple(_numbers(found, series)),
    )


def _counts(found: Sequence[Run]) -> str:
    parts = facts.counted(run.result for run in found)
    return f"{len(found):,} {_plural('result', len(found))}: {parts}."


def _plural(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"


def _named(what: str, names: Iterable[str]) -> str:
    """The most frequent names."""
    known = [name for name, _ in Counter(names).most_common()]
    shown = ", ".join(printable(name) for name in known[:_MOST_NAMES])
    more = f" and {len(known) - _MOST_NAMES:,} more" if len(known) > _MOST_NAMES else ""
    return f"{what}: {shown}{more}." if known else ""


def _when(found: Sequence[Run]) -> str:
    first, last = (end(run.result.created_utc for run in found).date() for end in (min, max))
    return f"Started on {first} (UTC)." if first == last else f"Started between {first} and {last} (UTC)."


def _left_out(collection: Collection) -> str:
    left = len(collection.skipped)
    return f"{left:,} {_plural('file', left)} left out: see below." if left else ""


def _numbers(found: Sequence[Run], series: Sequence[Series]) -> list[tuple[str, str]]:
    """The highest rate of each of the first series, and the highest MFU."""
    numbers = [_highest(one) for one in series[:_MOST_SERIES]]
    used = [run for run in found if facts.usable(run.result) and facts.mfu(run.result)]
    if used:
        run = max(steadiest(used), key=lambda run: facts.mfu(run.result) or 0)
        value = facts.mfu(run.result) or 0
        numbers.append((f"{percent(value)} MFU{facts.doubt(run.result)}", f"the highest: {run.label}"))
    return numbers


def _highest(one: Series) -> tuple[str, str]:
    point = one.at(one.best)
    doubt = facts.doubt(point.runs[0].result)
    sure, many = f" {plus_minus(point.rate, facts.interval(point.runs[0].result))}", "1 run"
    if len(point.runs) > 1:
        sure = ""
        many = f"median of {len(point.runs):,} runs from {number(point.low)} to {number(point.high)}"
    left = f", {point.passed_over:,} more {NOT_STEADY}" if point.passed_over else ""
    knee = f", knee at {one.knee:,}" if len(one.points) > 1 else ""
    what = f"{one.name} · batch {one.best:,}{knee}; {many}{left}"
    return f"{number(point.rate)} {one.unit}/s{sure}{doubt}", what


def table(found: Sequence[Run]) -> Section:
    """Every result, in columns of which something is known."""
    at = _common([run.file for run in found])
    columns = {title: [cell(run, at) for run in found] for title, cell in _COLUMNS.items()}
    known = {title: cells for title, cells in columns.items() if any(cell != _NOTHING for cell in cells)}
    return Section(
        id="results",
        title="All results",
        tables=(
            Table(
                caption="A heading sorts; per device: batch and memory; over all devices: rate.",
                titles=tuple(known),
                rows=list(zip(*known.values(), strict=True)),
                numeric=frozenset(known) & _NUMERIC,
                sortable=True,
            ),
        ),
    )


def _common(files: Sequence[Path]) -> Path:
    """The directory that all files are below; what is above it says nothing about any of them."""
    return Path(os.path.commonpath([file.absolute().parent for file in files]))


def _file(file: Path, at: Path) -> str:
    """The path below `at`; of a file that is called as usual, its directory."""
    below = Path(os.path.relpath(file.absolute(), at))
    return printable(str(below.parent if below.name == RESULT_FILE and below.parent.name else below))


def _rate(run: Run) -> Cell:
    value = facts.rate(run.result)
    return _NOTHING if value is None else Cell(f"{number(value)} {facts.unit(run.result)}/s", value)


def _interval(run: Run) -> Cell:
    value, ends = facts.rate(run.result), facts.interval(run.result)
    if not value or ends is None:
        return _NOTHING
    return Cell(plus_minus(value, ends), max(value - ends[0], ends[1] - value) / value)


def _quantity(
    of: Callable[[Result], float | None], shown: Callable[[float], str]
) -> Callable[[Run, Path], Cell]:
    """A column of numbers: `of` finds one, `shown` writes it."""

    def cell(run: Run, at: Path) -> Cell:
        value = of(run.result)
        return _NOTHING if value is None else Cell(shown(value), value)

    return cell


def _word(of: Callable[[Result], str | None]) -> Callable[[Run, Path], Cell]:
    def cell(run: Run, at: Path) -> Cell:
        return Cell(printable(of(run.result) or _NOTHING.text))

    return cell


def _last_loss(result: Result) -> float | None:
    return result.loss.last if result.loss else None


def _whole(value: float) -> str:
    return f"{value:,.0f}"


_COLUMNS: dict[str, Callable[[Run, Path], Cell]] = {
    "run": lambda run, at: Cell(run.series),
    "status": _word(facts.status),
    "batch": _quantity(facts.batch, _whole),
    "rate": lambda run, at: _rate(run),
    "±": lambda run, at: _interval(run),
    "step": _quantity(facts.step_time_s, duration),
    "MFU": _quantity(facts.mfu, percent),
    "memory": _quantity(facts.peak_bytes, lambda value: size(int(value))),
    "compile": _quantity(facts.compile_s, duration),
    "last loss": _quantity(_last_loss, number),
    "started (UTC)": _word(lambda result: f"{result.created_utc:%Y-%m-%d %H:%M}"),
    "file": lambda run, at: Cell(_file(run.file, at)),
}
_NUMERIC = frozenset(("batch", "rate", "±", "step", "MFU", "memory", "compile", "last loss"))
