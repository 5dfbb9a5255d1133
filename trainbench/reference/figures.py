"""The tables of published figures: the one that ships (`published.csv` beside this file), and the user's own.

One row is one number that somebody printed, or one division of such numbers. `columns` says what the cells
hold; blank means not stated. To add a figure: append a line to published.csv and run
`python -m trainbench references --check trainbench/reference/published.csv`.
"""

import csv
import difflib
import functools
import io
import shlex
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from trainbench.errors import UserError, nearest
from trainbench.reference import vocabulary
from trainbench.reference.columns import NAMES, NEEDED, read_row
from trainbench.reference.figure import Figure
from trainbench.reference.validate import FlopsPerSample, faults, per_chip

SHIPPED = "published.csv"
# Problems that one screen shows, and characters of each.
_SHOWN = 10
_LINE = 300
_ALLOWED = "rows as `python -m trainbench references --columns` documents them; none is left out"


class FigureError(ValueError):
    """Rows of a table that cannot be trusted: `problems` names each by its line, `allowed` what may be."""

    def __init__(self, problems: list[str], allowed: str = _ALLOWED) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.allowed = allowed


def load(
    extra: str | Path | None = None, flops_per_sample: FlopsPerSample | None = None
) -> tuple[Figure, ...]:
    """The published figures that ship with the package, in the table's order, then those of `extra`.

    Args:
      extra: a CSV file of the user's own; a process reads it once, so it may change or go during a run.
      flops_per_sample: counts a figure's FLOPs, so that impossible rates in `extra` are refused too.

    Raises:
      UserError: the file cannot be read, or has rows that cannot be trusted.
    """
    if extra is None:
        return _shipped()
    text, ids = _kept_text(Path(extra).absolute()), {figure.id for figure in _shipped()}
    return (*_shipped(), *_checked(Path(extra), text, flops_per_sample, ids))


def find(name: str, extra: str | Path | None = None) -> Figure:
    """The figure whose id is `name`.

    Raises:
      UserError: there is none; it names the nearest ids.
    """
    by_id = {figure.id: figure for figure in load(extra)}
    if name in by_id:
        return by_id[name]
    near = difflib.get_close_matches(name, by_id, n=5, cutoff=0.5)
    models = {by_id[each].name for each in near[:1]} or {"resnet50"}
    raise UserError(
        f"{name!r} is not the id of a published figure",
        allowed="\n  ".join(["the nearest ids are", *near]) if near else "the ids that `references` lists",
        fix=f"python -m trainbench references model={models.pop()}",
    )


def read(path: Path, flops_per_sample: FlopsPerSample | None = None) -> tuple[Figure, ...]:
    """The figures of a CSV file by itself: its ids may be those of figures that are shipped.

    Raises:
      UserError: the file cannot be read, or has rows that cannot be trusted.
    """
    return _checked(path, _text_of(path), flops_per_sample)


