"""Work that other processes can hold up for ever, in a thread that can be left behind."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import jax

from trainbench.distributed.members import Said
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.watchdog import Told
from trainbench.interruptible import interruptible

T = TypeVar("T")

POLL_S = 0.1


class Watch(Protocol):
    """What tells whether a run gets on."""

    def check(self) -> Said | None:
        """How the run has ended; None: it goes on."""

    def lost_now(self) -> Said | None:
        """Who is gone, where an error looks as if one were; None: nobody."""


def supervised(work: Callable[[], T], watchdog: Watch, pulse: Pulse) -> T:
    """The result of `work`, as long as all processes of the run get on.

    A wish to stop is granted by `work` itself between two blocks, with all other processes; only where they
    do not wait for each other, or when it is said again, is the work left behind. The process has to be ended
    with `os._exit` then, which the command line does.

    Raises:
      Told: another process ended the run, or is lost.
      KeyboardInterrupt: this process was asked to stop.
    """

    def look(alive: Callable[[], bool]) -> None:
        found = watchdog.check()
        if found is not None and alive():
            raise Told(found)
        waiting = pulse.training or pulse.granted
        if alive() and (pulse.wishes > 1 or (pulse.wishes and not waiting)):
            raise KeyboardInterrupt

    try:
        return interruptible(work, look, POLL_S)
    except jax.errors.JaxRuntimeError:
        # Where the runtime fails, the loss of another process is often behind it.
        lost = watchdog.lost_now()
        if lost is None:
            raise
        raise Told(lost) from None
