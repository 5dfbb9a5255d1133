"""A sweep: each point of Hydra's multirun in a process of its own, and nothing done twice.

Beside each point's result lies `point.json`, which says what ran and how it ended. The same sweep in the same
folder skips the points that are done; the table at its end is made from the folder, whichever process ran
them.
"""

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from trainbench import __version__
from trainbench.errors import ExitCode, UserError
from trainbench.processes import child
from trainbench.processes.child import Outcome
from trainbench.processes.sweep_plan import LOCK_FILE, Sweep, note
from trainbench.report.numbers import duration
from trainbench.report.sweep import Row, best_line, sweep_table
from trainbench.results import store

POINT_FILE = "point.json"
# Out of memory is an answer, which comes out the same another time.
_DONE = ("ok", "oom")
# What decides which devices of a machine a process has.
_DEVICE_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "TPU_VISIBLE_CHIPS",
    "TPU_VISIBLE_DEVICES",
)


@dataclass(frozen=True)
class PointNote:
    """What `point.json` says; `code` and `seconds` are None until the point has ended."""

    overrides: tuple[str, ...]
    label: str
    versions: Mapping[str, str]
    code: int | None = None
    seconds: float | None = None
    note: str = ""


@contextmanager
def alone(sweep: Sweep) -> Iterator[None]:
    """The sweep has its folder to itself in here, and what it is stands in it.

    Raises:
      UserError: another sweep is writing into it, or it cannot be written to.
    """
    store.check_writable(sweep.directory)
    lock = FileLock(sweep.directory / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another sweep is writing into {sweep.directory}",
            allowed="one sweep at a time in a folder; on one machine they'd also spoil each other's times",
            fix="wait until it ends, or choose another folder: hydra.sweep.dir=DIR",
        ) from None
    with lock:
        note(sweep, finished=False)
        yield


def announce(sweep: Sweep) -> None:
    """Say where the sweep goes, and what is there already."""
    if sweep.points is None:
        print(f"a sweep into {sweep.directory}", file=sys.stderr)
        return
    there = sum(done(sweep, point) is not None for point in sweep.points)
    words = f"{len(sweep.points)} points into {sweep.directory}"
    if there:
        words += f": {there} are there already"
        words += ", which are not run again (choose another hydra.sweep.dir for that)"
    elif sweep.goes_on:
        words += ": goes on where it was interrupted"
    print(words, file=sys.stderr)


def run_point(sweep: Sweep, overrides: Sequence[str], arguments: Sequence[str] = ()) -> int:
    """The exit code of the point with these overrides, which is run unless it is done.

    Args:
      arguments: for its process beside the overrides.
    """
    before = done(sweep, overrides)
    if before is not None:
        return before.code
    directory, label = sweep.home(overrides), sweep.label(overrides)
    print(f"{_position(sweep, overrides)}{label}{_time_left(sweep)}", file=sys.stderr, flush=True)
    begun = PointNote(tuple(overrides), label, versions())
    started_s = time.monotonic()
    try:
        store.check_writable(directory)
        _write(begun, directory)
        outcome = child.run([*overrides, *arguments], directory, lock=_machine_lock(sweep))
        seconds = time.monotonic() - started_s
        ended = PointNote(begun.overrides, label, begun.versions, outcome.code, seconds, outcome.note)
        _write(ended, directory)
    except UserError as error:
        # A folder that cannot be written to any more fails this point, not the others.
        print(error, file=sys.stderr)
        return ExitCode.USER_ERROR
    return outcome.code


def _machine_lock(sweep: Sweep) -> Path:
    """Points on the same devices of one machine run one after the other, whoever launches them."""
    devices = "-".join(filter(None, (os.environ.get(name) for name in _DEVICE_VARIABLES)))
    where = "".join(letter if letter.isalnum() else "-" for letter in f"{platform.node()}{devices}")
    return sweep.directory.absolute() / f".measuring-{where[:100]}.lock"


def versions() -> dict[str, str]:
    """What a point has to have run with for it not to be run again."""
    return {name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")} | {
        "trainbench": __version__
    }


