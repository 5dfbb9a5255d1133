"""Errors that a user can act on, and the exit codes of the command line."""

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns; documented in the README."""

    OK = 0
    FAILED_CHECK = 1
    USER_ERROR = 2
    OUT_OF_MEMORY = 3
    INTERRUPTED = 130


# By the status of a run's record.
EXIT_CODES = {
    "ok": ExitCode.OK,
    "invalid": ExitCode.FAILED_CHECK,
    "failed": ExitCode.FAILED_CHECK,
    "oom": ExitCode.OUT_OF_MEMORY,
    "interrupted": ExitCode.INTERRUPTED,
}


class UserError(Exception):
    """A mistake in what the user asked for: shown as one short screen, never as a traceback.

    Args:
      problem: what is wrong, naming the value.
      allowed: what would have been accepted.
      fix: what to type instead.
    """

    def __init__(self, problem: str, *, allowed: str = "", fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.allowed = allowed
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.problem]
        if self.allowed:
            lines.append(f"allowed: {self.allowed}")
        if self.fix:
            lines.append(f"fix: {self.fix}")
        return "\n".join(lines)


class OutOfMemory(Exception):
    """The device's memory does not hold the program; a result (`status: oom`), not a mistake."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like `word`, or None when none is close.

    >>> nearest("batchsize", ["batch_size", "steps"])
    'batch_size'
    >>> nearest("qqq", ["batch_size", "steps"]) is None
    True
    """
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type where it says nothing.

    >>> first_line(ValueError("two\nlines"))
    'two'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
