"""Two configurations run in turn, A B, B A, A B, ..., each run in a fresh process.

Whatever changes slowly, the machine's temperature or its other users, then meets both alike.
"""

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trainbench import config, recompose
from trainbench.errors import ExitCode, UserError
from trainbench.processes import child, interrupts
from trainbench.processes.alone import alone
from trainbench.report.numbers import duration
from trainbench.results import store
from trainbench.results.collect import Loaded
from trainbench.results.compare_pairs import Pair, Side

SIDES = ("a", "b")
LOCK_FILE = ".ab.lock"


@dataclass(frozen=True)
class Done:
    """What was run: a pair of sides, None when no round was completed; and what ended it early.

    Attributes:
      interrupted: the user stopped it.
      error: a later run was refused, as where the disk is full by then.
    """

    pair: Pair | None
    interrupted: bool = False
    error: UserError | None = None


@dataclass(frozen=True)
class _Run:
    side: int
    loaded: Loaded | None
    note: str

    @property
    def broke(self) -> bool:
        """Whether there is no measurement; the rest of the rounds then can't tell more."""
        return self.loaded is None or self.loaded.result.status != "ok"


def run(texts: Sequence[str], rounds: int, directory: Path | None) -> Done:
    """Both configurations `rounds` times into `directory`/a/N and b/N.

    A run that breaks ends it after its round: it would break again.

    Raises:
      UserError: overrides that can't be run, before a round is complete; or a directory with earlier runs.
    """
    checked = [_checked(text, name) for text, name in zip(texts, SIDES, strict=True)]
    sides = [overrides for overrides, _ in checked]
    if len({on_images for _, on_images in checked}) > 1:
        raise UserError(
            "one side trains on images, the other on text: their rates have different units",
            allowed="two models of one kind",
            fix="compare two image models, or two text models",
        )
    top = directory or Path("outputs", "ab", *_timestamp())
    with alone(top, LOCK_FILE, what="another compare --ab", option="--dir DIR"):
        check_empty(top)
        done = _run_all(sides, rounds, top)
    print(f"results are in {top}", file=sys.stderr)
    return done


def _run_all(sides: Sequence[list[str]], rounds: int, top: Path) -> Done:
    """Round after round, until all are done or one breaks.

    Raises:
      UserError: before there is a complete round; later it is part of what is returned.
    """
    runs: list[list[_Run]] = []
    interrupted, error = False, None
    try:
        with interrupts.one_wish():
            for finished in _rounds(sides, rounds, top):
                runs.append(finished)
                if any(one.broke for one in finished):
                    break
    except KeyboardInterrupt:
        interrupted = True
    except UserError as refused:
        if not runs:
            raise
        error = refused
    return Done(_pair(runs) if runs else None, interrupted, error)


def order(turn: int) -> tuple[int, int]:
    """Which side runs first and second in this round, from 0: a linear drift cancels over two rounds.

    >>> [order(turn) for turn in range(4)]
    [(0, 1), (1, 0), (0, 1), (1, 0)]
    """
    return (0, 1) if turn % 2 == 0 else (1, 0)


def _rounds(sides: Sequence[list[str]], rounds: int, top: Path) -> Iterator[list[_Run]]:
    """Each completed round.

    Raises:
      KeyboardInterrupt: the user stopped a run.
    """
    clock: Callable[[], float] = time.monotonic
    started, total = clock(), 2 * rounds
    for turn in range(rounds):
        finished: list[_Run] = []
        for side in order(turn):
            count = 2 * turn + len(finished)
            print(_progress(side, turn, rounds, count, total, clock() - started), file=sys.stderr, flush=True)
            finished.append(_run(sides[side], side, top / SIDES[side] / str(turn + 1)))
        yield finished


def _progress(side: int, turn: int, rounds: int, count: int, total: int, elapsed_s: float) -> str:
    left = f", about {duration(elapsed_s / count * (total - count))} left" if count else ""
    return f"round {turn + 1}/{rounds}, side {SIDES[side].upper()}: run {count + 1} of {total}{left}"


def _run(overrides: list[str], side: int, directory: Path) -> _Run:
    outcome = child.run(overrides, directory)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.code == ExitCode.USER_ERROR and outcome.result is None:
        raise UserError(
            f"side {SIDES[side].upper()} cannot be run: {shlex.join(overrides)}",
            allowed="what the message above says",
            fix="change the overrides of that side",
        )
    loaded = Loaded(directory / store.RESULT_FILE, outcome.result) if outcome.result else None
    return _Run(side, loaded, outcome.note)


def _pair(rounds: Sequence[Sequence[_Run]]) -> Pair:
    def side_of(side: int) -> Side:
        runs = [one for finished in rounds for one in finished if one.side == side]
        lost = tuple(one.note for one in runs if one.loaded is None)
        return Side(tuple(one.loaded for one in runs if one.loaded), lost)

    return Pair(side_of(0), side_of(1), in_turn=True)


def _checked(text: str, name: str) -> tuple[list[str], bool]:
    """The overrides of one side, which compose to something that may be run; and whether it trains on images.

    Raises:
      UserError: they don't.
    """
    overrides = _words(text, name)
    try:
        _check_plain(overrides)
        request = config.parse(recompose.compose(overrides))
    except UserError as error:
        raise UserError(
            f"side {name.upper()}: {error.problem}", allowed=error.allowed, fix=error.fix
        ) from None
    return overrides, request.model.task == "image_classification"


def _words(text: str, name: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"side {name.upper()}: {text!r} cannot be split into words: {error}", fix="close its quotes"
        ) from None


def _check_plain(overrides: Sequence[str]) -> None:
    for override in overrides:
        if override.startswith(("-", "hydra.")):
            raise UserError(
                f"{override} is not for one side of a comparison",
                allowed="KEY=VALUE; --rounds and --dir behind both sides",
                fix="--dir DIR sets where the results go",
            )


def check_empty(top: Path) -> None:
    """Nothing where no comparison has left its runs.

    Raises:
      UserError: there are some.
    """
    for side in SIDES:
        if (top / side).exists():
            raise UserError(
                f"{top / side} is there already, and its runs would be mixed with new ones",
                allowed="a directory without results of --ab",
                fix="name another: --dir DIR; or compare what is there: compare "
                f"{shlex.quote(str(top / SIDES[0]))} {shlex.quote(str(top / SIDES[1]))}",
            )


def _timestamp() -> tuple[str, str]:
    now = datetime.now()
    return f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}"
