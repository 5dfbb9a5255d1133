"""A tuning session in execution order: what is possible -> default -> search -> rounds in turn -> effects."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from trainbench.errors import EXIT_CODES, ExitCode
from trainbench.report.numbers import duration
from trainbench.tuning import effects, rounds
from trainbench.tuning.budget import Budget
from trainbench.tuning.effects import Effect
from trainbench.tuning.possible import Possible
from trainbench.tuning.rounds import Round
from trainbench.tuning.search import FINALISTS, finalists, neighbours, search
from trainbench.tuning.space import BATCH, Point, Space, build, label
from trainbench.tuning.trials import Runner, Trial


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
      overrides: of the benchmark.
      levers: keys to vary; None: all that apply.
      batches: batch sizes to try, "auto", or None for the default's.
      table_only: no search, but the effect of each lever alone.
    """

    overrides: tuple[str, ...]
    levers: tuple[str, ...] | None
    batches: tuple[int, ...] | str | None
    minutes: float
    seed: int
    table_only: bool

    @property
    def base(self) -> tuple[str, ...]:
        """The overrides of the default configuration: measured briefly, unless the user says how."""
        named = {override.partition("=")[0] for override in self.overrides}
        return self.overrides if "measure" in named else (*self.overrides, "measure=quick")


@dataclass(frozen=True)
class Found:
    """What a session has come to know.

    Attributes:
      trials: of the search, the default first.
      finalists: the effects of the best combinations.
      table: those of each value of each lever alone.
      refused: what cannot be had here, with the reason.
      best: the fastest that is proven to be; None: none is.
      interrupted: the user stopped it.
    """

    trials: tuple[Trial, ...]
    finalists: tuple[Effect, ...]
    table: tuple[Effect, ...]
    refused: dict[Point, str]
    best: Effect | None
    interrupted: bool


class Broken(Exception):
    """The default configuration gives no rate, so there is nothing to compare with."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(f"the default configuration gives no rate: {trial.problem}")
        status = trial.loaded.result.status if trial.loaded else "failed"
        self.code = EXIT_CODES[status] or ExitCode.FAILED_CHECK


def space_of(asked: Asked, possible: Possible) -> tuple[Space, tuple[str, ...]]:
    """What is searched, and the overrides of the point from which it starts.

    Raises:
      UserError: nothing can be varied, or not what was asked for.
    """
    fixed = [override.partition("=")[0] for override in asked.overrides]
    space = build(possible, fixed, asked.levers, asked.batches)
    start = next((axis.values[0] for axis in space.axes if axis.key == BATCH), possible.batch_size)
    first = () if start == possible.batch_size else (f"{BATCH}={start}",)
    return space, (*asked.base, *first)


def run(asked: Asked, space: Space, runner: Runner) -> Found:
    """Search, measure in turn, and judge; a wish to stop ends it with what is known.

    Raises:
      UserError: the time is too short for anything to be told.
      Broken: the default configuration does not run.
      KeyboardInterrupt: stopped before the default was measured.
    """
    budget = Budget(60 * asked.minutes, runner, len(space.singles), 0 if asked.table_only else FINALISTS)
    default = runner.try_out(())
    if default.problem:
        raise Broken(default)
    budget.check(default)
    turns: list[Round] = []
    interrupted = False

    def measure(point: Point) -> Trial:
        return default if point == () else _try_out(point, runner, budget)

    try:
        if asked.table_only:
            neighbours(space, measure, budget.for_trial)
        else:
            search(space, measure, budget.for_trial, asked.seed)
        turns = _rounds(asked, space, runner, budget)
    except rounds.Stopped as stopped:
        turns, interrupted = stopped.done, True
    except KeyboardInterrupt:
        interrupted = True
    return _found(asked, space, runner.done, turns, interrupted)


def _try_out(point: Point, runner: Runner, budget: Budget) -> Trial:
    _say(f"trial {len(runner.done) + 1}, {duration(budget.left_s)} left")
    trial = runner.try_out(point)
    if trial.problem and not trial.seconds:
        _say(f"{label(point)}: not possible: {trial.problem}")
    return trial


def _rounds(asked: Asked, space: Space, runner: Runner, budget: Budget) -> list[Round]:
    """Rounds of all that is worth it and fits: the table's rows beside the finalists, or these alone."""
    fastest, singles = _rows(asked, space, runner.done)
    everything = list(dict.fromkeys((*fastest, *singles)))
    points, count = everything, budget.rounds_of(everything)
    if fastest and count < rounds.LEAST:
        points, count = fastest, budget.rounds_of(fastest)
        _say("there is no time to measure each lever alone in turn; tune --table-only does no more than that")
    if not points or count == 0:
        return []

    def goes_on(turn: int, last_s: float) -> bool:
        if turn > rounds.MOST or budget.left_s < last_s:
            return False
        _say(f"round {turn} of at most {rounds.MOST}, {duration(budget.left_s)} left")
        return True

    folders: dict[int, str] = {}

    def measure(point: Point, turn: int) -> Trial:
        if turn not in folders:
            folders[turn] = runner.round_folder(points, turn)
        return runner.run(point, folders[turn])

    return rounds.run(points, measure, goes_on)


def _rows(asked: Asked, space: Space, trials: Sequence[Trial]) -> tuple[list[Point], list[Point]]:
    """The finalists, and the points with one difference from the default, as far as they have a rate."""
    chosen = [] if asked.table_only else finalists(list(trials))
    good = {trial.point for trial in trials if not trial.problem}
    return chosen, [point for point in space.singles if point in good]


def _found(
    asked: Asked, space: Space, trials: Sequence[Trial], turns: Sequence[Round], interrupted: bool
) -> Found:
    fastest, _ = _rows(asked, space, trials)
    chosen = effects.of_rounds(fastest, turns, trials)
    table = effects.of_rounds(space.singles, turns, trials)
    refused = space.refused | {one.point: one.problem for one in table if one.compared is None}
    measured = tuple(one for one in table if one.compared is not None)
    best_one = effects.winner(chosen, measured)
    return Found(tuple(trials), tuple(chosen), measured, refused, best_one, interrupted)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
