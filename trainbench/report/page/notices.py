"""What went wrong or is doubtful: runs that are not ok, warnings, files that were left out."""

from collections.abc import Iterable, Iterator, Sequence

from trainbench.report import console, facts
from trainbench.report.page.content import Section
from trainbench.report.series import Run
from trainbench.results.collect import Skipped, printable

_MOST_LINES = 100


def troubles(found: Sequence[Run]) -> Section | None:
    """The runs that are not ok or not steady, with the reason, alike ones together; None without any."""
    return _section("troubles", "Not ok", _told(found))


def warnings(found: Sequence[Run]) -> Section | None:
    """The warnings of all runs, alike ones together; None without any."""
    lines = (
        (text.removeprefix("warning: "), run.name) for run in found for text in console.warnings(run.result)
    )
    return _section("warnings", "Warnings", lines)


def skipped(files: Sequence[Skipped]) -> Section | None:
    """The files that gave no result, with the reason; None without any."""
    lines = [str(one) for one in files]
    return Section("skipped", "Left out", lines=_limited(lines)) if lines else None


def _told(found: Iterable[Run]) -> Iterator[tuple[str, str]]:
    for run in found:
        status, timing = facts.status(run.result), run.result.timing
        if run.result.status != "ok":
            yield f"{status}: {run.result.status_reason}", run.name
        elif timing and not timing.steady:
            yield f"{status}: {timing.steady_reason}", run.name


def _section(id: str, title: str, told: Iterable[tuple[str, str]]) -> Section | None:
    """One line for each text: what it is about (the first one's name, and how many more), and the text."""
    about: dict[str, list[str]] = {}
    for text, name in told:
        about.setdefault(printable(text), []).append(name)
    lines = [f"{_names(names)}: {text}" for text, names in about.items()]
    return Section(id, title, lines=_limited(lines)) if lines else None


def _names(names: Sequence[str]) -> str:
    more = len(names) - 1
    return f"{names[0]} and {more:,} more" if more else names[0]


def _limited(lines: Sequence[str]) -> tuple[str, ...]:
    left = len(lines) - _MOST_LINES
    return (*lines[:_MOST_LINES], *((f"and {left:,} more",) if left > 0 else ()))