def parse(
    text: str,
    *,
    name: str,
    flops_per_sample: FlopsPerSample | None = None,
    taken: Collection[str] = (),
    today: date | None = None,
) -> tuple[Figure, ...]:
    """The figures in a CSV text; `name` is what its errors call it, the rest as `validate.faults` takes it.

    Raises:
      FigureError: a wrong header, or every bad row with its line and what is wrong with it.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found, seen, problems = [], set(taken), []
    try:
        _check_header(reader.fieldnames or (), name)
        for row in reader:
            try:
                found.append(_figure(row, flops_per_sample, today))
            except ValueError as error:
                problems.append(f"{name} line {reader.line_num}: {error}")
            if again := _used(row.get("id"), seen, taken):
                problems.append(f"{name} line {reader.line_num}: {again}")
    except csv.Error as error:
        problems.append(f"{name} line {reader.reader.line_num}: {error}")
    if problems:
        raise FigureError(problems)
    return tuple(found)


@functools.cache
def _shipped() -> tuple[Figure, ...]:
    text = resources.files("trainbench.reference").joinpath(SHIPPED).read_text(encoding="utf-8")
    # A clock that is behind must not make the table unreadable.
    return parse(text, name=SHIPPED, today=date.max)


@functools.cache
def _kept_text(path: Path) -> str:
    """The file as it was when the process first read it: a run must not fail over it at its end."""
    return _text_of(path)


def _checked(
    path: Path, text: str, flops_per_sample: FlopsPerSample | None, taken: Collection[str] = ()
) -> tuple[Figure, ...]:
    try:
        return parse(text, name=path.name, flops_per_sample=flops_per_sample, taken=taken)
    except FigureError as error:
        raise _screen(path, error) from None


def _check_header(names: Sequence[str], file: str) -> None:
    """Nothing if the first line names the needed columns, each column once, and no unknown one."""
    if not names:
        raise FigureError([f"{file} is empty: its first line must name the columns"])
    lacking = [name for name in NEEDED if name not in names]
    unknown = [name for name in dict.fromkeys(names) if name not in NAMES]
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    problems = [f"the column {name[:60]!r} is there twice" for name in twice]
    for name in unknown:
        near = nearest(name, NAMES)
        hint = f"; did you mean {near!r}?" if near else ""
        problems.append(f"there is no column {name[:60]!r}{hint}")
    if lacking:
        problems.append(f"the columns {', '.join(lacking)} are needed too")
    if problems:
        rest = ", ".join(name for name in NAMES if name not in NEEDED)
        allowed = f"the columns {', '.join(NEEDED)}; and if you like {rest}"
        raise FigureError([f"{file} line 1: {problem}" for problem in problems], allowed)


def _used(cell: str | None, seen: set[str], taken: Collection[str]) -> str:
    """What is wrong with an id that another row has, sound or not; empty for a new one, now seen."""
    name = (cell or "").strip()
    if name in seen and name:
        return f"id: {name!r} is " + ("the id of a figure that is shipped" if name in taken else "used twice")
    seen.add(name)
    return ""


def _figure(row: Mapping[str, Any], flops_per_sample: FlopsPerSample | None, today: date | None) -> Figure:
    if None in row:
        raise ValueError("the row has more cells than the first line has columns")
    if None in row.values():
        raise ValueError("the row has fewer cells than the first line has columns")
    values = read_row(row)
    counts = values["num_chips"], values["num_devices"]
    pretraining = values["task"] == vocabulary.MASKED_LANGUAGE_MODEL
    unsaid = vocabulary.NOT_STATED if pretraining else None
    figure = Figure(
        name=values.pop("model"),
        repository=values.pop("source"),
        published_model=values.pop("published_model") or row["model"].strip(),
        value_per_chip=values.pop("value_per_chip") or per_chip(values["metric"], values["value"], *counts),
        padding=values.pop("padding") or unsaid,
        objective=values.pop("objective") or unsaid,
        **values,
    )
    if found := faults(figure, flops_per_sample, today):
        raise ValueError("; ".join(found))
    return figure


def _text_of(path: Path) -> str:
    problem = None
    try:
        content = path.read_bytes()
        if content and b"\0" not in content:
            # Spreadsheets begin UTF-8 with a byte-order mark.
            return content.decode("utf-8-sig")
        problem = "holds bytes that no text has" if content else "is empty"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8: byte {error.start} is {content[error.start]:#04x}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise UserError(
        f"{path} {problem}",
        allowed="a CSV file in UTF-8, its columns named in the first line",
        fix="python -m trainbench references --columns shows the columns",
    )


def _screen(path: Path, error: FigureError) -> UserError:
    """The first of a file's problems on one screen, and how many more there are."""
    shown, more = error.problems[:_SHOWN], len(error.problems) - _SHOWN
    lines = [f"{problem[:_LINE]}..." if len(problem) > _LINE else problem for problem in shown]
    if more > 0:
        lines.append(f"and {more} more")
    quoted = shlex.quote(str(path))
    return UserError(
        "\n".join(lines),
        allowed=error.allowed,
        fix=f"correct them until this is content: python -m trainbench references --check {quoted}",
    )
