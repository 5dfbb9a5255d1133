"""What a user may ask of checkpoints."""

from dataclasses import dataclass


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
