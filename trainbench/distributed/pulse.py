"""How far this process is, as others may see it while it trains."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Watched(Protocol):
    """A program that lets itself be watched."""

    calls: int  # issued so far
    in_flight: deque["Pending"] | None  # results of calls that may not have finished


class Pending(Protocol):
    """A result that the device may still be computing."""

    def is_ready(self) -> bool: ...


@dataclass(frozen=True)
class Beat:
    """How far one process is; `number` goes up with each time it says so.

    Attributes:
      training: whether it takes part in steps, in which all processes wait for each other.
      issued: device calls issued, over the whole run.
      finished: of these, the finished ones.
    """

    number: int
    phase: str
    training: bool
    issued: int
    finished: int

    @property
    def progress(self) -> tuple[object, ...]:
        return self.phase, self.training, self.issued, self.finished


@dataclass
class Pulse:
    """What this process is at; `beat` may be called from any thread.

    Attributes:
      wishes: how often the user, or a scheduler, has asked this process to stop.
    """

    phase: str = "starting"
    wishes: int = 0
    _program: Watched | None = None
    _before: int = 0  # calls of the programs before this one
    _number: int = field(default=0)

    @property
    def training(self) -> bool:
        """Whether this process takes part in steps now."""
        return self._program is not None

    @contextmanager
    def of(self, program: Watched) -> Iterator[None]:
        """In here this process trains with `program`, whose calls are watched."""
        start = program.calls
        self._before -= start
        self._program = program
        try:
            yield
        finally:
            self._before += program.calls
            self._program = None

    def beat(self) -> Beat:
        """How far it is now."""
        self._number += 1
        program, before = self._program, self._before
        if program is None:
            return Beat(self._number, self.phase, False, before, before)
        pending = program.in_flight
        if pending is None:
            pending = deque()
        while pending and pending[0].is_ready():
            # A fence empties it too, at any time.
            try:
                pending.popleft()
            except IndexError:
                break
        issued = before + program.calls
        return Beat(self._number, self.phase, True, issued, issued - len(pending))
