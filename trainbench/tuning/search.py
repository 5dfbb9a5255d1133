"""The search itself: Optuna's tree-structured Parzen estimator proposes, a process measures.

Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", in its multivariate form, which sees that
levers depend on each other. The default and each of its neighbours are measured first. Trials that are there
from an earlier session come out at once, and the same seed then proposes the same again.
"""

import math
from collections.abc import Callable
from types import ModuleType

from trainbench import extras
from trainbench.errors import UserError
from trainbench.results.compare_metrics import THRESHOLD
from trainbench.tuning.space import Point, Space, effort
from trainbench.tuning.trials import Trial

# Proposals in a row that are known already, after which the optimizer has nothing new to propose.
PATIENCE = 50
# Proposals at random, beside the first ones, before the estimator takes over.
RANDOM_TRIALS = 4
# Of the search, these are measured again in turn with the default, before one is called faster.
FINALISTS = 2


def optimizer() -> ModuleType:
    """Optuna.

    Raises:
      UserError: it is not installed.
    """
    try:
        # Imported late: only the search needs it.
        import optuna
    except ImportError:
        raise UserError(
            "the search needs Optuna, which is not installed",
            allowed="tune --table-only, which does not search",
            fix=extras.install("tune"),
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def search(
    space: Space, measure: Callable[[Point], Trial], affordable: Callable[[float], bool], seed: int
) -> list[Trial]:
    """Every trial, in the order in which they were measured; the first is the default.

    Args:
      measure: measures a point; one that cannot be had has a problem instead of a rate.
      affordable: whether another trial of so many seconds may begin.
    """
    optuna = optimizer()
    first = [(), *space.singles]
    sampler = optuna.samplers.TPESampler(
        seed=seed, multivariate=True, n_startup_trials=len(first) + RANDOM_TRIALS
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for point in first:
        study.enqueue_trial(space.values(point))
    distributions = {
        axis.key: optuna.distributions.CategoricalDistribution(axis.values) for axis in space.axes
    }
    tried: dict[Point, Trial] = {}
    known = 0
    while len(tried) < space.size and known < PATIENCE:
        proposed = study.ask(distributions)
        point = space.point(proposed.params)
        known = known + 1 if point in tried else 0
        if point not in tried:
            if not affordable(expected_s(list(tried.values()))):
                break
            tried[point] = measure(point)
        if (rate := tried[point].rate) is not None:
            # The logarithm, as levers multiply.
            study.tell(proposed, math.log(rate))
        else:
            study.tell(proposed, state=optuna.trial.TrialState.PRUNED)
    return list(tried.values())


def neighbours(
    space: Space, measure: Callable[[Point], Trial], affordable: Callable[[float], bool]
) -> list[Trial]:
    """The default and each point with one difference from it, as far as there is time."""
    tried: list[Trial] = []
    for point in ((), *space.singles):
        if not affordable(expected_s(tried)):
            break
        tried.append(measure(point))
    return tried


def expected_s(trials: list[Trial]) -> float:
    """Seconds that another trial will take, from the mean of these; 0 before there is one."""
    took = [trial.seconds for trial in trials if trial.seconds]
    return sum(took) / len(took) if took else 0.0


def finalists(trials: list[Trial]) -> list[Point]:
    """The fastest point, and beside it the plainest that is nearly as fast, or else the second fastest.

    Of points that are slower than the default, the first of the trials, there are none.
    """
    default = trials[0].rate
    rates = {trial.point: rate for trial in trials if (rate := trial.rate) is not None and trial.point}
    faster = [point for point, rate in rates.items() if default is None or rate > default]
    if not faster:
        return []
    in_order = sorted(faster, key=rates.__getitem__, reverse=True)
    near = [point for point in in_order if rates[point] * (1 + THRESHOLD) >= rates[in_order[0]]]
    plainest = min(near, key=effort)
    return list(dict.fromkeys((in_order[0], plainest, *in_order)))[:FINALISTS]
