"""Published figures as text for a terminal or a pipe: a table of many, or one in full."""

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from trainbench.reference import vocabulary
from trainbench.reference.columns import COLUMNS, NEEDED
from trainbench.reference.figure import Figure, spaced
from trainbench.reference.words import cell

_WIDTH = 110
# Of an accelerator's label; the longest that is whole is "RTX 6000 Ada 48GB".
_LABEL = 18
MARKS = {
    "r": "reproduce=ID runs it again",
    "A": "the best reference for its model and accelerator",
    "d": "derived: a division of published numbers",
    "l": "the middle of numbers in logs",
    "s": "synthetic data",
    "e": "evaluation or the like is inside the time",
    "p": "rows are shorter than the length says (removed, packed or binned padding)",
    "q": "whether rows are padded is not stated",
    "n": "no whole number of chips is stated, so it is compared with nothing",
}


def table(figures: Sequence[Figure], total: int) -> list[str]:
    """Lines for many figures, which keep their order: a heading for each run of equal workload and metric.

    Args:
      total: how many figures were looked through.
    """
    label = max([len("accelerator"), *(len(_label(figure)) for figure in figures)])
    columns = f"{'value':>9} {'precision':<9} {'accelerator':<{label}} chips batch marks id, source"
    lines = [columns, ""]
    for heading, group in itertools.groupby(figures, key=_heading):
        lines += [heading, *_rows(list(group), label), ""]
    return [*lines, *closing(figures, total)]


def closing(figures: Sequence[Figure], total: int) -> list[str]:
    """What the table's numbers and marks mean."""
    used = {mark for figure in figures for mark in marks(figure)}
    signs = "; ".join(f"{mark}: {text}" for mark, text in MARKS.items() if mark in used)
    text = (
        f"{len(figures)} of {total} figures. Rates are divided by the chips: a TPU v3-8 has 4. The batch is "
        f"what a chip takes at once. {signs}{'. ' if signs else ''}One in full: references id=ID."
    )
    return wrapped(text)


def wrapped(text: str) -> list[str]:
    """A text in lines of the table's width; none for an empty one."""
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def marks(figure: Figure) -> str:
    """The signs of `MARKS` that hold for a figure."""
    signs = {
        "r": figure.runnable,
        "A": figure.best,
        "d": figure.derivation.startswith("derived"),
        "l": figure.derivation.startswith("aggregated"),
        "s": figure.data == "synthetic",
        "e": figure.includes_evaluation,
        "p": figure.padding in vocabulary.SHORTENED,
        "q": figure.padding == vocabulary.NOT_STATED,
        "n": figure.num_chips is None,
    }
    return "".join(mark for mark, holds in signs.items() if holds)


def explanation(figure: Figure) -> list[str]:
    """Everything about one figure: conditions, derivation, what is not stated, whether it can be run here."""
    missing = figure.missing()
    answer = f"no: {'; '.join(missing)}" if missing else f"yes: python -m trainbench reproduce={figure.id}"
    unstated = ", ".join(spaced(column.name) for column in COLUMNS if _is_unstated(figure, column.name))
    facts = [
        *((spaced(name), cell(figure, name)) for name in _SHOWN_IN_FULL if cell(figure, name)),
        ("derivation", _derivation(figure)),
        ("source", figure.source),
        ("date", figure.date or "not stated"),
        ("note", figure.note),
        ("not stated", unstated),
        ("can be run here", answer),
    ]
    return [figure.id, *itertools.chain(*(_fact(name, text) for name, text in facts if text))]


def schema() -> list[str]:
    """The columns of a table of figures, and how to add a row."""
    lines = ["Columns of a table of figures (CSV, UTF-8, named in the first line; blank: not stated)", ""]
    for column in COLUMNS:
        star = "*" if column.name in NEEDED else " "
        words = f" ({', '.join(column.words)})" if column.words else ""
        first, *rest = textwrap.wrap(column.text + words, _WIDTH - 26)
        lines += [f"{star} {column.name:<23} {first}", *(f"{'':<26}{line}" for line in rest)]
    return [
        *lines,
        "",
        "* needed in a table of your own, which reference.extra=FILE and references --extra FILE take.",
        "To add a figure to those that are shipped, append its line to the table and run",
        "  python -m trainbench references --check trainbench/reference/published.csv",
    ]


