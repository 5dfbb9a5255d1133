"""What may happen between timed blocks, and how a measurement goes on after it was broken off."""

from collections.abc import Callable
from dataclasses import dataclass, field

from trainbench.measure.steady import Steadiness


@dataclass(frozen=True)
class Agreed:
    """What the processes of a run make of a block that they ran together: its time, and whether to stop."""

    block_s: float
    stop: bool = False


# From this process's own time of a block; all processes must come to the same.
Agree = Callable[[float], Agreed]


def _unknown() -> Steadiness:
    return Steadiness(steady=False, reason="nothing was measured")


@dataclass(frozen=True)
class Measured:
    """The timed blocks so far; a later measurement of the same plan may go on from them.

    `warmup` is the verdict on the warm-up before them. `first_issue_s` is as long as `block_s`.
    """

    block_s: tuple[float, ...] = ()
    first_issue_s: tuple[float, ...] = ()
    warmup: Steadiness = field(default_factory=_unknown)


# Called after each timed block, outside the clock, with what is measured and a function that runs one more
# block, which is in no result, and returns its seconds.
Between = Callable[[Measured, Callable[[], float]], None]


def nothing(measured: Measured, run_block: Callable[[], float]) -> None:
    """None; the pause between two blocks that nothing happens in."""
    del measured, run_block
