"""What a filter's word means: which figures it fits, column by column."""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainbench.errors import UserError, nearest
from trainbench.reference import vocabulary
from trainbench.reference.columns import NAMES, NUMBERS
from trainbench.reference.figure import Figure

# Columns whose attribute has another name.
_ATTRIBUTES = {"model": "name", "source": "repository"}
# What follows from a figure's columns and is asked for like one.
DERIVED = ("runnable",)
# Free text, which a part of it finds; everything else is compared as a whole.
TEXTS = (
    *("published_model", "model_variant", "dataset", "board", "framework", "framework_version"),
    *("derivation", "source", "source_path", "source_commit", "date", "note"),
)
BLANK = "none"
_BLANKS = (BLANK, "no")
# What a word may begin with: "=" for the very word, the others for numbers that are more or less.
ORDER: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_WORD = re.compile(r"(>=|<=|>|<|=|)\s*(.*)", re.DOTALL)
_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d*)?(?:e\+?\d{1,2})?", re.IGNORECASE | re.ASCII)

Filters = Mapping[str, Sequence[str]]


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
    if key not in (*NAMES, *DERIVED):
        near = nearest(key, (*NAMES, *DERIVED))
        raise UserError(
            f"the published figures have no column {key!r}",
            allowed=", ".join((*NAMES, *DERIVED)),
            fix=f"{near}=..." if near else "python -m trainbench references --columns",
        )


def value(figure: Figure, key: str) -> Any:
    """What a figure holds under a column."""
    return getattr(figure, attribute(key))


def attribute(key: str) -> str:
    """The name that a column has in `Figure`."""
    return _ATTRIBUTES.get(key, key)


def fits(figure: Figure, filters: Filters) -> bool:
    """Whether a figure fits every filter: under each column one of its words."""
    return all(any(_is(figure, key, word) for word in words) for key, words in filters.items())


def _is(figure: Figure, key: str, word: str) -> bool:
    sign, bare = split(word)
    if key == "source" and not sign:
        bare = vocabulary.SOURCE_ALIASES.get(bare.lower(), bare)
    held, asked = cell(figure, key), vocabulary.plain(bare)
    if bare.lower() in _BLANKS:
        return not held
    if key in NUMBERS:
        return bool(held) and _compares(value(figure, key), sign, float(bare))
    if key in TEXTS:
        return held.lower() == bare.lower() if sign else bare.lower() in held.lower()
    if key == "model":
        asked = vocabulary.plain(vocabulary.MODEL_ALIASES.get(bare.lower(), bare))
    if key == "precision" and not sign and figure.precision_class:
        return asked in _class_words(figure.precision_class)
    if isinstance(value(figure, key), bool):
        return bool(held) and asked in ("yes", "true", "a")
    # "TPU v7x" finds "TPU v7x (Ironwood)".
    return asked in (vocabulary.plain(held), vocabulary.plain(held.partition(" (")[0]))


def split(word: str) -> tuple[str, str]:
    """(the sign that a word begins with, the rest)."""
    match = _WORD.fullmatch(word)
    assert match, "the expression fits every word"
    return match.group(1), match.group(2)


def _compares(held: float, sign: str, number: float) -> bool:
    # A printed cell, which one copies from, has twelve digits.
    if math.isclose(held, number, rel_tol=1e-11):
        return sign not in ("<", ">")
    return sign in ORDER and ORDER[sign](held, number)


def _class_words(precision_class: str) -> set[str]:
    """A class of precisions and all that count as it, as `plain` words."""
    kinds = [kind for kind, name in vocabulary.PRECISION_CLASSES.items() if name == precision_class]
    return {vocabulary.plain(word) for word in (precision_class, *kinds)}


def check_word(key: str, word: str) -> None:
    """Nothing if `word` can be asked for under the column `key`.

    Raises:
      UserError: numbers where there are none, or no number where there are.
    """
    sign, bare = split(word)
    if key not in NUMBERS and sign in ORDER:
        raise UserError(
            f"{key} holds no numbers, so nothing in it is {sign} {bare}",
            allowed=f"{sign} with {', '.join(NUMBERS)}",
            fix=f"{key}={bare}",
        )
    blank = bare.lower() in _BLANKS and sign not in ORDER
    if key in NUMBERS and not blank and not _NUMBER.fullmatch(bare):
        raise UserError(
            f"{key}{sign if sign in ORDER else f'={sign}'}{bare}: {bare!r} is not a positive number",
            allowed=f"a number, with >, >=, < or <= before it if you like, or {BLANK}",
            fix=f"{key}=8, or in quotes '{key}>=8'",
        )
