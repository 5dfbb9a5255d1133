"""Which figures of a table are asked for, and in which order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from trainbench.errors import UserError, nearest
from trainbench.reference import vocabulary
from trainbench.reference.columns import NAMES
from trainbench.reference.figure import Figure

# Columns whose attribute has another name.
_ATTRIBUTES = {"model": "name", "source": "repository"}
# Free text, which a part of it finds; everything else is compared as a whole.
_TEXTS = (
    *("published_model", "model_variant", "dataset", "board", "framework", "framework_version"),
    *("derivation", "source", "source_path", "source_commit", "date", "note"),
)
BLANK = "none"
# Values that one line of an error message shows.
_SHOWN = 12

Filters = Mapping[str, Sequence[str]]


def chosen(figures: Iterable[Figure], filters: Filters) -> tuple[Figure, ...]:
    """The figures that fit every filter: under each column one of its words, without regard to case.

    Raises:
      UserError: an unknown column, or no figure fits; it says which values there are.
    """
    table = tuple(figures)
    for key in filters:
        check_key(key)
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
    held, asked = cell(figure, key), vocabulary.plain(word)
    if word.lower() in (BLANK, "no"):
        return not held
    if key == "model":
        asked = vocabulary.plain(vocabulary.MODEL_ALIASES.get(word.lower(), word))
    if key == "precision" and asked == vocabulary.plain(figure.precision_class or ""):
        return bool(asked)
    if key in _TEXTS:
        return word.lower() in held.lower()
    if isinstance(value(figure, key), bool):
        return bool(held) and asked in ("yes", "true", "a")
    # "TPU v7x" finds "TPU v7x (Ironwood)".
    return asked in (vocabulary.plain(held), vocabulary.plain(held.partition(" (")[0]))


def _nothing(table: Sequence[Figure], filters: Filters) -> UserError:
    asked = " ".join(f"{key}={','.join(words)}" for key, words in filters.items())
    there = {key: _words_held(table, key, filters) for key in filters}
    some = {key: values for key, values in there.items() if values}
    lines = [f"{key}: {_short(values)}" for key, values in some.items()]
    rest = " with the other filters" if len(filters) > 1 else ""
    fix = "python -m trainbench references"
    if some:
        key, values = next(iter(some.items()))
        near = nearest(filters[key][0], values) or values[0]
        others = {**filters, key: [near]}
        fix += "".join(f" {name}={_quoted(','.join(words))}" for name, words in others.items())
    return UserError(
        f"no published figure has {asked}",
        allowed="\n  ".join([f"values that there are{rest}", *lines]) if lines else "fewer filters",
        fix=fix,
    )


def _words_held(table: Sequence[Figure], key: str, filters: Filters) -> list[str]:
    """What the figures that fit all the other filters hold under `key`, the most frequent first."""
    others = {name: words for name, words in filters.items() if name != key}
    held = [cell(figure, key) or BLANK for figure in table if _fits(figure, others)]
    return sorted(set(held), key=lambda value: (-held.count(value), value))


def _short(values: Sequence[str]) -> str:
    shown = ", ".join(value[:60] for value in values[:_SHOWN])
    return f"{shown}, and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown


def _quoted(word: str) -> str:
    return f"'{word}'" if " " in word or "(" in word else word
