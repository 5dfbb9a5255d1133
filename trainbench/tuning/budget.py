"""What the time that was asked for is spent on."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainbench.errors import UserError
from trainbench.report.numbers import duration
from trainbench.tuning import rounds
from trainbench.tuning.space import Point
from trainbench.tuning.trials import Runner, Trial

# The most of the time that is kept for the rounds while the search goes on.
KEPT_FOR_ROUNDS = 0.6


@dataclass(frozen=True)
class Budget:
    """The time for all processes of a session; what earlier sessions have spent on it counts.

    Attributes:
      runner: keeps account of what is spent.
      singles: points with one difference from the default.
      finalists: points that the search is to bring into the rounds; 0: there is no search.
    """

    seconds: float
    runner: Runner
    singles: int
    finalists: int

    @property
    def left_s(self) -> float:
        return max(0.0, self.seconds - self.runner.spent_s)

    def check(self, default: Trial) -> None:
        """Nothing if the least that tells something can be measured.

        Raises:
          UserError: it can't.
        """
        others = 1 if self.finalists else self.singles
        least_s = (1 + others) * (default.seconds + rounds.LEAST * default.again_s)
        if least_s <= self.seconds:
            return
        minutes = int(least_s / 60) + 1
        raise UserError(
            f"minutes={self.seconds / 60:g} is too short: a run takes {duration(default.again_s)} here, and "
            f"the least that tells something is {rounds.LEAST + 1} times {1 + others} of them",
            allowed=f"minutes={minutes} or more; fewer levers; fewer steps",
            fix=f"the same with minutes={minutes}",
        )

    def for_trial(self, expected_s: float) -> bool:
        """Whether another trial leaves the time that the rounds are to have."""
        again = [trial.again_s for trial in self.runner.done if not trial.problem]
        rows = 1 + self.singles + self.finalists
        wanted_s = rounds.USUAL * rows * sum(again) / max(1, len(again))
        return self.left_s - expected_s >= min(wanted_s, KEPT_FOR_ROUNDS * self.seconds)

    def rounds_of(self, points: Sequence[Point]) -> int:
        """How many rounds of these points and the default there is time for."""
        took = {trial.point: trial.again_s for trial in self.runner.done}
        return rounds.possible(took[()] + sum(took[point] for point in points), self.left_s)