_SHOWN_IN_FULL = (
    *("model", "published_model", "model_variant", "task", "dataset", "data", "accelerator", "board", "chip"),
    *("num_chips", "num_devices", "precision", "per_device_batch", "global_batch", "gradient_accumulation"),
    *("sequence_length", "image_size", "optimizer", "objective", "padding", "includes_evaluation"),
    *("framework", "framework_version", "metric", "value", "value_per_chip"),
)
# What a reader would want to know of every figure.
_WANTED = (
    "num_chips",
    "precision",
    "per_device_batch",
    "global_batch",
    "optimizer",
    "data",
    "framework",
    "date",
)


def _is_unstated(figure: Figure, name: str) -> bool:
    text_only = name == "sequence_length" and "image" not in figure.task
    image_only = name == "image_size" and "image" in figure.task
    relevant = name in _WANTED or text_only or image_only
    pretraining = figure.task == vocabulary.MASKED_LANGUAGE_MODEL and name in ("padding", "objective")
    return (relevant or pretraining) and not cell(figure, name)


def _derivation(figure: Figure) -> str:
    kind, _, how = figure.derivation.partition(": ")
    return {
        "published": "the number as printed in the source",
        "aggregated": f"taken from numbers printed in logs: {how}",
        "derived": f"divided from published numbers: {how}; the inputs are in the note",
    }[kind]


def _fact(name: str, text: str) -> Iterator[str]:
    for index, line in enumerate(textwrap.wrap(text, _WIDTH - 26, break_on_hyphens=False)):
        yield f"  {'' if index else name:<23} {line}"


def _heading(figure: Figure) -> str:
    size = f"{figure.image_size} pixels" if figure.image_size else ""
    size = f"{figure.sequence_length} tokens" if figure.sequence_length else size
    rate = vocabulary.METRICS[figure.metric] in (vocabulary.TOTAL, vocabulary.DEVICE)
    parts = (figure.name, spaced(figure.task), size, f"{figure.unit} per chip" if rate else figure.unit)
    return " · ".join(part for part in parts if part)


def _rows(figures: Sequence[Figure], label: int) -> Iterator[str]:
    width = max(len(figure.id) for figure in figures)
    for figure in figures:
        value = figure.value if figure.value_per_chip is None else figure.value_per_chip
        precision = (figure.precision or "-").replace(" or ", "/")
        counts = f"{figure.num_chips or '-':>5} {_batch(figure):>5}"
        conditions = f"{precision:<9} {_label(figure):<{label}} {counts} {marks(figure):<5}"
        start = f"{_number(value):>9} {conditions} {figure.id:<{width}} "
        yield (start + _within(_place(figure), _WIDTH - len(start))).rstrip()


def _label(figure: Figure) -> str:
    label = figure.short_label
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"


def _batch(figure: Figure) -> str:
    return "-" if figure.micro_batch_per_chip is None else f"{figure.micro_batch_per_chip:.4g}"


def _number(value: float) -> str:
    """Four digits at least, and as many as the whole part has: the table prints what was published."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _place(figure: Figure) -> str:
    """The repository, or the host of an address."""
    name = figure.repository.removeprefix("https://").removeprefix("http://").removeprefix("github.com/")
    return (
        name.partition("/")[0] if "://" in figure.repository and "github" not in figure.repository else name
    )


def _within(place: str, room: int) -> str:
    """The repository, without its owner where there is no room for both, or nothing."""
    return next((name for name in (place, place.rpartition("/")[2]) if len(name) <= room), "")


def rows_as_cells(figures: Iterable[Figure]) -> Iterator[list[str]]:
    """A CSV file's rows, the header not among them."""
    for figure in figures:
        yield [cell(figure, column.name) for column in COLUMNS]
