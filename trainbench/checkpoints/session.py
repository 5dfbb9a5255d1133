"""The checkpoints of one run: what it goes on from, what it saves, and how it ends."""

import contextlib
import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from trainbench import fits
from trainbench.autos import Auto
from trainbench.checkpoints import files, journal, starting
from trainbench.checkpoints.journal import Ended, Journal, Part
from trainbench.checkpoints.notes import Notes, in_words
from trainbench.checkpoints.saver import Saver, Saving, reason
from trainbench.checkpoints.settings import CheckpointConfig
from trainbench.checkpoints.starting import Wanted
from trainbench.distributed.team import Team
from trainbench.errors import OutOfMemory, UserError, first_line
from trainbench.measure.clock import wall_clock
from trainbench.measure.pauses import Measured
from trainbench.measure.plan import Plan
from trainbench.processes.interrupts import Wish
from trainbench.training.program import TrainingProgram
from trainbench.training.state import TrainState

if TYPE_CHECKING:
    from trainbench.checkpoints.storage import Storage

# Among the conditions: how the devices are arranged, and so which samples a process reads.
MESH = "the mesh"
# How a part of the run ended, by the status of its record.
ENDED: Mapping[str, Ended] = {"ok": "ok", "invalid": "ok", "interrupted": "interrupted"}


