"""What each point does: its speed against the default's, how sure that is, memory, loss, and the proof."""

from collections.abc import Sequence
from dataclasses import dataclass

from trainbench.results import compare
from trainbench.results.compare import Compared, Judged
from trainbench.results.compare_metrics import THRESHOLD
from trainbench.results.compare_pairs import Pair, Side
from trainbench.tuning.rounds import Round
from trainbench.tuning.space import BATCH, Point, effort, unusual
from trainbench.tuning.trials import Trial


@dataclass(frozen=True)
class Effect:
    """One point against the default.

    Attributes:
      compared: the judgement; None where the point could not be measured.
      rounds: in which both were measured; 0: one trial each, at different times, which is no test.
      problem: why it could not be measured, or not in every round.
      proof: what shows its levers in the compiled step.
    """

    point: Point
    compared: Compared | None
    rounds: int
    problem: str = ""
    proof: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether it is faster: significant, above the threshold, and measured in turn."""
        return bool(self.compared) and self.rounds > 1 and self.speed.verdict == "improvement"

    @property
    def speed(self) -> Judged:
        assert self.compared is not None
        return self.compared.speed

    @property
    def memory(self) -> float | None:
        """The compiler's peak memory / the default's."""
        return self._judged("compiled peak memory").ratio

    @property
    def loss(self) -> float | None:
        """The loss at the last step that both have / the default's; None with another batch."""
        return None if BATCH in dict(self.point) else self._judged("loss").ratio

    @property
    def unusual(self) -> list[str]:
        """Keys that change what is computed."""
        return unusual(self.point)

    def _judged(self, name: str) -> Judged:
        assert self.compared is not None
        return next(one for one in self.compared.judged if one.metric.name == name)


def of_rounds(points: Sequence[Point], rounds: Sequence[Round], trials: Sequence[Trial]) -> list[Effect]:
    """The effect of each of these points, all tested together; by the trials where there are no rounds of it.

    Args:
      trials: of the search, the default first.
    """
    alone = {trial.point: trial for trial in trials}
    pairs: dict[Point, tuple[Pair, int]] = {}
    for point in points:
        both = [(one[()], one[point]) for one in rounds if _measured(one, point)]
        if not both and point in alone and _measured(alone, point):
            pairs[point] = _pair([(alone[()], alone[point])]), 0
        elif both:
            pairs[point] = _pair(both), len(both)
    judged = dict(zip(pairs, compare.compare([pair for pair, _ in pairs.values()]), strict=True))
    found = []
    for point in points:
        problem = _problem(point, rounds, alone)
        if point in pairs:
            pair, count = pairs[point]
            found.append(Effect(point, judged[point], count, problem, _proof(point, pair)))
        else:
            found.append(Effect(point, None, 0, problem or "the time was up"))
    return found


def winner(finalists: Sequence[Effect], table: Sequence[Effect]) -> Effect | None:
    """The best that is proven to be faster than the default, of the finalists if any is; None: none is.

    Of those that are as fast as the fastest to within the threshold, the plainest.
    """
    for effects in (finalists, table):
        proven = {effect.point: effect.speed.ratio or 0.0 for effect in effects if effect.proven}
        if proven:
            near = [point for point in proven if proven[point] * (1 + THRESHOLD) >= max(proven.values())]
            chosen = min(near, key=lambda point: (effort(point), -proven[point]))
            return next(effect for effect in effects if effect.point == chosen)
    return None


def _measured(trials: Round, point: Point) -> bool:
    return all(one in trials and not trials[one].problem for one in ((), point))


def _pair(both: Sequence[tuple[Trial, Trial]]) -> Pair:
    base, new = (
        Side(tuple(loaded for pair in both if (loaded := pair[side].loaded) is not None)) for side in (0, 1)
    )
    return Pair(base, new, in_turn=True)


def _problem(point: Point, rounds: Sequence[Round], alone: Round) -> str:
    trials = [alone, *rounds]
    return next((one[point].problem for one in trials if point in one and one[point].problem), "")


def _proof(point: Point, pair: Pair) -> tuple[str, ...]:
    result = pair.new.results[-1]
    found = (result.levers.get(key) for key, _ in point)
    return tuple(lever.proof for lever in found if lever and lever.proof)
