"""How a run with checkpoints starts: anew, or from the newest one of an unfinished run like it.

Process 0 looks at the directory, decides and says so; the others do as it says.
"""

import dataclasses
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbench.checkpoints import files, identity, journal
from trainbench.checkpoints.journal import Journal, Part
from trainbench.distributed.team import Team
from trainbench.errors import UserError
from trainbench.processes.alone import alone

LOCK = ".lock"


@dataclass(frozen=True)
class Wanted:
    """A run that is about to start.

    Attributes:
      settings: what it must share with a run that it goes on from.
      arrays: "dtype[shape]" of each array of its state, by path.
    """

    directory: Path
    model: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, str]


@dataclass(frozen=True)
class Start:
    """What was decided.

    Attributes:
      step: the checkpoint to go on from; None: the run starts anew.
      words: what the user should know of it.
    """

    step: int | None = None
    words: tuple[str, ...] = ()


def decide(wanted: Wanted, team: Team, at_the_end: ExitStack) -> Start:
    """From where the run starts; its directory is there then, and this run's alone.

    Args:
      at_the_end: gives the directory free.

    Raises:
      UserError: the directory can't be used, or what it holds is damaged or another run's.
    """
    said = {}
    if team.index == 0:
        try:
            said = dataclasses.asdict(_look(wanted, at_the_end))
        except UserError as error:
            said = {"problem": error.problem, "allowed": error.allowed, "fix": error.fix}
    told = json.loads(team.exchange(json.dumps(said))[0])
    if "problem" in told:
        raise UserError(told.pop("problem"), **told)
    _check_shared(wanted.directory, team)
    return Start(told["step"], tuple(told["words"]))


def _check_shared(directory: Path, team: Team) -> None:
    """Nothing if every process sees the directory that process 0 made.

    Raises:
      UserError: one does not; it is named.
    """
    seen = team.exchange(str(directory) if (directory / LOCK).exists() else "")
    for name, what in zip(team.names, seen, strict=True):
        if what != seen[0]:
            raise UserError(
                f"{name} does not see the checkpoints in {seen[0]}",
                allowed="one directory, on a file system that all processes share",
                fix="checkpoint.dir=DIRECTORY, as an absolute path",
            )


def _look(wanted: Wanted, at_the_end: ExitStack) -> Start:
    directory = wanted.directory
    _take(directory, at_the_end)
    found, steps = journal.read(directory), files.steps_in(directory)
    if found is None:
        return Start()
    if not steps and not _is_same(found, wanted):
        # Of a run that came to no checkpoint nothing can be lost.
        (directory / journal.FILE).unlink()
        return Start()
    _check_same(found, wanted)
    if found.finished:
        aside = _set_aside(directory)
        _take(directory, at_the_end)
        return Start(None, (f"the checkpoints of the finished run before this one are now in {aside}",))
    if not steps:
        return Start()
    files.forget_gone(directory)
    check_whole(directory, steps)
    return Start(steps[-1], _how_it_goes_on(directory, found, steps[-1]))


def _take(directory: Path, at_the_end: ExitStack) -> None:
    """Make the directory, and keep other runs out of it."""
    try:
        at_the_end.enter_context(
            alone(directory, LOCK, what="another run", option="checkpoint.dir=DIRECTORY")
        )
    except UserError as error:
        raise UserError(
            error.problem.replace("cannot write results to", "checkpoints cannot be written to"),
            allowed="a directory that can be written to, with room for the checkpoints, one run at a time",
            fix="checkpoint.dir=DIRECTORY",
        ) from None


def _is_same(found: Journal, wanted: Wanted) -> bool:
    return found.arrays == wanted.arrays and not identity.different_settings(found.settings, wanted.settings)


def _check_same(found: Journal, wanted: Wanted) -> None:
    """Nothing if the checkpoints are of the same run.

    Raises:
      UserError: they are not; it says in what they differ.
    """
    fix = f"checkpoint.dir=DIRECTORY, or move the old ones away: mv {wanted.directory} {wanted.directory}.old"
    arrays = identity.different_arrays(found.arrays, wanted.arrays)
    settings = identity.different_settings(found.settings, wanted.settings)
    if arrays:
        raise UserError(
            f"{wanted.directory} holds checkpoints of another model ({found.model}, not {wanted.model}): "
            f"{identity.first_few(arrays)}",
            allowed="checkpoints whose arrays have the same names, shapes and dtypes",
            fix=fix,
        )
    if settings:
        raise UserError(
            f"{wanted.directory} holds checkpoints of other settings: {identity.first_few(settings)}",
            allowed="the settings that the run was started with",
            fix=fix,
        )


def _set_aside(directory: Path) -> Path:
    """Where the directory is now, under a name that was free."""
    number = 1
    while (aside := directory.with_name(f"{directory.name}.finished-{number}")).exists():
        number += 1
    directory.rename(aside)
    return aside


def check_whole(directory: Path, steps: tuple[int, ...]) -> None:
    """Nothing if the newest checkpoint has all its files.

    Raises:
      UserError: as `damaged` says.
    """
    found = files.damage(directory, steps[-1])
    if found:
        raise damaged(directory, steps, found)


def damaged(directory: Path, steps: tuple[int, ...], why: str) -> UserError:
    """What to tell of a newest checkpoint that can't be read, `why` beginning with the name of its file."""
    newest, *earlier = reversed(steps)
    whole = next((step for step in earlier if files.damage(directory, step) is None), None)
    then = f"goes on from optimizer step {whole}" if whole is not None else "starts anew"
    return UserError(
        f"the newest checkpoint in {directory} is damaged: {why}",
        allowed=f"the earlier checkpoint {directory / str(whole)}"
        if whole is not None
        else "a whole checkpoint; there is no earlier one",
        fix=f"mv {directory / str(newest)} {directory / str(newest)}.damaged, "
        f"then the same command, which {then}",
    )


def _how_it_goes_on(directory: Path, found: Journal, step: int) -> tuple[str, ...]:
    how = {"killed": ": its process was killed", "interrupted": ": it was interrupted"}
    why = how.get(found.parts[-1].ended or "killed", "") if found.parts else ""
    return (f"going on from optimizer step {step} of a run that is not finished{why} ({directory})",)


def begun(wanted: Wanted, part: Part, team: Team) -> Journal:
    """The journal with one more part, which is written down before anything is saved.

    All processes have read the directory when process 0 writes into it.
    """
    found = journal.read(wanted.directory) or Journal(wanted.model, wanted.settings, wanted.arrays)
    now = found.begun(part)
    team.exchange("read")
    if team.index == 0:
        journal.write(wanted.directory, now)
    return now
