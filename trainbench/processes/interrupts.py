"""Ctrl-C and SIGTERM as one wish to stop, however often it is said at once."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# A terminal's Ctrl-C reaches a parent and its child, and the parent tells the child again.
SAME_WISH_S = 1.0


def _raise() -> None:
    raise KeyboardInterrupt


@contextmanager
def one_wish(grant: Callable[[], None] = _raise) -> Iterator[None]:
    """In here SIGTERM raises KeyboardInterrupt, as Ctrl-C does; a signal that follows at once does nothing.

    Schedulers and `timeout` end a program with SIGTERM: what was measured is saved then too. A second
    KeyboardInterrupt, while the first is being dealt with, would lose it.

    Args:
      grant: what to do in place of raising KeyboardInterrupt.
    """
    last_s = -SAME_WISH_S

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        repeated = time.monotonic() - last_s < SAME_WISH_S
        last_s = time.monotonic()
        if repeated:
            return
        grant()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
