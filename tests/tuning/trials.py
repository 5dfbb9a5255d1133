"""Trials of known speed, without processes."""

from tests.results.comparing import loaded, timed
from trainbench.tuning.trials import Trial


def trial(point, step_s=0.1, *, seed=0, seconds=10.0, problem="", **fields):
    """A trial of a point whose step takes about `step_s`; one with a problem has no record."""
    if problem:
        return Trial(point, seconds, None, problem)
    return Trial(point, seconds, loaded(timed(step_s, seed=seed, noise=0.0005, **fields))[0])
