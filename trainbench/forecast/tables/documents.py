"""Tables in documents: each stands between two comments, and is rewritten by the script that makes it."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from trainbench.errors import UserError
from trainbench.results import store

NOTHING_YET = "No forecast has been made for this table yet."


def table(titles: Sequence[str], rows: Iterable[Iterable[str]], numbers: Collection[str]) -> str:
    """A Markdown table; a sentence in its place where it has no rows.

    Args:
      numbers: the titles whose columns stand to the right.
    """
    body = [_line(row) for row in rows]
    head = [_line(titles), _line("--:" if title in numbers else "---" for title in titles)]
    return "\n".join([*head, *body]) if body else NOTHING_YET


def comments(name: str) -> tuple[str, str]:
    """What stands before and after the table of this name."""
    return f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"


def replaced(text: str, name: str, table: str) -> str:
    """The text with the table in its place.

    Raises:
      ValueError: it has no such place, or several.
    """
    before, after = comments(name)
    if text.count(before) != 1 or text.count(after) != 1 or text.index(before) > text.index(after):
        raise ValueError(f"there must be one place for the table: {before} and, below it, {after}")
    start, end = text.index(before) + len(before), text.index(after)
    return f"{text[:start]}\n{table.strip()}\n{text[end:]}"


def check(file: Path, name: str) -> None:
    """None; UserError where the document has no place for the table."""
    _replaced(file, name, NOTHING_YET)


def write(file: Path, name: str, table: str) -> None:
    """None, after the document has the table.

    Raises:
      UserError: it has no place for it.
    """
    store.write_whole(file, _replaced(file, name, table).encode())


def differs(file: Path, name: str, table: str) -> bool:
    """Whether the document has another table in that place.

    Raises:
      UserError: it has no place for it.
    """
    return _replaced(file, name, table) != file.read_text(encoding="utf-8")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _replaced(file: Path, name: str, table: str) -> str:
    try:
        return replaced(file.read_text(encoding="utf-8"), name, table)
    except (OSError, ValueError) as error:
        raise UserError(f"{file.name}: {error}", fix=f"put {' and '.join(comments(name))} into it") from None
