"""Which figures of a table are asked for, and in which order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from trainbench.errors import UserError, nearest
from trainbench.reference import vocabulary
from trainbench.reference.columns import NUMBERS
from trainbench.reference.figure import Figure
from trainbench.reference.words import (
    BLANK,
    DERIVED,
    ORDER,
    TEXTS,
    Filters,
    attribute,
    cell,
    check_key,
    check_word,
    fits,
    split,
    value,
)

# What a fix gives up last, or never: a figure for another model is no answer.
_IDENTITY = ("accelerator", "task", "model")
# Values that one line of an error message shows.
_SHOWN = 12


def chosen(figures: Iterable[Figure], filters: Filters) -> tuple[Figure, ...]:
    """The figures that fit every filter: under each column one of its words, without regard to case.

    A precision finds its whole class (fp16 and bf16 are one), a part of a text finds the text, a number finds
    the same number. "=WORD" is the very word only; ">8", ">=8", "<8" and "<=8" compare numbers. A word
    that is no value finds the values that hold it: "TPU" every TPU.

    Raises:
      UserError: an unknown column, a word that is no number where numbers are, or no figure fits; it says
        which values there are.
    """
    table = tuple(figures)
    for key, words in filters.items():
        check_key(key)
        for word in words:
            check_word(key, word)
    found = _fitting(table, filters)
    if not found:
        raise _nothing(table, filters)
    return found


def ordered(figures: Iterable[Figure], key: str | None = None) -> tuple[Figure, ...]:
    """By a column, numbers and dates downwards, as is all by "-COLUMN"; without one, by unit, then per chip.

    Raises:
      UserError: an unknown column.
    """
    if key is None:
        return tuple(sorted(figures, key=_by_unit))
    key, down = key.removeprefix("-"), key.startswith("-")
    check_key(key)
    table = sorted(figures, key=attrgetter("id"))
    stated = [figure for figure in table if cell(figure, key)]
    downwards = down or key == "date" or any(isinstance(value(figure, key), int | float) for figure in stated)
    stated.sort(key=_by(key), reverse=downwards)
    return (*stated, *(figure for figure in table if not cell(figure, key)))


def exact_first(figures: Iterable[Figure], filters: Filters) -> tuple[Figure, ...]:
    """The figures in their order, the very precisions that are asked for before the rest of their class."""
    kinds = _precisions(filters)
    return tuple(sorted(figures, key=lambda figure: bool(kinds) and figure.precision not in kinds))


def widened(figures: Iterable[Figure], filters: Filters) -> str:
    """One sentence on the figures in a precision that only counts as one that is asked for; empty if none."""
    kinds, held = _precisions(filters), {figure.precision for figure in figures}
    classes = {vocabulary.PRECISION_CLASSES[kind] for kind in kinds}
    others = [
        kind
        for kind, name in vocabulary.PRECISION_CLASSES.items()
        if name in classes and kind in held - kinds
    ]
    if not others:
        return ""
    asked, listed = ",".join(sorted(kinds)), " and ".join(others)
    only = f"precision=={asked} lists no other kind" if kinds & held else f"none here is {asked} exactly"
    return (
        f"precision={asked}: {listed} {'counts' if len(others) == 1 else 'count'} as the same class; {only}."
    )


def _by(key: str) -> Callable[[Figure], Any]:
    return attrgetter(attribute(key))


def _by_unit(figure: Figure) -> tuple[int, float, str]:
    unit = next(index for index, metric in enumerate(vocabulary.METRICS) if metric.startswith(figure.unit))
    return unit, -(figure.value_per_chip or 0), figure.id


def _fitting(table: Sequence[Figure], filters: Filters) -> tuple[Figure, ...]:
    meant = {
        key: [value for word in words for value in _values(table, key, word)]
        for key, words in filters.items()
    }
    return tuple(figure for figure in table if fits(figure, meant))


def _values(table: Sequence[Figure], key: str, word: str) -> list[str]:
    """The word, or where nothing fits it, "=VALUE" for each value of the column that holds it."""
    part = vocabulary.plain(word)
    whole = split(word)[0] or key in (*NUMBERS, *TEXTS) or not part
    if whole or any(fits(figure, {key: [word]}) for figure in table):
        return [word]
    held = sorted({cell(figure, key) for figure in table})
    return [f"={value}" for value in held if part in vocabulary.plain(value)] or [word]


def broadened(figures: Iterable[Figure], filters: Filters) -> str:
    """One sentence for each word that is not a value itself: what it was taken for; empty if there is none.

    Args:
      figures: the whole table, of which `chosen` took some.
    """
    table = tuple(figures)
    sentences = []
    for key, word in [(key, word) for key, words in filters.items() for word in words]:
        aliases = {"model": vocabulary.MODEL_ALIASES, "source": vocabulary.SOURCE_ALIASES}.get(key, {})
        found = [value.removeprefix("=") for value in _values(table, key, word)]
        if word.lower() in aliases:
            every = f"; {_every(key)}" if key == "model" else ""
            sentences.append(f"{key}={word} stands for {aliases[word.lower()]}{every}.")
        elif found != [word.removeprefix("=")]:
            sentences.append(f"No {key} is {word}; taken are those that hold it: {_short(found, key)}.")
    return " ".join(sentences)


def counts(figures: Iterable[Figure], filters: Filters, key: str) -> dict[str, int]:
    """Each value of a column, the most frequent first, and how many that fit the other filters hold it."""
    others = {name: words for name, words in filters.items() if name != key}
    blank = "no" if key in DERIVED else BLANK
    held = [cell(figure, key) or blank for figure in _fitting(tuple(figures), others)]
    return {each: held.count(each) for each in sorted(set(held), key=lambda each: (-held.count(each), each))}


def _precisions(filters: Filters) -> set[str]:
    """The precisions that are asked for by their own name, not by their class's."""
    asked = {vocabulary.plain(word) for word in filters.get("precision", ())}
    return {kind for kind in vocabulary.PRECISION_CLASSES if vocabulary.plain(kind) in asked}


