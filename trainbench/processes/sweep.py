"""A sweep: each point of Hydra's multirun in a process of its own, and nothing done twice.

Beside each point's result lies `point.json`, which says what ran and how it ended. The same sweep in the same
folder skips the points that are done; the table at its end is made from the folder, whichever process ran
them.
"""

import functools
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trainbench.errors import EXIT_CODES, ExitCode, UserError
from trainbench.hardware import machine
from trainbench.processes import child, sweep_scaling
from trainbench.processes.alone import alone as alone_in
from trainbench.processes.child import Outcome
from trainbench.processes.sweep_plan import LOCK_FILE, PLAN_FILE, Sweep, note
from trainbench.report.numbers import duration
from trainbench.report.scaling import Scaling
from trainbench.report.sweep import Row, best_lines, sweep_table, told
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
# Slurm may number the GPUs of each job from 0; here they have the numbers of the node (srun(1)).
_SLURM_DEVICE_VARIABLES = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


@dataclass(frozen=True)
class PointNote:
    """What `point.json` says; `code` and `seconds` are None until the point has ended."""

    overrides: tuple[str, ...]
    label: str
    surroundings: Mapping[str, str | None]
    code: int | None = None
    seconds: float | None = None
    note: str = ""


_POINT_NOTE = TypeAdapter(PointNote)


@contextmanager
def alone(sweep: Sweep) -> Iterator[None]:
    """The sweep has its folder to itself in here, and what it is stands in it.

    Raises:
      UserError: another sweep is writing into it, or it cannot be written to.
    """
    with alone_in(sweep.directory, LOCK_FILE, what="another sweep", option="hydra.sweep.dir=DIR"):
        note(sweep, finished=False)
        yield


def announce(sweep: Sweep) -> None:
    """Say where the sweep goes, and what is there already."""
    if sweep.points is None:
        print(f"a sweep into {sweep.directory}", file=sys.stderr)
        return
    if not sweep.here:
        # Whether a result stands depends on the machine, and the points' is another one.
        print(f"{_points(len(sweep.points))} into {sweep.directory}", file=sys.stderr)
        return
    there = sum(done(sweep, point) is not None for point in sweep.points)
    words = f"{_points(len(sweep.points))} into {sweep.directory}"
    if there:
        words += f": {there} already there and not run again (for that, choose another hydra.sweep.dir)"
    elif sweep.goes_on:
        words += ": goes on where it was interrupted"
    print(words, file=sys.stderr)


def _points(count: int) -> str:
    return "1 point" if count == 1 else f"{count} points"


def run_point(sweep: Sweep, overrides: Sequence[str], arguments: Sequence[str] = ()) -> Outcome:
    """How the point with these overrides ended, which is run unless it is done.

    Args:
      arguments: for its process beside the overrides.
    """
    before = done(sweep, overrides)
    if before is not None:
        return before
    directory, label = sweep.home(overrides), sweep.label(overrides)
    progress = f"{_position(sweep, overrides)}{label}{_time_left(sweep)}{_why_again(sweep, overrides)}"
    print(progress, file=sys.stderr, flush=True)
    begun = PointNote(tuple(overrides), label, surroundings(sweep))
    started_s = time.monotonic()
    try:
        store.check_writable(directory)
        _write(begun, directory)
        outcome = child.run([*overrides, *arguments], directory, lock=_machine_lock(sweep))
        seconds = time.monotonic() - started_s
        _write(replace(begun, code=outcome.code, seconds=seconds, note=outcome.note), directory)
    except UserError as error:
        # A folder that cannot be written to any more fails this point, not the others.
        print(error, file=sys.stderr)
        return Outcome(ExitCode.USER_ERROR, None, "its result cannot be written")
    print(
        f"    {told(Row(label, outcome.result, outcome.note))} ({duration(seconds)})",
        file=sys.stderr,
        flush=True,
    )
    return outcome


def _machine_lock(sweep: Sweep) -> Path:
    """Points on the same devices of one machine run one after the other, whoever launches them."""
    names = (*_DEVICE_VARIABLES, *_SLURM_DEVICE_VARIABLES)
    devices = "-".join(filter(None, (os.environ.get(name) for name in names)))
    where = "".join(letter if letter.isalnum() else "-" for letter in f"{platform.node()}{devices}")
    return sweep.directory.absolute() / f".measuring-{where[:100]}.lock"


def surroundings(sweep: Sweep) -> dict[str, str | None]:
    """What a point has to have run with for it not to be run again, besides its overrides.

    The contents of data sets are not among it.
    """
    host = machine.host()
    visible = [os.environ[name] for name in _DEVICE_VARIABLES if name in os.environ]
    return software() | {
        "processor": f"{host.cpu}, {host.cores} cores",
        "GPUs": machine.nvidia_gpus(),
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS"),
        # How many there are, as any of a machine's devices is as good as another.
        "visible devices": ", ".join(str(len(names.split(","))) for names in visible) or None,
        "configurations of your own": sweep.configurations,
    }


@functools.cache
def software() -> dict[str, str | None]:
    """Versions and compiler flags, which stay the same while this process runs."""
    return machine.software()


