"""What a user may ask of checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainbench import checks


@dataclass(frozen=True)
class CheckpointConfig:
    """When and where the training state is saved.

    Attributes:
      every: timed optimizer steps between two saves; None: nothing is saved.
      dir: the directory of this run's checkpoints; None: chosen by what is run.
      keep: how many are kept.
      timed: whether saving counts in the timed window.
    """

    every: int | None = None
    dir: str | None = None
    keep: int = 2
    timed: bool = False


def parse(tree: Mapping[str, Any]) -> CheckpointConfig:
    """The `checkpoint` section of a composed configuration.

    Raises:
      UserError: a value is of the wrong type or unknown.
    """
    section = checks.own_section(tree, "checkpoint", CheckpointConfig)
    asked = section["dir"]
    return CheckpointConfig(
        every=checks.optional(section, "every", checks.COUNT, "checkpoint.every"),
        dir=None if asked == "default" else checks.value(section, "dir", checks.PATH, "checkpoint.dir"),
        keep=checks.value(section, "keep", checks.COUNT, "checkpoint.keep"),
        timed=checks.value(section, "timed", checks.FLAG, "checkpoint.timed"),
    )
