"""What a section of the report is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import altair


class Cell(NamedTuple):
    """A table's cell: what is read, and the number to sort by where that is not the text itself."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns of text, or of numbers that stand to the right.

    Attributes:
      titles: of the columns.
      numeric: the titles of those that hold numbers.
      sortable: whether the reader may sort and filter it.
    """

    caption: str
    titles: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[str] = frozenset()
    sortable: bool = False


@dataclass(frozen=True)
class Plot:
    """A chart with its words.

    Attributes:
      name: of its image files; unique in the report.
      caption: what is shown, in which units, and what was left out.
      lines: the same figures as text, one line each.
      wide: whether it takes the whole width of the page.
    """

    name: str
    title: str
    caption: str
    lines: tuple[str, ...]
    chart: "altair.LayerChart"
    wide: bool = True


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then key numbers, plots, tables and a list; any of them may be missing.

    Attributes:
      numbers: (number, what it is of).
    """

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    numbers: tuple[tuple[str, str], ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
