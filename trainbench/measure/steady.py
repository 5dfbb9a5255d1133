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
    OUTLIER_SIGMAS,
    Floats,
    Modes,
    as_series,
    robust_sigma,
    trend,
    two_modes,
)

# In warm-up a trend counts when chance gives as strong a one in no more than one case of six, the smallest
# probability that three blocks can reach (3! orders). Erring this way only prolongs the warm-up.
WARMUP_TREND_PROBABILITY = 1 / 6

# In the timed blocks a trend counts at the two-sided 1 % level: erring this way discredits a good run.
TIMED_TREND_PROBABILITY = 0.01

# Scatter above which no step time is worth reporting as the steady one, as a share of the median. The noise
# of a shared CPU is 1 to 10 %.
MAX_SCATTER_FRACTION = 0.20

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
    window stands apart, there is no trend (Theil-Sen change, with the probability of the Mann-Kendall test),
    and the scatter is bounded.
    """
    if len(block_step_times_s) < window:
        found = len(block_step_times_s)
        return Steadiness(False, f"{found} warm-up blocks, the criterion looks at {window}")
    recent = as_series(block_step_times_s[-window:])
    apart = _stands_apart(recent)
    if apart is not None:
        return Steadiness(False, f"a block early in the last {window} is {apart:+.1%} off their median")
    change = trend(recent).change_fraction
    chance = order_probability(recent)
    if abs(change) > MATERIAL_FRACTION and chance <= WARMUP_TREND_PROBABILITY * (1 + 1e-9):
        return Steadiness(False, f"step time moved by {change:+.1%} over the last {window} warm-up blocks")
    scatter = robust_sigma(recent) / float(np.median(recent))
    if scatter > MAX_SCATTER_FRACTION:
        return Steadiness(False, f"the last {window} warm-up blocks scatter by {scatter:.0%}")
    return Steadiness(
        True, f"the last {window} warm-up blocks moved by {change:+.1%} and scatter {scatter:.1%}"
    )


def _stands_apart(recent: Floats) -> float | None:
    middle = float(np.median(recent))
    reach = max(OUTLIER_SIGMAS * robust_sigma(recent), MATERIAL_FRACTION * middle)
    early = recent[: -(-len(recent) // 3)]
    worst = float(early[int(np.argmax(np.abs(early - middle)))])
    return worst / middle - 1 if abs(worst - middle) > reach else None


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

    One stalled block is no unsteadiness (the median does not feel it); it is listed as an outlier.
    """
    values = as_series(block_step_times_s)
    if len(values) < MIN_TIMED_BLOCKS:
        return Steadiness(False, f"{len(values)} timed blocks are too few to tell, {MIN_TIMED_BLOCKS} needed")
    line = trend(values)
    limit = -float(stdtrit(len(values) - 2, TIMED_TREND_PROBABILITY / 2))
    if abs(line.change_fraction) > MATERIAL_FRACTION and abs(line.t_statistic) > limit:
        return Steadiness(False, f"step time drifted by {line.change_fraction:+.1%} over the timed blocks")
    modes = two_modes(values, min_share=MIN_MODE_SHARE)
    if modes is not None and _apart(modes, values):
        shares = f"{1 - modes.slow_share:.0%} near {modes.fast_s:.4g} s, {modes.slow_share:.0%} near"
        return Steadiness(False, f"step time has two levels: {shares} {modes.slow_s:.4g} s")
    scatter = robust_sigma(values) / float(np.median(values))
    if scatter > MAX_SCATTER_FRACTION:
        limits = f"limit {MAX_SCATTER_FRACTION:.0%}"
        return Steadiness(False, f"the timed blocks scatter by {scatter:.0%} of their median ({limits})")
    return Steadiness(
        True, f"the {len(values)} timed blocks moved by {line.change_fraction:+.1%} and scatter {scatter:.1%}"
    )


def is_bimodal(values: Floats) -> bool:
    """Whether the blocks lie at two levels that are clearly and materially apart."""
    modes = two_modes(values, min_share=MIN_MODE_SHARE)
    return len(values) >= MIN_TIMED_BLOCKS and modes is not None and _apart(modes, values)


def _apart(modes: Modes, values: Floats) -> bool:
    """Ashman's D above what the best division of one-mode noise reaches in 1 run of 100.

    The text-book limit of 2 holds for a division known beforehand. The best division of n Gaussian or
    log-normal (sigma 0.8) values has D up to 4 + 45 / n, found by simulation for n = 6 to 60 and
    autocorrelations up to 0.6 (checked in tests/measure/test_steady.py).
    """
    material = modes.slow_s - modes.fast_s > MATERIAL_FRACTION * float(np.median(values))
    return material and modes.separation > 4 + 45 / len(values)


def verdict(warmup: Steadiness, timed: Steadiness) -> Steadiness:
    """Steady only when warm-up settled and the timed blocks held still; the reason names both."""
    if warmup.steady and timed.steady:
        return Steadiness(True, f"{timed.reason}; {warmup.reason}")
    failures = [text.reason for text in (timed,) if not text.steady]
    if not warmup.steady:
        failures.append(f"warm-up never settled: {warmup.reason}")
    return Steadiness(False, "; ".join(failures))
