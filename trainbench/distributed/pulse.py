"""How far this process is, as others may see it while it trains."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


class Watched(Protocol):
    """A program that lets itself be watched."""

    @property
    def steps(self) -> int:
        """Optimizer steps issued so far."""

    def steps_in_flight(self) -> int:
        """Of these, those that have not finished; from any thread."""


class Phase(Protocol):
    """Something that knows what is going on."""

    @property
    def text(self) -> str: ...


@dataclass(frozen=True)
class Beat:
    """How far one process is; `number` goes up with each time it says so.

    Attributes:
      training: whether it takes part in steps, in which all processes wait for each other.
      issued: optimizer steps issued, over the whole run.
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
      phase: says in words what it is doing.
      wishes: how often the user, or a scheduler, has asked this process to stop.
      granted: whether all processes have agreed to stop.
    """

    phase: Phase | None = None
    wishes: int = 0
    granted: bool = False
    _program: Watched | None = None
    _before: int = 0  # steps of the programs before this one
    _number: int = field(default=0)

    @property
    def training(self) -> bool:
        """Whether this process takes part in steps now."""
        return self._program is not None

    @property
    def said(self) -> bool:
        """Whether this process was asked to stop."""
        return self.wishes > 0

    @property
    def insisted(self) -> bool:
        """Whether it was asked again."""
        return self.wishes > 1

    def wish(self) -> None:
        """None; this process was asked to stop, once more."""
        self.wishes += 1

    def grant(self) -> None:
        """None; all processes have agreed to stop."""
        self.granted = True

    @contextmanager
    def of(self, program: Watched) -> Iterator[None]:
        """In here this process trains with `program`, whose steps are watched."""
        self._before -= program.steps
        self._program = program
        try:
            yield
        finally:
            self._before += program.steps
            self._program = None

    def beat(self) -> Beat:
        """How far it is now."""
        self._number += 1
        phase = self.phase.text if self.phase else "starting"
        program, before = self._program, self._before
        if program is None:
            return Beat(self._number, phase, False, before, before)
        issued = before + program.steps
        return Beat(self._number, phase, True, issued, issued - program.steps_in_flight())
