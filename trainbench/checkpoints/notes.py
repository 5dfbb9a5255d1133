"""What is saved beside the training state: how far the measurement and the input are."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from trainbench.autos import Auto
from trainbench.measure.pauses import Measured
from trainbench.measure.plan import Plan


@dataclass(frozen=True)
class Save:
    """What one save took; all times in seconds.

    Attributes:
      save_s: from its start until it was on the disk.
      blocking_s: of these, the training waited.
      beside_s: of each block that ran from its start to its end beside the save.
    """

    save_s: float
    blocking_s: float
    beside_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Notes:
    """A measurement that is not finished.

    Attributes:
      step: optimizer steps that the state has behind it.
      conditions: what the speed depends on beside the configuration: devices, machine, versions.
      chosen: what the plan decided by itself.
      blocks_of: which part of the journal measured each timed block, shape (timed blocks,).
      losses: (optimizer steps done, loss) at each fence.
      inputs: from where each process's input goes on, in base64; None: it keeps no state.
      saves: what those before this one took.
    """

    step: int
    global_batch_size: int
    conditions: Mapping[str, str]
    plan: Plan
    chosen: Mapping[str, Auto]
    measured: Measured
    blocks_of: tuple[int, ...]
    losses: tuple[tuple[int, float], ...]
    inputs: tuple[str | None, ...]
    saves: tuple[Save, ...]

    def input_of(self, process: int, processes: int) -> bytes | None:
        """From where the input of a process goes on; None where that cannot be told."""
        if len(self.inputs) != processes:
            return None
        words = self.inputs[process]
        return None if words is None else base64.b64decode(words)


_FORM = TypeAdapter(Notes)


def as_plain(notes: Notes) -> dict[str, Any]:
    """As dictionaries, lists, numbers and text; a loss may be NaN."""
    plain: dict[str, Any] = _FORM.dump_python(notes)
    return plain


def from_plain(plain: Mapping[str, Any]) -> Notes:
    """The notes again.

    Raises:
      ValueError: they are none.
    """
    return _FORM.validate_python(plain)


def in_words(state: bytes | None) -> str | None:
    """A state of the input as text."""
    return None if state is None else base64.b64encode(state).decode()
