"""Configurations measured in turn, round after round, so that what changes slowly meets all of them alike.

The default runs in the middle of a round and each second round runs backwards: then a drift that is the same
all the time cancels over two rounds.
"""

from collections.abc import Callable, Mapping, Sequence

from trainbench.tuning.space import Point
from trainbench.tuning.trials import Trial

# Fewer rounds give an interval that says nothing; more than the most are rarely worth their time.
LEAST = 4
USUAL = 6
MOST = 10

Round = Mapping[Point, Trial]


def order(points: Sequence[Point], turn: int) -> list[Point]:
    """The default and these points in the order of a round, the first of them next to the default.

    >>> order([(("a", 1),), (("a", 2),), (("b", 1),)], 0)
    [(('a', 2),), (), (('a', 1),), (('b', 1),)]
    >>> order([(("a", 1),), (("a", 2),), (("b", 1),)], 1)
    [(('b', 1),), (('a', 1),), (), (('a', 2),)]
    """
    others = list(points)
    in_order: list[Point] = [*reversed(others[1::2]), (), *others[0::2]]
    return in_order if turn % 2 == 0 else in_order[::-1]


def possible(seconds_of_a_round: float, left_s: float) -> int:
    """How many rounds there is time for, at most `MOST`."""
    return MOST if seconds_of_a_round == 0 else max(0, min(MOST, int(left_s / seconds_of_a_round)))


def run(
    points: Sequence[Point], measure: Callable[[Point, int], Trial], goes_on: Callable[[int, float], bool]
) -> list[Round]:
    """Rounds of the default and these points, each complete; a point that fails is in no later one.

    Args:
      measure: measures a point in a round, counted from 1.
      goes_on: whether a round may begin, from its number and the seconds that the last one took.

    Raises:
      Stopped: the user stopped it; it has the complete rounds.
    """
    done: list[Round] = []
    failed: set[Point] = set()
    seconds = 0.0
    while goes_on(len(done) + 1, seconds):
        left = [point for point in points if point not in failed]
        current: dict[Point, Trial] = {}
        try:
            for point in order(left, len(done)):
                current[point] = measure(point, len(done) + 1)
        except KeyboardInterrupt:
            raise Stopped(done) from None
        done.append(current)
        failed |= {point for point, trial in current.items() if trial.problem}
        seconds = sum(trial.seconds for trial in current.values())
        if () in failed or len(failed) == len(points):
            break
    return done


class Stopped(KeyboardInterrupt):
    """The user stopped the rounds."""

    def __init__(self, done: list[Round]) -> None:
        super().__init__()
        self.done = done
