"""Ctrl-C that works while a long native call runs."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.2


def _nothing(alive: Callable[[], bool]) -> None:
    del alive


def interruptible(
    work: Callable[[], T], meanwhile: Callable[[Callable[[], bool]], None] = _nothing, poll_s: float = POLL_S
) -> T:
    """The result of `work`, run in a thread so that KeyboardInterrupt reaches the caller at once.

    Python delivers signals between bytecodes of the main thread, so a compilation of minutes in native code
    would hold Ctrl-C back until it ends. After an interrupt the thread is abandoned: the process has to be
    ended with `os._exit`, which the command line does.

    Args:
      meanwhile: called every `poll_s` seconds with what tells whether the work still goes on; what it raises
        leaves the work behind.
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
        thread.join(poll_s)
        meanwhile(thread.is_alive)
    if failure:
        raise failure[0]
    return outcome[0]