def _position(sweep: Sweep, overrides: Sequence[str]) -> str:
    if sweep.points is None or not sweep.here:
        return ""
    return f"[{sweep.points.index(tuple(overrides)) + 1}/{len(sweep.points)}] "


def _time_left(sweep: Sweep) -> str:
    """An estimate from the points that have run: their mean for each of those that are left."""
    if sweep.points is None or not sweep.here:
        return ""
    notes = [read_note(sweep.home(point)) for point in sweep.points]
    took = [one.seconds for one in notes if one is not None and one.seconds is not None and one.code == 0]
    left = sum(done(sweep, point) is None for point in sweep.points)
    return f" · about {duration(left * sum(took) / len(took))} left" if took else ""


def _why_again(sweep: Sweep, overrides: Sequence[str]) -> str:
    outcome, known = _ended(sweep.home(overrides))
    if not _settled(outcome) or known is None:
        return ""
    return f" · again, with other {', '.join(_changed(known, sweep, overrides))}"


def done(sweep: Sweep, overrides: Sequence[str]) -> Outcome | None:
    """How this point ended, if its result stands: from these overrides, in these surroundings."""
    outcome, known = _ended(sweep.home(overrides))
    stands = _settled(outcome) and known is not None and not _changed(known, sweep, overrides)
    return outcome if stands else None


def _settled(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.result is not None and outcome.result.status in _DONE


def _changed(known: PointNote, sweep: Sweep, overrides: Sequence[str]) -> list[str]:
    """What is different by now from when the point was run, by name."""
    now = surroundings(sweep)
    names = [name for name in now if known.surroundings.get(name) != now[name]]
    return names if known.overrides == tuple(overrides) else ["overrides", *names]


def _ended(directory: Path) -> tuple[Outcome | None, PointNote | None]:
    known = read_note(directory)
    if known is None or known.code is None:
        return None, known
    try:
        result = store.read(directory / store.RESULT_FILE)
    except UserError:
        return Outcome(known.code, None, known.note), known
    # Not the process's code: it may have been told to stop when its result was there already.
    return Outcome(EXIT_CODES[result.status], result, known.note), known


def _write(point: PointNote, directory: Path) -> None:
    store.write_whole(directory / POINT_FILE, (json.dumps(asdict(point), indent=2) + "\n").encode())


def read_note(directory: Path) -> PointNote | None:
    """What `point.json` says; None where there is none, or a damaged one."""
    try:
        return _POINT_NOTE.validate_json((directory / POINT_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def abandon(sweep: Sweep) -> None:
    """Remove what a sweep has made whose points turned out not to be possible; never a result."""
    for name in (PLAN_FILE, LOCK_FILE, "multirun.yaml"):
        (sweep.directory / name).unlink(missing_ok=True)
    store.remove_empty(sweep.directory)


def outcomes(sweep: Sweep) -> list[tuple[str, Outcome]]:
    """Label and outcome of each point that has ended, in the order of the sweep."""
    if sweep.points is not None:
        found = [_ended_here(sweep, point) for point in dict.fromkeys(sweep.points)]
    else:
        homes = sorted((file.parent for file in sweep.directory.glob(f"*/{POINT_FILE}")), key=_begun)
        found = [_ended(home) for home in homes]
    return [(known.label, outcome) for outcome, known in found if outcome and known]


def _ended_here(sweep: Sweep, overrides: Sequence[str]) -> tuple[Outcome | None, PointNote | None]:
    """As `_ended`; nothing where what is there is of an earlier sweep with other settings."""
    outcome, known = _ended(sweep.home(overrides))
    if (
        known is None
        or known.overrides != tuple(overrides)
        or (sweep.here and _changed(known, sweep, overrides))
    ):
        return None, None
    return outcome, known


def _begun(home: Path) -> float:
    return (home / POINT_FILE).stat().st_mtime


def unfinished(sweep: Sweep) -> int:
    """How many points never came to their end; 0 where the sweeper decides as it goes."""
    if sweep.points is None:
        return 0
    return len(set(sweep.points)) - sum(not outcome.interrupted for _, outcome in outcomes(sweep))


def summary(sweep: Sweep) -> str:
    """The table of the points that have ended, how many have not, and the best one."""
    rows = [Row(label, outcome.result, outcome.note) for label, outcome in outcomes(sweep)]
    lines = [sweep_table(rows)] if rows else []
    lines += sweep_scaling.lines(_scaled(sweep))
    left = unfinished(sweep)
    if sweep.points is not None and left:
        lines.append(f"{left} of {len(set(sweep.points))} points have not been run to their end")
        lines.append("the same command goes on with them")
    else:
        lines.append(f"as a page with plots: python -m trainbench report {shlex.quote(str(sweep.directory))}")
        lines += best_lines(rows)
    return "\n".join(lines)


def plot(sweep: Sweep) -> str | None:
    """Draw the scaling of a sweep over numbers of devices; a line on that, None where nothing scales."""
    return sweep_scaling.draw(_scaled(sweep), sweep.directory)


def _scaled(sweep: Sweep) -> tuple[Scaling, ...]:
    return sweep_scaling.of([(label, outcome.result) for label, outcome in outcomes(sweep)], sweep.directory)


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
