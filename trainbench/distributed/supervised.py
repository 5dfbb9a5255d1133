"""Work that other processes can hold up for ever, in a thread that can be left behind."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import jax

from trainbench.distributed.members import Said
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.watchdog import Told

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
    outcome: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, name="work", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        found = watchdog.check()
        if found is not None and thread.is_alive():
            raise Told(found)
        waiting = pulse.training or pulse.granted
        if thread.is_alive() and (pulse.wishes > 1 or (pulse.wishes and not waiting)):
            raise KeyboardInterrupt
    if failure:
        raise _cause(failure[0], watchdog)
    return outcome[0]


def _cause(error: BaseException, watchdog: Watch) -> BaseException:
    """What is behind an error of the work: where the runtime fails, often the loss of another process."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        found = watchdog.lost_now()
        if found is not None:
            return Told(found)
    return error