@dataclass
class Session:
    """A directory of checkpoints that is this run's own until `end`.

    Attributes:
      restored: what is known of the run that this one goes on from; None: it is new.
      earlier: the timed blocks of it that count for this run too; None where they don't.
      conditions: what the speed depends on beside the configuration.
      at_the_end: gives the directory free.
      words: what the user should know of how it started.
      warnings: what the record should tell of going on and stopping.
      restore_s: seconds that restoring took.
      state_bytes: of the training state, over all devices.
      saver: of the training that is going on, or was; None before it.
    """

    config: CheckpointConfig
    directory: Path
    storage: "Storage"
    journal: Journal
    team: Team
    conditions: Mapping[str, str]
    global_batch_size: int
    at_the_end: ExitStack
    words: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)
    restored: Notes | None = None
    restore_s: float | None = None
    saver: Saver | None = None
    state_bytes: int = 0
    _state: TrainState | None = None

    @property
    def part(self) -> int:
        """Which part of the run this is, from 0."""
        return len(self.journal.parts) - 1

    @property
    def earlier(self) -> Notes | None:
        if self.restored is None or self.restored.conditions != self.conditions:
            return None
        return self.restored

    def take_state(self) -> TrainState | None:
        """The restored state, once: its arrays are donated to the first step. None: the run is new."""
        state, self._state = self._state, None
        return state

    def input_state(self) -> bytes | None:
        """From where the input of this process goes on; None where it has to begin anew."""
        notes, processes = self.restored, len(self.team.names)
        if notes is None or (processes > 1 and notes.conditions[MESH] != self.conditions[MESH]):
            return None
        return notes.input_of(self.team.index, processes)

    def watch(
        self,
        program: TrainingProgram,
        plan: Plan,
        chosen: Mapping[str, Auto],
        calls_ahead: int,
        wish: Wish,
    ) -> Saver:
        """What saves the state of `program` while it is measured by this plan; it has saved once."""
        earlier = self.earlier

        def notes(measured: Measured) -> Notes:
            return self._notes(program, plan, chosen, measured)

        def begin(notes: Notes) -> Saving:
            return self.storage.begin(program.state, notes)

        self.saver = Saver(
            plan=plan,
            every_blocks=-(-(self.config.every or 1) // plan.steps_per_block),
            timed=self.config.timed,
            settling_blocks=max(1, math.ceil(calls_ahead / plan.calls_per_block)),
            team=self.team,
            begin=begin,
            recover=self.storage.recover,
            notes=notes,
            in_next_call=program.before_next_call,
            wish=wish,
            measured=earlier.measured if earlier else Measured(),
            saves=list(earlier.saves) if earlier else [],
        )
        self._save_first(self.saver)
        return self.saver

    def _save_first(self, saver: Saver) -> None:
        try:
            saver.first()
        except OSError as error:
            raise UserError(
                f"nothing can be saved in {self.directory}: {error}",
                allowed="a directory with room for the checkpoints",
                fix="checkpoint.dir=DIRECTORY, or free some space",
            ) from error

    def stop(self, wish: Wish) -> None:
        """Save what the newest checkpoint lacks, unless the user insists on stopping at once."""
        if self.saver is None or wish.insisted:
            return
        try:
            self.saver.stop()
        except KeyboardInterrupt:
            self.warnings.append("checkpoint: the last save was given up, as the user insisted on stopping")

    def blocks_of(self, blocks: int) -> tuple[int, ...]:
        """Which part of the run measured each of so many timed blocks."""
        before = self.earlier.blocks_of if self.earlier else ()
        return (*before, *[self.part] * (blocks - len(before)))

    def way_on(self) -> str:
        """How a run that did not finish goes on."""
        steps = files.steps_in(self.directory)
        if not steps:
            return "no checkpoint was saved: the same command starts anew"
        return f"the same command goes on from optimizer step {steps[-1]}"

    def all_warnings(self) -> tuple[str, ...]:
        """What went wrong with saving or going on, for the record."""
        failures = self.saver.failures if self.saver else []
        return (*self.warnings, *(f"checkpoint: {failure}" for failure in failures))

    def end(self, status: str) -> None:
        """Write down how the run ended, by the status of its record."""
        with contextlib.suppress(OSError, UserError):
            if self.team.index == 0:
                ended = ENDED.get(status, "failed")
                self.journal = self.journal.ended(ended, finished=ended == "ok")
                journal.write(self.directory, self.journal)

    def close(self) -> None:
        """Give the directory free; a run that has no record has failed."""
        if self.journal.parts[-1].ended is None:
            self.end("failed")
        self.at_the_end.close()

    def _notes(
        self, program: TrainingProgram, plan: Plan, chosen: Mapping[str, Auto], measured: Measured
    ) -> Notes:
        own = in_words(program.input_state()) or ""
        return Notes(
            step=program.steps,
            global_batch_size=self.global_batch_size,
            conditions=self.conditions,
            plan=plan,
            chosen=chosen,
            measured=measured,
            blocks_of=self.blocks_of(len(measured.block_s)),
            losses=tuple(program.losses()),
            inputs=tuple(words or None for words in self.team.exchange(own)),
            saves=tuple(self.saver.saves) if self.saver else (),
        )


def start(
    wanted: Wanted,
    config: CheckpointConfig,
    abstract: TrainState,
    *,
    conditions: Mapping[str, str],
    global_batch_size: int,
    device_count: int,
    started: datetime,
    team: Team,
) -> Session:
    """The session of a run whose placed state is `abstract`; restored where there is something to go on from.

    Raises:
      UserError: the directory can't be used, or what it holds is damaged or another run's.
      OutOfMemory: the devices' memory does not hold the state beside what it is made of.
    """
    with ExitStack() as on_failure:
        decided = starting.decide(wanted, team, on_failure)
        # Imported here: Orbax is for runs with checkpoints only.
        from trainbench.checkpoints.storage import Storage

        storage = Storage(wanted.directory, config.keep)
        on_failure.callback(storage.close)
        began_s = wall_clock()
        state, notes = _restored(storage, decided.step, abstract)
        restore_s = wall_clock() - began_s if notes else None
        part = Part(started, notes.step if notes else 0, device_count, len(team.names))
        book = starting.begun(wanted, part, team)
        session = Session(
            *(config, wanted.directory, storage, book, team, conditions, global_batch_size),
            at_the_end=on_failure.pop_all(),
            words=decided.words,
            restored=notes,
            restore_s=restore_s,
            state_bytes=_nbytes(abstract),
            _state=state,
        )
    session.warnings += _changes(session)
    return session


def _restored(
    storage: "Storage", step: int | None, abstract: TrainState
) -> tuple[TrainState | None, Notes | None]:
    if step is None:
        return None, None
    try:
        return storage.restore(step, abstract)
    except Exception as error:
        if fits.is_out_of_memory(error):
            raise OutOfMemory(f"restoring optimizer step {step}: {first_line(error)}") from error
        steps, why = files.steps_in(storage.directory), f"{step}: {reason(error)}"
        raise starting.damaged(storage.directory, steps, why) from error


def _changes(session: Session) -> list[str]:
    """What is not as it was in the part before."""
    notes = session.restored
    if notes is None:
        return []
    found = []
    if notes.conditions != session.conditions:
        changed = [
            f"{name} was {notes.conditions.get(name)} and is {value}"
            for name, value in session.conditions.items()
            if notes.conditions.get(name) != value
        ]
        found.append(
            f"segments: {'; '.join(changed)}: blocks timed before and after are not of one window: "
            f"{len(notes.measured.block_s)} from before are left out"
        )
    if notes.global_batch_size != session.global_batch_size:
        found.append(
            f"segments: the global batch was {notes.global_batch_size} and is {session.global_batch_size}: "
            "the training is not what it would have been without the change"
        )
    if any(notes.inputs) and session.input_state() is None:
        found.append(
            f"segments: the input of {len(notes.inputs)} processes can't be divided anew over "
            f"{len(session.team.names)}: it began at its beginning"
        )
    return found


def _nbytes(state: TrainState) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