def _nothing(table: Sequence[Figure], filters: Filters) -> UserError:
    asked = " ".join(_written(key, words) for key, words in filters.items())
    unknown = [key for key in filters if key != "model" or not _any_fits(table, {key: filters[key]})]
    there = {key: list(counts(table, filters, key)) for key in _loosest_first(unknown)}
    lines = [f"{key}: {_short(values, key)}" for key, values in there.items() if values]
    rest = " with the other filters" if len(filters) > 1 else ""
    kept = [_written(key, words) for key, words in _relaxed(table, filters).items()]
    fix = " ".join(["python -m trainbench references", *map(_quoted, kept)])
    return UserError(
        f"no published figure has {asked}",
        allowed="\n  ".join([f"values that there are{rest}", *lines]) if lines else "fewer filters",
        fix=fix,
    )


def _written(key: str, words: Sequence[str]) -> str:
    """A filter as it is typed."""
    signs = {split(word)[0] for word in words}
    if len(signs) == 1 and signs < set(ORDER):
        return f"{key}{signs.pop()}{','.join(split(word)[1] for word in words)}"
    return f"{key}={','.join(words)}"


def _loosest_first(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: _IDENTITY.index(key) if key in _IDENTITY else -1)


def _relaxed(table: Sequence[Figure], filters: Filters) -> Filters:
    """Filters that a figure fits: misspelt words put right, then as few left out as can be, no model."""
    kept = {}
    for key, words in filters.items():
        right = [_put_right(table, key, word.removeprefix("=")) for word in words]
        if _any_fits(table, {key: right}):
            kept[key] = right
    while not _any_fits(table, kept):
        loose = [key for key in _loosest_first(kept) if key != "model"]
        enough = [key for key in loose if _any_fits(table, _without(kept, key))]
        kept = _without(kept, (enough or loose)[0])
    return kept


def _any_fits(table: Sequence[Figure], filters: Filters) -> bool:
    return bool(_fitting(table, filters))


def _without(filters: Mapping[str, list[str]], key: str) -> dict[str, list[str]]:
    return {name: words for name, words in filters.items() if name != key}


def _put_right(table: Sequence[Figure], key: str, word: str) -> str:
    """The value that a word was meant to be, if it is none of them and much like one."""
    if key in NUMBERS or _any_fits(table, {key: [word]}):
        return word
    return nearest(word, sorted({cell(figure, key) for figure in table} - {""})) or word


def _short(values: Sequence[str], key: str) -> str:
    shown = ", ".join(value[:60] for value in values[:_SHOWN])
    return f"{shown}, and {len(values) - _SHOWN} more ({_every(key)})" if len(values) > _SHOWN else shown


def _every(key: str) -> str:
    return f"references '{key}=?' lists all"


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(" (<>") else word
