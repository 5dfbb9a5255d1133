"""Trials: points of the search, each measured by a process of its own, and none twice."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbench import config, recompose
from trainbench.errors import UserError
from trainbench.processes import sweep
from trainbench.processes.child import Outcome
from trainbench.processes.sweep_plan import ONLY_POINT, Sweep
from trainbench.results import store
from trainbench.results.collect import Loaded
from trainbench.results.compare_metrics import SPEED
from trainbench.tuning.space import DEFAULT, Point

# The folder of the search's trials.
TRIALS = "trials"


@dataclass(frozen=True)
class Trial:
    """A point that was measured, or why it could not be.

    Attributes:
      seconds: that its process took; 0 where there was none.
      loaded: its record; None where it left none.
      problem: why there is no rate; empty where there is one.
    """

    point: Point
    seconds: float
    loaded: Loaded | None
    problem: str = ""

    @property
    def rate(self) -> float | None:
        """Samples per second and chip, of the median step."""
        return SPEED.read(self.loaded.result) if self.loaded and not self.problem else None

    @property
    def again_s(self) -> float:
        """Seconds that another run will take, whose program is in the compilation cache."""
        compiled = self.loaded.result.compile if self.loaded else None
        return max(0.0, self.seconds - ((compiled.fresh_s if compiled else None) or 0.0))


@dataclass(frozen=True)
class _Folder(Sweep):
    """Trials beside each other, of which the one without differences has a name too."""

    def label(self, overrides: Sequence[str]) -> str:
        given = super().label(overrides)
        return DEFAULT if given == ONLY_POINT else given


class Runner:
    """Measures points, and keeps account of the time that their processes took, in earlier sessions too.

    Args:
      base: the overrides of the default configuration.
      keys: those that vary.
      directory: each trial has a directory below it, with its result.

    Attributes:
      spent_s: seconds of all trials.
      done: those of the search.
    """

    def __init__(self, base: Sequence[str], keys: Sequence[str], directory: Path) -> None:
        self.base = tuple(base)
        self.keys = frozenset(keys)
        self.directory = directory
        self.spent_s = 0.0
        self.done: list[Trial] = []

    def overrides(self, point: Point) -> list[str]:
        """All that composes a point."""
        named = dict(point)
        kept = [override for override in self.base if override.partition("=")[0] not in named]
        return [*kept, *(f"{key}={recompose.written(value)}" for key, value in point)]

    def try_out(self, point: Point) -> Trial:
        """The trial of a point, which is noted in `done`.

        Raises:
          KeyboardInterrupt: the user stopped it.
        """
        refused = self._refused(point)
        trial = Trial(point, 0.0, None, refused) if refused else self.run(point, TRIALS)
        self.done.append(trial)
        return trial

    def run(self, point: Point, folder: str) -> Trial:
        """The trial of a point; one that is there already, in `folder`, is not run again.

        Raises:
          KeyboardInterrupt: the user stopped it.
        """
        overrides = self.overrides(point)
        there = self._folder(folder)
        outcome = sweep.run_point(there, overrides)
        home = there.home(overrides)
        known = sweep.read_note(home)
        seconds = (known.seconds or 0.0) if known else 0.0
        self.spent_s += seconds
        if outcome.interrupted:
            raise KeyboardInterrupt
        file = home / store.RESULT_FILE
        loaded = Loaded(file, outcome.result) if outcome.result else None
        return Trial(point, seconds, loaded, _problem(outcome))

    def round_folder(self, points: Sequence[Point], turn: int) -> str:
        """Where this round of the default and `points` goes: where all of them are already, or a new folder.

        One that an earlier session left in the middle, or that had other points, is not filled up: what is
        measured at another time is not in turn. Its time was spent all the same.
        """
        for attempt in itertools.count(1):
            folder = f"rounds/{turn}" if attempt == 1 else f"rounds/{turn}-{attempt}"
            there = self._folder(folder)
            if not there.directory.exists():
                return folder
            if all(sweep.done(there, self.overrides(point)) is not None for point in ((), *points)):
                return folder
            notes = map(
                sweep.read_note, (file.parent for file in there.directory.glob(f"*/{sweep.POINT_FILE}"))
            )
            self.spent_s += sum(note.seconds or 0.0 for note in notes if note)
        raise AssertionError("there is always another folder")

    def _folder(self, name: str) -> _Folder:
        return _Folder(self.base, self.keys, self.directory / name, None, here=True, goes_on=False)

    def _refused(self, point: Point) -> str:
        """Why no run would take this combination; empty where one would."""
        try:
            config.parse(recompose.compose(self.overrides(point)))
        except UserError as error:
            return error.problem
        return ""


def _problem(outcome: Outcome) -> str:
    if outcome.result is None:
        return outcome.note
    if outcome.result.status == "ok":
        return "" if SPEED.read(outcome.result) else "no step was timed"
    return f"{outcome.result.status}: {outcome.result.status_reason}"
