"""What a lever is.

A lever changes how a training step is computed, not what is learned: its values agree in the loss to within a
stated error. Each is a configuration key, has a default with a reason, and is looked for in the compiled
program, since a compiler, a library or a shape may quietly undo it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainbench import checks
from trainbench.auto import Auto
from trainbench.compiled import hlo
from trainbench.measure.errors import MeasurementError
from trainbench.training.parallel import Axes

if TYPE_CHECKING:
    from trainbench.config import Request
    from trainbench.training.state import TrainState


class NotProven(MeasurementError):
    """The compiled program does not have what a lever says of it."""


@dataclass(frozen=True)
class Situation:
    """What a lever may depend on, besides its own value.

    Attributes:
      platform: "cpu", "gpu" or "tpu".
      compute_capability: of an NVIDIA GPU.
    """

    request: "Request"
    platform: str
    compute_capability: float | None = None
    axes: Axes = field(default_factory=Axes)


@dataclass(frozen=True)
class Program:
    """The compiled step of one device, for proofs.

    Attributes:
      text: as XLA writes it.
      state: the training state, abstract.
      without_flags: compiles the step again without the flags of `compiler_flags`, and returns its text; None
        where it cannot be compiled.
    """

    text: str = field(repr=False)
    state: "TrainState" = field(repr=False)
    situation: Situation
    without_flags: Callable[[], str] | None = None

    @functools.cached_property
    def module(self) -> hlo.Module:
        return hlo.parse(self.text)


def anything(value: Any, situation: Situation) -> None:
    """Every value can be had everywhere."""
    del value, situation


@dataclass(frozen=True)
class Lever:
    """One configuration key and what belongs to it.

    Attributes:
      key: its name, also as a field of `Levers`, or of `Request` where `of_request`.
      summary: what is chosen, in a few words.
      plain: the value that does nothing special, which needs no proof.
      values: what may be asked for; of a number, what is worth trying.
      applies: whether the requested model and optimizer have what the lever changes.
      default: the value where none is asked for.
      prove: what shows in the compiled program that `value`, not the plain one, took place.
      check: refuses with UserError what cannot be had in a situation.
      number: any whole number above 0 may be asked for.
      of_request: the request holds the value itself, without a default to resolve.
      unusual: a rate with another value than the plain one is not like for like with published rates, as
        something else is computed.
    """

    key: str
    summary: str
    plain: Any
    values: tuple[Any, ...]
    applies: Callable[["Request"], bool]
    default: Callable[[Situation], Auto]
    prove: Callable[[Any, Program], str]
    check: Callable[[Any, Situation], None] = anything
    number: bool = False
    of_request: bool = False
    unusual: bool = False

    @property
    def kind(self) -> checks.Kind:
        """What may be typed for it, besides "default"."""
        if self.number:
            return checks.COUNT
        return checks.Kind(self.words, str(self.values[-1]), self.values.__contains__, str)

    @property
    def words(self) -> str:
        """The same for a list of keys."""
        return "N" if self.number else " | ".join(map(str, self.values))
