"""Ctrl-C that works while a long native call runs."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.2


def interruptible(work: Callable[[], T]) -> T:
    """The result of `work`, run in a thread so that KeyboardInterrupt reaches the caller at once.

    Python delivers signals between bytecodes of the main thread, so a compilation of minutes in native code
    would hold Ctrl-C back until it ends. After an interrupt the thread is abandoned: the process has to be
    ended with `os._exit`, which the command line does.
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
    if failure:
        raise failure[0]
    return outcome[0]
