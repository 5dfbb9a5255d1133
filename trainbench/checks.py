"""Typed reading of configuration values: each kind of value once, with its words for what is allowed."""

import dataclasses
import math
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

from trainbench.errors import UserError, nearest

# The most that JAX's 32-bit integers hold; no size or count on a device exceeds it.
MOST = 2**31 - 1
# What jax.random.key takes without 64-bit integers.
MOST_SEED = 2**32 - 1


@dataclass(frozen=True)
class Kind:
    """What a value may be: in words, by example, as a test, and as Python holds it."""

    text: str
    example: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any]


def _is_integer(value: Any, least: int, most: int = MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return _is_integer(value, 1)


def _is_whole(value: Any) -> bool:
    return _is_integer(value, 0)


def _is_seed(value: Any) -> bool:
    return _is_integer(value, 0, MOST_SEED)


def _is_amount(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value < 1


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value not in ("", "???")


def _is_address(value: Any) -> bool:
    host, colon, port = str(value).rpartition(":")
    return bool(host and colon and port.isdecimal() and 0 < int(port) < 2**16)


def _are_counts(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_count, value))


def _are_amounts(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and all(map(_is_amount, value))


COUNT = Kind(f"a positive integer, at most {MOST:,}", "32", _is_count, int)
WHOLE = Kind(f"an integer of at least 0, at most {MOST:,}", "0", _is_whole, int)
SEED = Kind(f"an integer of at least 0, at most {MOST_SEED:,}", "1", _is_seed, int)
AMOUNT = Kind("a number of at least 0", "0.1", _is_amount, float)
POSITIVE = Kind("a number above 0", "20", _is_positive, float)
SHARE = Kind("a number of at least 0 and below 1", "0.9", _is_share, float)
FLAG = Kind("true or false", "true", _is_flag, bool)
TEXT = Kind("a text", "some_text", _is_text, str)
PATH = Kind("a path", "PATH", _is_text, str)
ADDRESS = Kind("HOST:PORT", "10.0.0.1:12345", _is_address, str)
DATA_SET = Kind("the name of a data set", "imagenet2012", _is_text, str)
COUNTS = Kind("a list of positive integers", "[2,2]", _are_counts, tuple)
AMOUNTS = Kind("a list of numbers of at least 0", "[0.5,0.5,0.5]", _are_amounts, tuple)

# The kind of a dataclass field, unless it is named with one of its own.
BY_TYPE: dict[Any, Kind] = {
    int: COUNT,
    float: AMOUNT,
    bool: FLAG,
    str: TEXT,
    tuple[int, ...]: COUNTS,
    tuple[float, ...]: AMOUNTS,
}


def section(tree: Mapping[str, Any], key: str, label: str = "") -> Mapping[str, Any]:
    """The mapping under `key`.

    Raises:
      UserError: it is missing, or something else than a mapping.
    """
    label = label or key
    present(tree, [key], label.rpartition(".")[0])
    if not isinstance(tree[key], Mapping):
        raise UserError(
            f"{label}={shown(tree[key])} is not a group of keys",
            allowed=f"{label}.KEY=VALUE",
            fix=f"leave {label} out",
        )
    return typing.cast(Mapping[str, Any], tree[key])


def present(tree: Mapping[str, Any], keys: Collection[str], label: str = "") -> None:
    """Nothing if all `keys` are in `tree`.

    Raises:
      UserError: one is missing, which only `~KEY` on the command line can do.
    """
    for key in keys:
        if key not in tree:
            name = f"{label}.{key}" if label else key
            raise UserError(
                f"{name} is missing", allowed="every key that is shipped", fix=f"leave ~{name} out"
            )


def known(tree: Mapping[str, Any], keys: Collection[str], label: str = "") -> None:
    """Nothing if `tree` holds no other than these keys.

    Raises:
      UserError: it does; the nearest known key is the fix.
    """
    prefix = f"{label}." if label else ""
    for key in tree:
        if key not in keys:
            near = nearest(str(key), keys)
            raise UserError(
                f"{prefix}{key} is not a known key",
                allowed=", ".join(prefix + name for name in keys),
                fix=f"did you mean {prefix}{near}?" if near else f"leave {prefix}{key} out",
            )


def value(tree: Mapping[str, Any], key: str, kind: Kind, label: str = "") -> Any:
    """The value under `key`, which is of this kind."""
    found, label = tree[key], label or key
    if not kind.accepts(found):
        said, _, limit = kind.text.partition(", at most")
        large = limit and isinstance(found, int) and found > MOST
        raise UserError(
            f"{label}={shown(found)} is {'too large' if large else f'not {said}'}",
            allowed=kind.text,
            fix=f"for example {label}={_example(found, kind)}",
        )
    return kind.convert(found)


def _example(found: Any, kind: Kind) -> str:
    """What was meant, where it is a whole number that YAML reads as a float (1e3), else the kind's own."""
    meant = isinstance(found, float) and found.is_integer() and kind.accepts(int(found))
    return str(int(found)) if meant else kind.example


def value_or_default(
    tree: Mapping[str, Any], key: str, kind: Kind, words: Collection[str] = ("default",)
) -> Any:
    """The value under `key`, or None for "default" and null.

    Args:
      words: what else may be typed, for the message; "default" is among them.
    """
    if tree[key] in (None, "default"):
        return None
    either = dataclasses.replace(kind, text=f"{kind.text}, or {' or '.join(words)}")
    return value(tree, key, either if not kind.accepts(tree[key]) else kind)


def optional(tree: Mapping[str, Any], key: str, kind: Kind, label: str = "") -> Any:
    """The value under `key`, which is of this kind, or None for null."""
    return None if tree[key] is None else value(tree, key, kind, label)


def own_section(tree: Mapping[str, Any], key: str, config_class: Any) -> Mapping[str, Any]:
    """The mapping under `key`, which has just the fields of a dataclass.

    Raises:
      UserError: it has another key, or lacks one.
    """
    found, names = section(tree, key), [one.name for one in dataclasses.fields(config_class)]
    known(found, names, key)
    present(found, names, key)
    return found


def choice(found: Any, label: str, choices: Collection[str]) -> str:
    """The value, which is one of `choices`."""
    if found not in choices:
        near = nearest(str(found), choices)
        raise UserError(
            f"{label}={shown(found)} is not known",
            allowed=", ".join(choices),
            fix=f"{label}={near or next(iter(choices))}",
        )
    return str(found)


def fields(
    config_class: Any,
    tree: Mapping[str, Any],
    label: str,
    *,
    kinds: Mapping[str, Kind],
    keys: Collection[str] = (),
) -> dict[str, Any]:
    """The arguments of a dataclass, each of the kind that `kinds` names or else its field's type has.

    Args:
      keys: the fields that must be there and beside which there is none; left out, the dataclass tells: all
        its fields are known, and those without a default must be there.
    """
    types = typing.get_type_hints(config_class)
    defaults = {
        field.name for field in dataclasses.fields(config_class) if field.default is not dataclasses.MISSING
    }
    known(tree, keys or list(types), label)
    present(tree, keys or [name for name in types if name not in defaults], label)
    found: dict[str, Any] = {}
    for name in tree:
        plain, is_optional = _without_none(types[name])
        if is_optional and tree[name] is None:
            found[name] = None
        else:
            found[name] = value(tree, name, kinds.get(name) or BY_TYPE[plain], f"{label}.{name}")
    return found


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """(the type without None, whether None was in it)."""
    options = typing.get_args(annotation)
    if NoneType not in options:
        return annotation, False
    (plain,) = (option for option in options if option is not NoneType)
    return plain, True


def shown(found: Any) -> str:
    """A value as one types it on the command line."""
    if found is None:
        return "null"
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, list | tuple):
        return f"[{','.join(map(shown, found))}]"
    return str(found)
