"""The processes of one run, as they talk to each other outside of anything that is timed."""

from dataclasses import dataclass
from typing import Protocol


class ProcessLost(Exception):
    """A process of the run is gone, or gets no further; the text names it, and what it was at."""


class Team(Protocol):
    """All processes of a run. Every process has to make the same calls in the same order."""

    @property
    def index(self) -> int:
        """Which one this is; 0 writes the result."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each is called in messages, in order of their indices."""

    def exchange(self, words: str) -> tuple[str, ...]:
        """What each process says here, in order of their indices.

        Raises:
          ProcessLost: one of them does not answer in time; it is named.
        """


@dataclass(frozen=True)
class Alone:
    """A run of one process."""

    index: int = 0
    names: tuple[str, ...] = ("this process",)

    def exchange(self, words: str) -> tuple[str, ...]:
        return (words,)


def any_of(team: Team, wish: bool) -> bool:
    """Whether any process wishes so."""
    return "1" in team.exchange("1" if wish else "0")


def largest_of(team: Team, value: float) -> float:
    """The largest value that a process has."""
    return max(map(float.fromhex, team.exchange(value.hex())))
