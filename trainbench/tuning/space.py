"""What is searched: the levers' values and the batch sizes, around the default configuration."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainbench.errors import UserError, nearest
from trainbench.levers.registry import LEVERS
from trainbench.tuning.possible import Possible

BATCH = "batch_size"
AUTO = "auto"
DEFAULT = "default"
# Of the default batch. A CPU has the memory for more, and steps that then take long.
MULTIPLES = {"cpu": (0.5, 1, 2)}
MULTIPLES_ELSEWHERE = (0.5, 1, 2, 4)

# What differs from the default configuration, by key; nothing is the default itself.
Point = tuple[tuple[str, Any], ...]


def label(point: Point) -> str:
    """The overrides of a point, as one reads them.

    >>> label((("batch_size", 8), ("remat", "dots")))
    'batch_size=8 remat=dots'
    """
    return " ".join(f"{key}={value}" for key, value in point) or DEFAULT


@dataclass(frozen=True)
class Axis:
    """One key that is varied.

    Attributes:
      values: those that can be had here, that of the default configuration first.
      refused: why others cannot, by value as text.
    """

    key: str
    values: tuple[Any, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Space:
    """All combinations of the axes' values."""

    axes: tuple[Axis, ...]

    @property
    def size(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def singles(self) -> list[Point]:
        """Every point with one difference from the default."""
        return [((axis.key, value),) for axis in self.axes for value in axis.values[1:]]

    @property
    def refused(self) -> dict[Point, str]:
        """What cannot be had here, with the reason."""
        return {((axis.key, value),): why for axis in self.axes for value, why in axis.refused.items()}

    def point(self, values: Mapping[str, Any]) -> Point:
        """The point of a value for each axis."""
        return tuple((axis.key, values[axis.key]) for axis in self.axes if values[axis.key] != axis.values[0])

    def values(self, point: Point) -> dict[str, Any]:
        """A value for each axis."""
        return {axis.key: axis.values[0] for axis in self.axes} | dict(point)


def unusual(point: Point) -> list[str]:
    """The keys of a point that change what is computed, so that published runs are not like it."""
    return [key for key, _ in point if key in LEVERS and LEVERS[key].unusual]


def effort(point: Point) -> int:
    """How far a point is from the default: its differences, those that change what is computed twice."""
    return len(point) + len(unusual(point))


def build(
    possible: Possible,
    fixed: Sequence[str],
    levers: Sequence[str] | None,
    batches: Sequence[int] | str | None,
) -> Space:
    """The space around a request.

    Args:
      fixed: keys that the request sets, which stay as they are.
      levers: the keys to vary; None: all that apply.
      batches: batch sizes, "auto" for some around the default, None for the default alone.

    Raises:
      UserError: a lever that there is not, that does not apply, or that is set; or nothing is left to vary.
    """
    wanted = [key for key in possible.choices if key not in fixed] if levers is None else list(levers)
    for key in wanted:
        _check(key, possible, fixed)
    axes = []
    for key in wanted:
        choice = possible.choices[key]
        axes.append(Axis(key, _first(choice.possible, choice.default), choice.refused))
    if batches is not None:
        axes.append(_batch_axis(possible, batches))
    axes = [axis for axis in axes if len(axis.values) > 1 or axis.refused]
    if not any(len(axis.values) > 1 for axis in axes):
        raise UserError(
            "there is nothing to vary: no lever has another value that can be had here",
            allowed=f"levers of this model: {', '.join(possible.choices)}; several batch sizes",
            fix="python -m trainbench tune batch_size=auto",
        )
    return Space(tuple(axes))


def _first(values: Sequence[Any], default: Any) -> tuple[Any, ...]:
    return (default, *(value for value in values if value != default))


def _batch_axis(possible: Possible, batches: Sequence[int] | str) -> Axis:
    if isinstance(batches, str):
        multiples = MULTIPLES.get(possible.platform, MULTIPLES_ELSEWHERE)
        batches = sorted({max(1, int(possible.batch_size * multiple)) for multiple in multiples})
    default = possible.batch_size if possible.batch_size in batches else batches[0]
    return Axis(BATCH, _first(batches, default), {})


def _check(key: str, possible: Possible, fixed: Sequence[str]) -> None:
    if key not in LEVERS:
        near = nearest(key, LEVERS)
        raise UserError(
            f"levers={key}: there is no such lever",
            allowed=", ".join(LEVERS),
            fix=f"levers={near}" if near else "leave levers out, for all that apply",
        )
    if key not in possible.choices:
        raise UserError(
            f"levers={key} does not apply to this model and optimizer",
            allowed=", ".join(possible.choices),
            fix="leave levers out, for all that apply",
        )
    if key in fixed:
        raise UserError(
            f"{key} is set, and levers={key} would vary it: which?",
            allowed=f"a value for {key}, which then stays, or levers={key}",
            fix=f"leave {key}=... out",
        )
