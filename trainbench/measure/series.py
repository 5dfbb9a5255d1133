"""What a series of block times looks like: trend, autocorrelation, outliers, two modes.

All functions take step times in seconds in the order they were measured and are pure. They use ranks,
medians and pairwise slopes because step times are skewed (a step can be late, hardly early) and because one
stalled block must not hide, or imitate, anything else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Makes the median absolute deviation an estimate of a Gaussian's standard deviation: 1 / Phi^-1(3/4).
MAD_TO_SIGMA = 1.4826

# Differences below this are not worth a word: it is the run-to-run scatter that published throughput figures
# of one machine show among themselves.
MATERIAL_FRACTION = 0.03

# An outlier is this many robust standard deviations from the median. Iglewicz & Hoaglin (1993) take 3.5 for
# large samples; with ten Gaussian blocks that would cry wolf in 13 runs of 100, six does so in 1.5.
OUTLIER_SIGMAS = 6.0

# Largest autocorrelation assumed: ten blocks cannot tell 0.8 from a drift, which is reported as such.
MAX_AUTOCORRELATION = 0.8

# Allowance for the uncertainty of a lag-1 estimate from n blocks, divided by n. Calibrated by simulation (see
# tests/measure/test_statistics.py): the smallest value with which the interval of the median covers the truth
# in at least 94 % of runs for 10 to 60 blocks and autocorrelations of 0 to 0.6.
AUTOCORRELATION_ALLOWANCE = 4.5

# Trends are fitted to at most this many points (longer series are averaged into bins): pairwise slopes need
# memory that grows with the square.
MAX_TREND_POINTS = 256


@dataclass(frozen=True)
class Outlier:
    """One block far from the others: kept in the statistics, and shown."""

    block: int  # index among the timed blocks, from 0
    step_time_s: float
    ratio: float  # step time over the median step time


@dataclass(frozen=True)
class Trend:
    """A straight line through the block times."""

    change_fraction: float  # change from the first to the last block, over the median; positive is slower
    t_statistic: float  # the change over its standard error


@dataclass(frozen=True)
class Modes:
    """The best division of the block times into a fast and a slow group."""

    fast_s: float  # mean step time of the faster group
    slow_s: float
    slow_share: float  # share of the blocks in the slower group
    separation: float  # distance of the means in within-group standard deviations


def robust_sigma(values: Floats) -> float:
    """Standard deviation of `values` estimated from the median absolute deviation."""
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))


def rank_autocorrelation(values: Floats) -> float:
    """Lag-1 autocorrelation of the ranks, uncorrected; 0 for a constant series.

    Ranks (Wald & Wolfowitz 1943, Bartels 1982) rather than values, so that one stall does not swamp it.
    """
    ordered = np.sort(values)
    # Tied values share the mean of their ranks.
    ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    deviations = ranks - ranks.mean()
    total = float(deviations @ deviations)
    return float(deviations[1:] @ deviations[:-1]) / total if total > 0 else 0.0


def assumed_autocorrelation(values: Floats, *, fitted: int) -> float:
    """Lag-1 autocorrelation to reckon with, between 0 and `MAX_AUTOCORRELATION`.

    The estimate is corrected for its small-sample bias, which is -(fitted + 4 r) / n to first order after
    fitting a mean (fitted=1) or a line (fitted=2): Marriott & Pope (1954), Kendall (1954). An allowance for
    what is left of its uncertainty is added. Negative values count as 0, since believing them would narrow
    the interval on the strength of chance.
    """
    count = len(values)
    if count <= 4 or np.ptp(values) == 0:
        return 0.0
    corrected = (count * rank_autocorrelation(values) + fitted) / (count - 4)
    return float(np.clip(corrected + AUTOCORRELATION_ALLOWANCE / count, 0.0, MAX_AUTOCORRELATION))


def variance_inflation(autocorrelation: float) -> float:
    """Variance of the mean of a first-order autoregressive series over that of independent values.

    (1 + r) / (1 - r), the limit for long series: Bayley & Hammersley (1946).

    >>> variance_inflation(0.5)
    3.0
    """
    return (1 + autocorrelation) / (1 - autocorrelation)


def trend(values: Floats) -> Trend:
    """The Theil-Sen line (Sen 1968): median of all pairwise slopes, and how sure it is.

    Its standard error is that of a least-squares slope times pi / 3 (the asymptotic efficiency for Gaussian
    noise), inflated for the autocorrelation of the residuals, which are clipped so that a stall does not
    count as noise. Needs three blocks; fewer give no change and no significance.
    """
    points = _binned(values)
    count = len(points)
    if count < 3:
        return Trend(0.0, 0.0)
    time = np.arange(count)
    early, late = np.triu_indices(count, 1)
    slope = float(np.median((points[late] - points[early]) / (late - early)))
    change = slope * (count - 1)
    error = _slope_error(points - slope * time) * (count - 1)
    # A perfect line has no error: its change is certain.
    statistic = change / error if error > 0 else math.copysign(math.inf, change) if change else 0.0
    return Trend(change / float(np.median(points)), statistic)


def _slope_error(residuals: Floats) -> float:
    count = len(residuals)
    centred = residuals - np.median(residuals)
    reach = OUTLIER_SIGMAS * robust_sigma(centred)
    clipped = np.clip(centred, -reach, reach)
    variance = float(np.sum((clipped - clipped.mean()) ** 2)) / (count - 2)
    inflation = variance_inflation(assumed_autocorrelation(residuals, fitted=2))
    return float(np.sqrt(variance * inflation * 12 * (np.pi / 3) / (count * (count**2 - 1))))


def _binned(values: Floats) -> Floats:
    width = -(-len(values) // MAX_TREND_POINTS)
    whole = len(values) // width * width
    return values[:whole].reshape(-1, width).mean(axis=1)


def outlier_distance_s(values: Floats) -> float:
    """Distance from the median beyond which a block stands apart, in the unit of `values`."""
    return max(OUTLIER_SIGMAS * robust_sigma(values), MATERIAL_FRACTION * float(np.median(values)))


def outliers(values: Floats) -> tuple[Outlier, ...]:
    """Blocks more than `OUTLIER_SIGMAS` robust deviations and a material share away from the median."""
    middle = float(np.median(values))
    reach = outlier_distance_s(values)
    far = np.flatnonzero(np.abs(values - middle) > reach)
    return tuple(Outlier(int(block), float(values[block]), float(values[block]) / middle) for block in far)


def two_modes(values: Floats, *, min_share: float) -> Modes | None:
    """The division into two groups with the least scatter inside them (Fisher 1958, Otsu 1979).

    `separation` is Ashman's D with pooled deviations (Ashman, Bird & Zepf 1994). None when the series is
    constant or too short for both groups to have two blocks and `min_share` of all.
    """
    ordered = np.sort(values)
    count = len(ordered)
    smallest = max(2, int(np.ceil(min_share * count)))
    sizes = np.arange(smallest, count - smallest + 1)
    if len(sizes) == 0 or ordered[0] == ordered[-1]:
        return None
    below = np.cumsum(ordered - ordered.mean())[sizes - 1]
    # Scatter between the groups; what is inside them is the rest of a constant total.
    between = below**2 / (sizes * (count - sizes))
    size = int(sizes[int(np.argmax(between))])
    fast, slow = float(ordered[:size].mean()), float(ordered[size:].mean())
    within = math.sqrt((_scatter(ordered[:size]) + _scatter(ordered[size:])) / (count - 2))
    separation = (slow - fast) / within if within > 0 else math.inf
    return Modes(fast, slow, (count - size) / count, separation)


def _scatter(values: Floats) -> float:
    return float(np.sum((values - values.mean()) ** 2))


def as_series(step_times_s: Sequence[float] | Floats) -> Floats:
    """The block step times as an array, in seconds.

    Raises:
      ValueError: when there is none, or one is not a positive finite number.
    """
    values = np.asarray(step_times_s, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"expected a non-empty list of step times, got shape {values.shape}")
    if not np.all(np.isfinite(values)) or np.min(values) <= 0:
        raise ValueError(f"step times must be positive and finite, got a minimum of {np.min(values)} s")
    return values
