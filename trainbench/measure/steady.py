"""Is the step time steady: when warm-up may end, and whether the timed blocks held still.

Why a criterion and not a count: warm-up has no fixed length and sometimes never ends (Barrett et al. 2017,
"Virtual machine warmup blows hot and cold"), and the initial state must be found before anything is averaged
(Kalibera & Jones 2013, "Rigorous benchmarking in reasonable time"). pyperf compares two halves of twenty
values; a training step can take seconds, so this criterion works from three blocks on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]

from trainbench.measure.series import (
    MATERIAL_FRACTION,
    Floats,
    Modes,
    as_series,
    outlier_distance_s,
    robust_sigma,
    trend,
    two_modes,
)

# In warm-up a trend counts when chance gives as strong a one in no more than one case of six, the smallest
# probability that three blocks can reach (3! orders). Erring this way only prolongs the warm-up.
WARMUP_TREND_PROBABILITY = 1 / 6

# ... or when the change is this many times the scatter about the median, whatever the order: for independent
# noise its standard deviation is 1.3 times over five blocks and less over more.
WARMUP_CHANGE_OVER_SCATTER = 3.0

# In the timed blocks a trend counts at the two-sided 1 % level: erring this way discredits a good run.
TIMED_TREND_PROBABILITY = 0.01

# Scatter above which no step time is worth reporting as the steady one, as a share of the median. The noise
# of a shared CPU is 1 to 10 %.
MAX_SCATTER_FRACTION = 0.20

# Change over the timed blocks above which they are not called steady, significant or not: chance may explain
# it, but then the blocks are too few for the noise. Noise of 3 % with an autocorrelation of 0.6 moves ten
# blocks by 5 % (one standard deviation).
MAX_CHANGE_FRACTION = 0.15

# Fewer timed blocks show neither drift nor two modes (with five, chance orders them strictly in 1 of 60).
MIN_TIMED_BLOCKS = 6

# A second mode with fewer blocks is a handful of outliers, and reported as those.
MIN_MODE_SHARE = 0.2


@dataclass(frozen=True)
class Steadiness:
    """A verdict and the numbers behind it."""

    steady: bool
    reason: str


def settled(block_step_times_s: Sequence[float], window: int) -> Steadiness:
    """Whether the last `window` warm-up blocks show the end of warm-up.

    Three conditions, each with a share of the median that is material: no block in the first third of the
    window stands apart, there is no trend (a Theil-Sen change that is either large against the scatter or
    improbably ordered by the Mann-Kendall test), and the scatter is bounded.
    """
    if len(block_step_times_s) < window:
        found = len(block_step_times_s)
        return Steadiness(False, f"{found} warm-up blocks, the criterion looks at {window}")
    recent = as_series(block_step_times_s[-window:])
    apart = _stands_apart(recent)
    if apart is not None:
        return Steadiness(False, f"a block early in the last {window} is {apart:+.1%} off their median")
    change = trend(recent).change_fraction
    scatter = robust_sigma(recent) / float(np.median(recent))
    ordered = order_probability(recent) <= WARMUP_TREND_PROBABILITY * (1 + 1e-9)
    if abs(change) > MATERIAL_FRACTION and (ordered or abs(change) > WARMUP_CHANGE_OVER_SCATTER * scatter):
        return Steadiness(False, f"step time moved by {change:+.1%} over the last {window} warm-up blocks")
    if scatter > MAX_SCATTER_FRACTION:
        return Steadiness(False, f"the last {window} warm-up blocks scatter by {scatter:.0%}")
    return Steadiness(
        True, f"the last {window} warm-up blocks moved by {change:+.1%} and scatter {scatter:.1%}"
    )


def _stands_apart(recent: Floats) -> float | None:
    middle = float(np.median(recent))
    early = recent[: -(-len(recent) // 3)]
    worst = float(early[int(np.argmax(np.abs(early - middle)))])
    return worst / middle - 1 if abs(worst - middle) > outlier_distance_s(recent) else None


def order_probability(values: Floats) -> float:
    """Chance that independent values are ordered at least as strongly as these, in their direction.

    The exact distribution of the Mann-Kendall score (Mann 1945; Kendall 1938): pairs out of order are counted
    by Mahonian numbers. Ties weaken the score and so make the answer cautious.

    >>> round(order_probability(np.array([3.0, 2.0, 1.0])), 4)
    0.1667
    """
    count = len(values)
    early, late = np.triu_indices(count, 1)
    score = abs(int(np.sign(values[late] - values[early]).sum()))
    probabilities = np.ones(1)
    for length in range(2, count + 1):
        probabilities = np.convolve(probabilities, np.full(length, 1 / length))
    against = (len(early) - score) // 2
    return float(probabilities[: against + 1].sum())


def held_still(block_step_times_s: Sequence[float] | Floats) -> Steadiness:
    """Whether the timed blocks stayed at one level: no drift, one mode, bounded scatter.

    False alarms: below 3 % of runs for scatter of 1 to 3 % and autocorrelations up to 0.6. With scatter of
    10 % and strong autocorrelation, ten blocks often move by more than `MAX_CHANGE_FRACTION` and are then
    not called steady, which asks for more or longer blocks.

    One stalled block is no unsteadiness (the median does not feel it); it is listed as an outlier.
    """
    values = as_series(block_step_times_s)
    if len(values) < MIN_TIMED_BLOCKS:
        return Steadiness(False, f"{len(values)} timed blocks are too few to tell, {MIN_TIMED_BLOCKS} needed")
    line = trend(values)
    limit = -float(stdtrit(len(values) - 2, TIMED_TREND_PROBABILITY / 2))
    change = abs(line.change_fraction)
    if change > MAX_CHANGE_FRACTION or (change > MATERIAL_FRACTION and abs(line.t_statistic) > limit):
        return Steadiness(False, f"step time drifted by {line.change_fraction:+.1%} over the timed blocks")
    modes = distinct_modes(values)
    if modes is not None:
        shares = f"{1 - modes.slow_share:.0%} near {modes.fast_s:.4g} s, {modes.slow_share:.0%} near"
        return Steadiness(False, f"step time has two levels: {shares} {modes.slow_s:.4g} s")
    scatter = robust_sigma(values) / float(np.median(values))
    if scatter > MAX_SCATTER_FRACTION:
        limits = f"limit {MAX_SCATTER_FRACTION:.0%}"
        return Steadiness(False, f"the timed blocks scatter by {scatter:.0%} of their median ({limits})")
    return Steadiness(
        True, f"the {len(values)} timed blocks moved by {line.change_fraction:+.1%} and scatter {scatter:.1%}"
    )


def distinct_modes(values: Floats) -> Modes | None:
    """The two levels at which the blocks lie, when they are clearly and materially apart; else None.

    Clearly: Ashman's D above what the best division of one-mode noise reaches in 1 run of 100. The textbook
    limit of 2 holds for a division known beforehand; the best division of n Gaussian or log-normal
    (sigma 0.8) values has D up to 4 + 45 / n, found by simulation for n = 6 to 60 and autocorrelations up to
    0.6 (the rate of false alarms is checked in tests/measure/test_steady.py).
    """
    modes = two_modes(values, min_share=MIN_MODE_SHARE)
    if modes is None or len(values) < MIN_TIMED_BLOCKS:
        return None
    material = modes.slow_s - modes.fast_s > MATERIAL_FRACTION * float(np.median(values))
    return modes if material and modes.separation > 4 + 45 / len(values) else None


def verdict(warmup: Steadiness, timed: Steadiness) -> Steadiness:
    """Steady only when warm-up settled and the timed blocks held still; the reason names both."""
    if warmup.steady and timed.steady:
        return Steadiness(True, f"{timed.reason}; {warmup.reason}")
    failures = [text.reason for text in (timed,) if not text.steady]
    if not warmup.steady:
        failures.append(f"warm-up never settled: {warmup.reason}")
    return Steadiness(False, "; ".join(failures))
