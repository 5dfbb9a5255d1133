"""What went wrong or is doubtful: runs that are not ok, warnings, files that were left out."""

import re
from collections.abc import Iterable, Iterator, Sequence

from trainbench.report import console, facts
from trainbench.report.page.content import Section
from trainbench.report.series import Run
from trainbench.results.collect import Skipped, printable

_MOST_LINES = 100
_NUMBER = re.compile(r"\d[\d.,]*")
_FIELD = re.compile(r"[a-z_.]+")


def troubles(found: Sequence[Run]) -> Section | None:
    """The runs that are not ok or not steady, with the reason, alike ones together; None without any."""
    about: dict[str, list[str]] = {}
    for text, name in _told(found):
        about.setdefault(printable(text), []).append(name)
    lines = [f"{_names(names)}: {text}" for text, names in about.items()]
    return Section("troubles", "Not ok", lines=_limited(lines)) if lines else None


def warnings(found: Sequence[Run]) -> Section | None:
    """The warnings of all runs but those that `troubles` tells; None without any.

    Those that differ in their numbers, or in the field that they are of, stand on one line with their count.
    """
    alike: dict[str, list[tuple[str, str, str]]] = {}
    for run in found:
        for text in _warnings(run):
            field, said = _field(printable(text))
            alike.setdefault(_NUMBER.sub("#", said), []).append((run.label, field, said))
    lines = [_line(told) for told in alike.values()]
    return Section("warnings", "Warnings", lines=_limited(lines)) if lines else None


def _warnings(run: Run) -> Iterator[str]:
    result = run.result
    told = {result.status_reason, result.timing.steady_reason if result.timing else None}
    for line in console.warnings(result):
        text = line.removeprefix("warning: ")
        if text not in told and text.partition(": ")[2] not in told:
            yield text


def _field(text: str) -> tuple[str, str]:
    """The field of the record that a warning begins with, if it does, and the rest of it."""
    first, _, rest = text.partition(": ")
    return (first, rest) if rest and _FIELD.fullmatch(first) else ("", text)


def _line(told: Sequence[tuple[str, str, str]]) -> str:
    """The runs, the fields and the first text, with the number of others that differ from it."""
    names, fields, texts = (list(dict.fromkeys(column)) for column in zip(*told, strict=True))
    field = ", ".join(filter(None, fields))
    more = f" (and {len(texts) - 1:,} more with other numbers)" if len(texts) > 1 else ""
    return f"{_names(names)}: {field}{': ' if field else ''}{texts[0]}{more}"


def skipped(files: Sequence[Skipped]) -> Section | None:
    """The files that gave no result, with the reason; None without any."""
    lines = [str(one) for one in files]
    return Section("skipped", "Left out", lines=_limited(lines)) if lines else None


def _told(found: Iterable[Run]) -> Iterator[tuple[str, str]]:
    for run in found:
        status, timing = facts.status(run.result), run.result.timing
        if run.result.status != "ok":
            yield f"{status}: {run.result.status_reason}", run.label
        elif timing and not timing.steady:
            yield f"{status}: {timing.steady_reason}", run.label


def _names(names: Sequence[str]) -> str:
    more = len(names) - 1
    return f"{names[0]} and {more:,} more" if more else names[0]


def _limited(lines: Sequence[str]) -> tuple[str, ...]:
    left = len(lines) - _MOST_LINES
    return (*lines[:_MOST_LINES], *((f"and {left:,} more",) if left > 0 else ()))
