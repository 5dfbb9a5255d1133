"""Which figures of a table are asked for, and in which order."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from trainbench.errors import UserError, nearest
from trainbench.reference import vocabulary
from trainbench.reference.columns import NAMES, NUMBERS
from trainbench.reference.figure import Figure

# Columns whose attribute has another name.
_ATTRIBUTES = {"model": "name", "source": "repository"}
# Free text, which a part of it finds; everything else is compared as a whole.
_TEXTS = (
    *("published_model", "model_variant", "dataset", "board", "framework", "framework_version"),
    *("derivation", "source", "source_path", "source_commit", "date", "note"),
)
BLANK = "none"
_BLANKS = (BLANK, "no")
# What a word may begin with: "=" for the very word, the others for numbers that are more or less.
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_WORD = re.compile(r"(>=|<=|>|<|=|)\s*(.*)", re.DOTALL)
_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d*)?(?:e\+?\d{1,2})?", re.IGNORECASE | re.ASCII)
# What a fix gives up last, or never: a figure for another model is no answer.
_IDENTITY = ("accelerator", "task", "model")
# Values that one line of an error message shows.
_SHOWN = 12

Filters = Mapping[str, Sequence[str]]


def chosen(figures: Iterable[Figure], filters: Filters) -> tuple[Figure, ...]:
    """The figures that fit every filter: under each column one of its words, without regard to case.

    A precision finds its whole class (fp16 and bf16 are one), a part of a text finds the text, a number finds
    the same number. "=WORD" is the very word only; ">8", ">=8", "<8" and "<=8" compare numbers.

    Raises:
      UserError: an unknown column, a word that is no number where numbers are, or no figure fits; it says
        which values there are.
    """
    table = tuple(figures)
    for key, words in filters.items():
        check_key(key)
        for word in words:
            _check_word(key, word)
    found = tuple(figure for figure in table if _fits(figure, filters))
    if not found:
        raise _nothing(table, filters)
    return found


def ordered(figures: Iterable[Figure], key: str | None = None) -> tuple[Figure, ...]:
    """By a column, numbers and dates downwards; without one, by metric, and then per chip, highest first.

    Raises:
      UserError: an unknown column.
    """
    if key is None:
        return tuple(sorted(figures, key=_by_metric))
    check_key(key)
    table = sorted(figures, key=attrgetter("id"))
    stated = [figure for figure in table if cell(figure, key)]
    downwards = key == "date" or any(isinstance(value(figure, key), int | float) for figure in stated)
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


def cell(figure: Figure, key: str) -> str:
    """What a table's cell holds of a figure; empty where nothing is stated."""
    held = value(figure, key)
    if isinstance(held, bool):
        return {"best": "A"}.get(key, "yes") if held else ""
    if isinstance(held, float):
        return f"{held:.12g}"
    return "" if held in (None, vocabulary.NOT_STATED) else str(held)


def check_key(key: str) -> None:
    """Nothing if `key` is a column.

    Raises:
      UserError: it is not.
    """
    if key not in NAMES:
        near = nearest(key, NAMES)
        raise UserError(
            f"the published figures have no column {key!r}",
            allowed=", ".join(NAMES),
            fix=f"{near}=..." if near else "python -m trainbench references --columns",
        )


def value(figure: Figure, key: str) -> Any:
    """What a figure holds under a column."""
    return getattr(figure, _ATTRIBUTES.get(key, key))


def _by(key: str) -> Callable[[Figure], Any]:
    return attrgetter(_ATTRIBUTES.get(key, key))


def _by_metric(figure: Figure) -> tuple[int, float, str]:
    return list(vocabulary.METRICS).index(figure.metric), -(figure.value_per_chip or 0), figure.id


def _fits(figure: Figure, filters: Filters) -> bool:
    return all(any(_is(figure, key, word) for word in words) for key, words in filters.items())


