"""A sweep: each point of Hydra's multirun in a process of its own.

One point's out-of-memory, crash or leak cannot touch another's numbers, and the allocator's peak, which a
process cannot reset, belongs to one point. This parent never starts a JAX backend.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.report.sweep import sweep_table
from trainbench.results import store
from trainbench.results.record import Result


@dataclass(frozen=True)
class Point:
    """One point of a sweep: its overrides, how its process ended, and its record if it left one."""

    label: str
    code: int
    result: Result | None
    note: str


def run_point(overrides: list[str], varied: list[str], directory: Path) -> Point:
    """Run `python -m trainbench` with `overrides` into `directory`; its progress stays visible on stderr.

    Args:
      varied: the overrides that tell this point from the others, for its label.
    """
    command = [sys.executable, "-m", "trainbench", *overrides, f"hydra.run.dir={_quoted(directory)}"]
    label = " ".join(varied) or "the only point"
    print(label, file=sys.stderr, flush=True)
    directory.mkdir(parents=True, exist_ok=True)
    store.set_aside(directory)
    with (directory / "output.txt").open("w") as output:
        code = _wait(subprocess.Popen(command, stdout=output, stderr=None))
    return Point(label, code, *_record(directory, code))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; on Ctrl-C, which the child gets too, the child is given the time to save its result.

    A child that was still importing then dies of the signal itself; for the sweep that is the same.
    """
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
        else:
            return ExitCode.INTERRUPTED if interrupted or code == -signal.SIGINT else code


def _record(directory: Path, code: int) -> tuple[Result | None, str]:
    try:
        return store.read(directory / store.RESULT_FILE), ""
    except UserError:
        if code == ExitCode.USER_ERROR:
            return None, "not run: see the message above"
        return None, f"the process ended with code {code} and left no result"


def _quoted(path: Path) -> str:
    """The path as a quoted Hydra override value, in which commas and spaces mean nothing."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def was_interrupted(points: list[Point]) -> bool:
    """Whether the user stopped the last point, and with it the sweep."""
    return bool(points) and points[-1].code == ExitCode.INTERRUPTED


def table(points: list[Point]) -> str:
    """The table of all points."""
    return sweep_table([(point.label, point.result, point.note) for point in points])


def exit_code(points: list[Point]) -> ExitCode:
    """Out of memory is a row of the table, not a failure of the sweep; everything else that went wrong is."""
    codes = {point.code for point in points} - {ExitCode.OK, ExitCode.OUT_OF_MEMORY}
    if ExitCode.INTERRUPTED in codes:
        return ExitCode.INTERRUPTED
    if codes == {ExitCode.USER_ERROR} and all(point.result is None for point in points):
        return ExitCode.USER_ERROR
    return ExitCode.FAILED_CHECK if codes else ExitCode.OK