def _position(sweep: Sweep, overrides: Sequence[str]) -> str:
    if sweep.points is None or not sweep.here:
        return ""
    return f"[{sweep.points.index(tuple(overrides)) + 1}/{len(sweep.points)}] "


def _time_left(sweep: Sweep) -> str:
    """An estimate from the points that have run: their mean for each of those that are left."""
    if sweep.points is None or not sweep.here:
        return ""
    notes = [_read(sweep.home(point)) for point in sweep.points]
    took = [one.seconds for one in notes if one is not None and one.seconds is not None and one.code == 0]
    left = sum(done(sweep, point) is None for point in sweep.points)
    return f" · about {duration(left * sum(took) / len(took))} left" if took else ""


def done(sweep: Sweep, overrides: Sequence[str]) -> Outcome | None:
    """How this point ended, if its result stands: from these overrides, with these versions."""
    outcome, known = _ended(sweep.home(overrides))
    same = known is not None and known.overrides == tuple(overrides) and known.versions == versions()
    settled = outcome is not None and outcome.result is not None and outcome.result.status in _DONE
    return outcome if same and settled else None


def ended(sweep: Sweep, overrides: Sequence[str]) -> Outcome:
    """How this point ended; code 1 and no result where it never came to its end."""
    outcome, _ = _ended(sweep.home(overrides))
    return outcome or Outcome(ExitCode.FAILED_CHECK, None, "it never came to its end")


def _ended(directory: Path) -> tuple[Outcome | None, PointNote | None]:
    known = _read(directory)
    if known is None or known.code is None:
        return None, known
    try:
        return Outcome(known.code, store.read(directory / store.RESULT_FILE), known.note), known
    except UserError:
        return Outcome(known.code, None, known.note), known


def _write(point: PointNote, directory: Path) -> None:
    store.write_whole(directory / POINT_FILE, (json.dumps(asdict(point), indent=2) + "\n").encode())


def _read(directory: Path) -> PointNote | None:
    """What `point.json` says; None where there is none, or a damaged one."""
    try:
        content = json.loads((directory / POINT_FILE).read_text(encoding="utf-8"))
        return PointNote(**content | {"overrides": tuple(content["overrides"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def outcomes(sweep: Sweep) -> list[tuple[str, Outcome]]:
    """Label and outcome of each point that has ended, in the order of the sweep."""
    if sweep.points is not None:
        homes = [sweep.home(point) for point in sweep.points]
    else:
        homes = sorted((file.parent for file in sweep.directory.glob(f"*/{POINT_FILE}")), key=_begun)
    found = [_ended(home) for home in dict.fromkeys(homes)]
    return [(known.label, outcome) for outcome, known in found if outcome and known]


def _begun(home: Path) -> float:
    return (home / POINT_FILE).stat().st_mtime


def summary(sweep: Sweep) -> str:
    """The table of the points that have ended, how many have not, and the best one."""
    there = outcomes(sweep)
    rows = [Row(label, outcome.result, outcome.note) for label, outcome in there]
    complete = sum(not outcome.interrupted for _, outcome in there)
    count = len(set(sweep.points)) if sweep.points is not None else complete
    lines = [sweep_table(rows)] if rows else []
    if complete < count:
        lines.append(f"{count - complete} of {count} points have not been run to their end")
        lines.append("the same command goes on with them")
    else:
        lines.append(f"as a page with plots: python -m trainbench report {shlex.quote(str(sweep.directory))}")
        lines += [best_line(rows)] if best_line(rows) else []
    return "\n".join(lines)


def exit_code(sweep: Sweep) -> ExitCode:
    """Out of memory is a row of the table, not a failure of the sweep; everything else that went wrong is."""
    there = outcomes(sweep)
    if sweep.points is not None and len(there) < len(set(sweep.points)):
        return ExitCode.FAILED_CHECK
    wrong = {outcome.code for _, outcome in there} - {ExitCode.OK, ExitCode.OUT_OF_MEMORY}
    if ExitCode.INTERRUPTED in wrong:
        return ExitCode.INTERRUPTED
    if wrong == {ExitCode.USER_ERROR} and all(outcome.result is None for _, outcome in there):
        return ExitCode.USER_ERROR
    return ExitCode.FAILED_CHECK if wrong else ExitCode.OK
