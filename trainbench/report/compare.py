"""A comparison as text: one row a pair, then what else to know of it, and in the end the answer."""

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trainbench.measure.series import MATERIAL_FRACTION
from trainbench.report.compare_cells import ANYTHING, ratio, value, verdict
from trainbench.report.compare_labels import labels_of
from trainbench.report.numbers import percent
from trainbench.results.collect import printable
from trainbench.results.compare import Compared, Judged
from trainbench.results.compare_gate import Answer
from trainbench.results.compare_pairs import Pair, Pairing
from trainbench.results.compare_statistics import FALSE_ALARMS

WIDTH = 100
COLUMNS = ("what", "base", "new", "new / base", "verdict")
_VERDICT_WIDTH = len("can't tell below 99.9 %")
_LEAST_LABEL = 12
_FIRST = 5


@dataclass(frozen=True)
class Words:
    """Everything that a comparison says, before it is laid out; nothing in it is escaped.

    Attributes:
      rows: what, base, new, ratio with its interval, verdict.
      details: of each pair, the metrics that are shown beside.
      notes: (title, lines): differences of environment, warnings, what could not be seen.
      last: the counts; and the exit code with its meaning.
      sides: what BASE and NEW are, where files do not say it.
    """

    rows: tuple[tuple[str, str, str, str, str], ...]
    details: tuple[str, ...]
    notes: tuple[tuple[str, tuple[str, ...]], ...]
    last: tuple[str, str]
    sides: tuple[str, ...] = ()


def words(
    compared: Sequence[Compared],
    answer: Answer,
    pairing: Pairing | None = None,
    skipped: Sequence[str] = (),
    sides: Sequence[str] = (),
) -> Words:
    """What is to be said of these pairs.

    Args:
      answer: the exit code, with what it means here.
      pairing: names the runs that were left over.
      skipped: files that gave no run, each with the reason.
      sides: a line on each side.
    """
    labels = labels_of([one.pair for one in compared])
    rows = [row for label, one in zip(labels, compared, strict=True) for row in _rows(label, one)]
    details = [_detail(label, one) for label, one in zip(labels, compared, strict=True)]
    notes = {
        "environment": _gathered(labels, [one.environment for one in compared]),
        "warnings": [*_gathered(labels, [one.warnings for one in compared]), *_one_run(compared)],
        "sensitivity": _gathered(labels, [_unseen(one) for one in compared]),
        "not compared": [*(_left_over(pairing) if pairing else ()), *map("left out: {}".format, skipped)],
    }
    kept = tuple((title, tuple(lines)) for title, lines in notes.items() if lines)
    return Words(tuple(rows), tuple(filter(None, details)), kept, _last(compared, answer), tuple(sides))


def text(said: Words, width: int = WIDTH) -> str:
    """The comparison as plain text of at most `width` columns, without escape codes."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for title in COLUMNS:
        right = title in ("base", "new")
        table.add_column(
            title,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=right or title == "new / base",
            min_width=_VERDICT_WIDTH if title == "verdict" else None,
            # Else rich narrows the verdict too, in the middle of its number.
            max_width=max(_LEAST_LABEL, width - _taken(said.rows)) if title == "what" else None,
        )
    for row in said.rows:
        # Text, as brackets in a name would be taken for markup in a plain string.
        table.add_row(*(Text(printable(cell)) for cell in row))
    sides = [*_wrapped(said.sides, width, indent=""), ""] if said.sides else []
    lines = [*sides, *(line.rstrip() for line in _plain(table, width).splitlines())]
    for title, items in (("also", said.details), *said.notes):
        if items:
            lines += ["", f"{title}:", *_wrapped(items, width)]
    last = [part for line in said.last for part in textwrap.wrap(line, width)]
    return "\n".join([*lines, "", *last])


def _taken(rows: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal that all but the label need, with the blanks between them."""
    numbers = sum(max((len(row[place]) for row in rows), default=0) for place in (1, 2, 3))
    return numbers + _VERDICT_WIDTH + 2 * len(COLUMNS)


def _wrapped(items: Iterable[str], width: int, indent: str = "  ") -> Iterator[str]:
    for item in items:
        yield from textwrap.wrap(
            printable(item),
            width,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
        )


