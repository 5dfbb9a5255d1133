"""Ctrl-C and SIGTERM as one wish to stop, however often it is said at once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# A terminal's Ctrl-C reaches a parent and its child, and the parent tells the child again.
SAME_WISH_S = 1.0


@contextmanager
def one_wish() -> Iterator[None]:
    """In here SIGTERM raises KeyboardInterrupt, as Ctrl-C does; a signal that follows at once does nothing.

    Schedulers and `timeout` end a program with SIGTERM: what was measured is saved then too. A second
    KeyboardInterrupt, while the first is being dealt with, would lose it.
    """
    last_s = -SAME_WISH_S

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        repeated = time.monotonic() - last_s < SAME_WISH_S
        last_s = time.monotonic()
        if repeated:
            return
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class Wish:
    """Whether somebody wishes that the program stops, and whether they said so again."""

    said: bool = False
    insisted: bool = False


@contextmanager
def noted() -> Iterator[Wish]:
    """In here the first wish to stop is only noted, so that what is under way can come to a good end.

    A second one, which is not the same signal said at once, raises KeyboardInterrupt.
    """
    wish, last_s = Wish(), -SAME_WISH_S

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        repeated = time.monotonic() - last_s < SAME_WISH_S
        last_s = time.monotonic()
        if repeated:
            return
        wish.insisted = wish.said
        wish.said = True
        if wish.insisted:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
