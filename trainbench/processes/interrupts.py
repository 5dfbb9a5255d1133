"""Ctrl-C and SIGTERM as one wish to stop, however often it is said at once."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

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


class Wish(Protocol):
    """Whether somebody wishes that the program stops, and whether they said so again."""

    @property
    def said(self) -> bool: ...

    @property
    def insisted(self) -> bool: ...

    def grant(self) -> None:
        """None; what is under way comes to a good end now, and then the program stops."""


@dataclass
class _Noted:
    said: bool = False
    insisted: bool = False

    def grant(self) -> None:
        return


@contextmanager
def noted() -> Iterator[Wish]:
    """In here the first wish to stop is only noted, so that what is under way can come to a good end.

    A second one, which is not the same signal said at once, raises KeyboardInterrupt.
    """
    wish, last_s = _Noted(), -SAME_WISH_S

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