def _is(figure: Figure, key: str, word: str) -> bool:
    sign, bare = _split(word)
    held, asked = cell(figure, key), vocabulary.plain(bare)
    if bare.lower() in _BLANKS:
        return not held
    if key in NUMBERS:
        return bool(held) and _compares(value(figure, key), sign, float(bare))
    if key in _TEXTS:
        return held.lower() == bare.lower() if sign else bare.lower() in held.lower()
    if key == "model":
        asked = vocabulary.plain(vocabulary.MODEL_ALIASES.get(bare.lower(), bare))
    if key == "precision" and not sign and figure.precision_class:
        return asked in _class_words(figure.precision_class)
    if isinstance(value(figure, key), bool):
        return bool(held) and asked in ("yes", "true", "a")
    # "TPU v7x" finds "TPU v7x (Ironwood)".
    return asked in (vocabulary.plain(held), vocabulary.plain(held.partition(" (")[0]))


def _split(word: str) -> tuple[str, str]:
    match = _WORD.fullmatch(word)
    assert match, "the expression fits every word"
    return match.group(1), match.group(2)


def _compares(held: float, sign: str, number: float) -> bool:
    # A printed cell, which one copies from, has twelve digits.
    if math.isclose(held, number, rel_tol=1e-11):
        return sign not in ("<", ">")
    return sign in _ORDER and _ORDER[sign](held, number)


def _class_words(precision_class: str) -> set[str]:
    """A class of precisions and all that count as it, as `plain` words."""
    kinds = [kind for kind, name in vocabulary.PRECISION_CLASSES.items() if name == precision_class]
    return {vocabulary.plain(word) for word in (precision_class, *kinds)}


def _precisions(filters: Filters) -> set[str]:
    """The precisions that are asked for by their own name, not by their class's."""
    asked = {vocabulary.plain(word) for word in filters.get("precision", ())}
    return {kind for kind in vocabulary.PRECISION_CLASSES if vocabulary.plain(kind) in asked}


def _check_word(key: str, word: str) -> None:
    sign, bare = _split(word)
    if key not in NUMBERS and sign in _ORDER:
        raise UserError(
            f"{key} holds no numbers, so nothing in it is {sign} {bare}",
            allowed=f"{sign} with {', '.join(NUMBERS)}",
            fix=f"{key}={bare}",
        )
    blank = bare.lower() in _BLANKS and sign not in _ORDER
    if key in NUMBERS and not blank and not _NUMBER.fullmatch(bare):
        raise UserError(
            f"{key}={word}: {bare!r} is not a positive number",
            allowed=f"a number, with >, >=, < or <= before it if you like, or {BLANK}",
            fix=f"{key}=8, or in quotes '{key}>=8'",
        )


def _nothing(table: Sequence[Figure], filters: Filters) -> UserError:
    asked = " ".join(_written(key, words) for key, words in filters.items())
    unknown = [key for key in filters if key != "model" or not _any_fits(table, {key: filters[key]})]
    there = {key: _words_held(table, key, filters) for key in _loosest_first(unknown)}
    lines = [f"{key}: {_short(values)}" for key, values in there.items() if values]
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
    signs = {_split(word)[0] for word in words}
    if len(signs) == 1 and signs < set(_ORDER):
        return f"{key}{signs.pop()}{','.join(_split(word)[1] for word in words)}"
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
    return any(_fits(figure, filters) for figure in table)


def _without(filters: Mapping[str, list[str]], key: str) -> dict[str, list[str]]:
    return {name: words for name, words in filters.items() if name != key}


def _put_right(table: Sequence[Figure], key: str, word: str) -> str:
    """The value that a word was meant to be, if it is none of them and much like one."""
    if key in NUMBERS or _any_fits(table, {key: [word]}):
        return word
    return nearest(word, sorted({cell(figure, key) for figure in table} - {""})) or word


def _words_held(table: Sequence[Figure], key: str, filters: Filters) -> list[str]:
    """What the figures that fit all the other filters hold under `key`, the most frequent first."""
    others = {name: words for name, words in filters.items() if name != key}
    held = [cell(figure, key) or BLANK for figure in table if _fits(figure, others)]
    return sorted(set(held), key=lambda value: (-held.count(value), value))


def _short(values: Sequence[str]) -> str:
    shown = ", ".join(value[:60] for value in values[:_SHOWN])
    return f"{shown}, and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(" (<>") else word
