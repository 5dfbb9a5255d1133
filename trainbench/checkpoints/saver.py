"""When checkpoints are saved, and what runs beside a save: all of it between timed blocks, or inside them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from trainbench.checkpoints.notes import Notes, Save
from trainbench.distributed.agreement import agreed_to_stop
from trainbench.distributed.team import Team, any_of
from trainbench.errors import first_line
from trainbench.measure.pauses import Measured
from trainbench.measure.plan import Plan
from trainbench.processes.interrupts import Wish

# Characters of what a library says; it may quote the whole description of an array.
LONGEST_REASON = 160


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
      recover: makes saving possible again after one has failed.
      notes: what is to be saved beside the state, made outside of anything that is timed.
      in_next_call: has something done inside the next timed call.
      wish: whether this process has been asked to stop.
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
    recover: Callable[[], None]
    notes: Callable[[Measured], Notes]
    in_next_call: Callable[[Callable[[], None]], None]
    wish: Wish
    measured: Measured = field(default_factory=Measured)
    saves: list[Save] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    saved_blocks: int | None = None
    _under_way: tuple[Saving, Notes] | None = None

    def first(self) -> None:
        """Save before anything is timed: a disk without room is found now, and later saves compile nothing.

        Raises:
          OSError: it can't be saved.
        """
        self._start(self.notes(self.measured))
        self._finish(beside_s=(), counts=False)
        if self.failures:
            raise OSError(self.failures.pop())

    def heed(self) -> None:
        """Nothing, unless some process has been asked to stop; to be called between blocks.

        Raises:
          KeyboardInterrupt: one has.
        """
        if agreed_to_stop(self.team, self.wish):
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
        self._start(self.notes(self.measured))
        self._finish(beside_s=(), counts=False)

    def _save_beside(self, notes: Notes, run_block: Callable[[], float], *, last: bool) -> None:
        """Save while blocks run that count for nothing, until the training is what it was before.

        After the save as many whole blocks run as it takes to use up the input that got ready in the pause;
        none, where no timed block follows.
        """
        self._finish(beside_s=())
        self._start(notes)
        if self.timed:
            # What runs beside saves is in the timed blocks.
            self._finish(beside_s=())
            return
        beside_s: list[float] = []
        settled = 0
        while True:
            over = self._is_over()
            if over and (last or settled >= self.settling_blocks):
                break
            if agreed_to_stop(self.team, self.wish):
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

    def _start(self, notes: Notes) -> None:
        failure: Exception | None = None
        try:
            self._under_way = self.begin(notes), notes
        except Exception as error:
            failure = error
        self._failed(notes, failure)

    def _is_over(self) -> bool:
        going_on = self._under_way is not None and not self._under_way[0].over
        return not any_of(self.team, going_on)

    def _finish(self, beside_s: tuple[float, ...], *, counts: bool = True) -> None:
        """Wait for the save that is under way, if there is one, and keep what it took if that `counts`."""
        if self._under_way is None:
            return
        saving, notes = self._under_way
        saving.wait()
        self._under_way = None
        if self._failed(notes, saving.error):
            return
        assert saving.ended_s is not None
        blocking_s = saving.blocked_until_s - saving.started_s
        if counts:
            self.saves.append(Save(saving.ended_s - saving.started_s, blocking_s, beside_s))
        self.saved_blocks = len(notes.measured.block_s)

    def _failed(self, notes: Notes, error: Exception | None) -> bool:
        """Whether a save has failed in any process; it is noted then, and the next one may succeed."""
        if not any_of(self.team, error is not None):
            return False
        self._under_way = None
        why = reason(error) if error else "another process could not write its part"
        self.failures.append(f"the checkpoint of optimizer step {notes.step} was not saved: {why}")
        self.recover()
        return True


def reason(error: Exception) -> str:
    """Why something could not be saved or read, as short as it can be said.

    >>> reason(ValueError("RESOURCE_EXHAUSTED: Failed to write to file 5: No space left on device [code 28]"))
    'no space left on the disk'
    """
    if "No space left on device" in str(error):
        return "no space left on the disk"
    line = first_line(error)
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]} ..."
