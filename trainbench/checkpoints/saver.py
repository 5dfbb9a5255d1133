"""When checkpoints are saved, and what runs beside a save: all of it between timed blocks, or inside them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from trainbench.checkpoints.notes import Notes, Save
from trainbench.distributed.team import Team, any_of
from trainbench.errors import first_line
from trainbench.measure.pauses import Measured
from trainbench.measure.plan import Plan


class Saving(Protocol):
    """A save that goes on in the background; the times are seconds by one clock.

    `ended_s` is None until it is over, and where there is an `error`.
    """

    started_s: float
    blocked_until_s: float
    ended_s: float | None
    error: Exception | None

    @property
    def over(self) -> bool: ...

    def wait(self) -> None:
        """Return when it is over."""


@dataclass
class Saver:
    """Saves what `begin` saves, after every so many timed blocks.

    Attributes:
      begin: starts to save the state as it is now, with these notes.
      notes: what is to be saved beside the state, made outside of anything that is timed.
      in_next_call: has something done inside the next timed call.
      stop_wished: whether this process has been asked to stop.
      settling_blocks: blocks after which a pause shows no more: the input that got ready in it is used up.
      timed: whether saves count in the timed window.
      saves: what those that succeeded took.
      failures: what became of the others.
      saved_blocks: timed blocks in the newest checkpoint of this process; None: there is none.
    """

    plan: Plan
    every_blocks: int
    timed: bool
    settling_blocks: int
    team: Team
    begin: Callable[[Notes], Saving]
    notes: Callable[[Measured], Notes]
    in_next_call: Callable[[Callable[[], None]], None]
    stop_wished: Callable[[], bool]
    measured: Measured = field(default_factory=Measured)
    saves: list[Save] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    saved_blocks: int | None = None
    saved_step: int | None = None
    _under_way: tuple[Saving, Notes] | None = None

    def first(self) -> None:
        """Save before anything is timed: a disk without room is found now, and later saves compile nothing.

        Raises:
          Exception: why it can't be saved.
        """
        notes = self.notes(self.measured)
        saving = self.begin(notes)
        saving.wait()
        if saving.error:
            raise saving.error
        self._succeeded(notes)

    def heed(self) -> None:
        """Nothing, unless some process has been asked to stop; to be called between blocks.

        Raises:
          KeyboardInterrupt: one has.
        """
        if any_of(self.team, self.stop_wished()):
            raise KeyboardInterrupt

    def between(self, measured: Measured, run_block: Callable[[], float]) -> None:
        """Save if it is time to; then everything is as it was before the pause.

        Raises:
          KeyboardInterrupt: the user wishes to stop.
        """
        self.measured = measured
        self.heed()
        done = len(measured.block_s)
        last = done == self.plan.blocks
        if not last and done % self.every_blocks:
            return
        notes = self.notes(measured)
        if self.timed and not last:
            self.in_next_call(lambda: self._begin_timed(notes))
            return
        self._save_beside(notes, run_block, last=last)
        self.heed()

    def stop(self) -> None:
        """Save what the newest checkpoint lacks; the blocks of it are whole, and nothing is under way.

        Raises:
          KeyboardInterrupt: a second wish; the earlier checkpoint stays as it is.
        """
        self._finish(beside_s=())
        if self.saved_blocks == len(self.measured.block_s) and self.measured.block_s:
            return
        notes = self.notes(self.measured)
        try:
            saving = self.begin(notes)
            saving.wait()
            if saving.error:
                raise saving.error
            self._succeeded(notes)
        except Exception as error:
            self._failed(notes, error)

    def _save_beside(self, notes: Notes, run_block: Callable[[], float], *, last: bool) -> None:
        """Save while blocks run that count for nothing, until the training is what it was before.

        After the save as many whole blocks run as it takes to use up the input that got ready in the pause;
        none, where no timed block follows.
        """
        self._finish(beside_s=())
        if not self._start(notes):
            return
        beside_s: list[float] = []
        settled = 0
        while True:
            over = self._is_over()
            if over and (last or settled >= self.settling_blocks):
                break
            if any_of(self.team, self.stop_wished()):
                break
            seconds = run_block()
            if over:
                settled += 1
            elif not self._is_over():
                beside_s.append(seconds)
        self._finish(tuple(beside_s))

    def _begin_timed(self, notes: Notes) -> None:
        """Inside a timed block: where an earlier save is not over, waiting for it counts as well."""
        self._finish(beside_s=())
        self._start(notes)

    def _start(self, notes: Notes) -> bool:
        try:
            self._under_way = self.begin(notes), notes
        except Exception as error:
            self._failed(notes, error)
            return False
        return True

    def _is_over(self) -> bool:
        assert self._under_way is not None
        return not any_of(self.team, not self._under_way[0].over)

    def _finish(self, beside_s: tuple[float, ...]) -> None:
        """Wait for the save that is under way, if there is one, and keep what it took."""
        if self._under_way is None:
            return
        saving, notes = self._under_way
        saving.wait()
        self._under_way = None
        if saving.error is not None or saving.ended_s is None:
            self._failed(notes, saving.error or RuntimeError("it did not end"))
            return
        blocking_s = saving.blocked_until_s - saving.started_s
        self.saves.append(Save(saving.ended_s - saving.started_s, blocking_s, beside_s))
        self._succeeded(notes)

    def _succeeded(self, notes: Notes) -> None:
        self.saved_blocks, self.saved_step = len(notes.measured.block_s), notes.step

    def _failed(self, notes: Notes, error: Exception) -> None:
        self.failures.append(
            f"the checkpoint of optimizer step {notes.step} was not saved: {first_line(error)}"
        )