def _plain(table: Table, width: int) -> str:
    """The rendered table; its console believes in no terminal, whatever the environment says."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _rows(label: str, one: Compared) -> Iterator[tuple[str, str, str, str, str]]:
    """The pair's speed or its failure first; then each other metric that changed."""
    failed = one.status != "shown"
    if failed:
        yield label, _outcome(one.pair.base.results), _outcome(one.pair.new.results), "-", _broken(one)
    else:
        yield label, *_cells(one.speed, one.pair), verdict(one.speed)
    for judged in one.judged:
        if (failed or judged is not one.speed) and judged.verdict in ("regression", "improvement"):
            yield f"  {judged.metric.name}", *_cells(judged, one.pair), verdict(judged)


def _outcome(results: Sequence[object]) -> str:
    found = dict.fromkeys(str(getattr(result, "status", "")) for result in results)
    return ", ".join(found) or "no result"


def _broken(one: Compared) -> str:
    return one.status_reason if one.status == "same" else f"{one.status}: {one.status_reason}"


def _cells(judged: Judged, pair: Pair) -> tuple[str, str, str]:
    return value(judged, judged.base, pair), value(judged, judged.new, pair), ratio(judged)


def _detail(label: str, one: Compared) -> str:
    """What else the pair has, judged or not, on one line."""
    shown = [
        f"{_named(judged)} {_change(judged, one.pair)}"
        for judged in one.judged
        if judged is not one.speed
        and judged.metric.test != "identity"
        and None not in (judged.base, judged.new)
    ]
    return f"{label}: {'; '.join(shown)}" if shown else ""


def _named(judged: Judged) -> str:
    at_a_step = judged.metric.test == "curve"
    return f"{judged.metric.name} {judged.reason}" if at_a_step else judged.metric.name


def _change(judged: Judged, pair: Pair) -> str:
    base, new = value(judged, judged.base, pair), value(judged, judged.new, pair)
    return base if base == new else f"{base} → {new}"


def _gathered(labels: Sequence[str], found: Sequence[Iterable[str]]) -> list[str]:
    """Each line once; with the pairs that it is true of, where these are not all."""
    of: dict[str, list[str]] = {}
    for label, lines in zip(labels, found, strict=True):
        for line in lines:
            of.setdefault(line, []).append(label)
    return [line if len(names) == len(labels) else f"{line} ({_some(names)})" for line, names in of.items()]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _FIRST
    return ", ".join(names[:_FIRST]) + (f", and {more} more" if more > 0 else "")


def _unseen(one: Compared) -> list[str]:
    """The smallest change that would have been seen, where that is more than anyone would want to miss."""
    found = []
    for judged in one.judged:
        if judged.detectable is not None and judged.detectable > ANYTHING:
            found.append(
                f"{judged.metric.name}: could not have seen any change; more blocks or runs are needed"
            )
        elif judged.detectable is not None and judged.detectable > MATERIAL_FRACTION:
            change = percent(judged.detectable)
            found.append(f"{judged.metric.name}: could not have seen a change below {change}")
    return found


def _one_run(compared: Sequence[Compared]) -> list[str]:
    alone = [
        one
        for one in compared
        if len(one.pair.base.runs) == len(one.pair.new.runs) == 1 and one.speed.interval is not None
    ]
    if not alone:
        return []
    return [
        "one run a side cannot see how processes of the same program differ: "
        "compare --ab 'OVERRIDES A' 'OVERRIDES B' repeats both in turn, or give several runs a side"
    ]


def _left_over(pairing: Pairing) -> Iterator[str]:
    for label, runs in (("BASE", pairing.only_base), ("NEW", pairing.only_new)):
        if runs:
            names = _some([str(run.file) for run in runs])
            yield f"{len(runs)} only in {label}: {names}"


def _last(compared: Sequence[Compared], answer: Answer) -> tuple[str, str]:
    worse = sum(one.regressed for one in compared)
    better = sum(one.improved for one in compared)
    same = sum(not one.regressed and not one.improved and _is_same(one) for one in compared)
    forecasts = sum(one.pair.forecast for one in compared)
    rest = len(compared) - worse - better - same - forecasts
    pairs = "pair" if len(compared) == 1 else "pairs"
    counts = f"{len(compared)} {pairs}: {worse} worse, {better} better, {same} the same, {rest} can't tell"
    counts += f", {forecasts} not judged" if forecasts else ""
    sure = f"{1 - FALSE_ALARMS:.0%} sure, over all pairs together"
    return f"{counts} ({sure})", f"exit code {answer.code}: {answer.meaning}"


def _is_same(one: Compared) -> bool:
    return "same" in (one.status, one.speed.verdict) and "unclear" not in one.verdicts
