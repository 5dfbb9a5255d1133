"""How far apart two measured levels are, and how sure that is; everything on the scale of logarithms.

One run a side: each side's level is the median over its blocks. Its standard error is read off the interval
that the run itself reports (McKean & Schrader 1984), which allows for autocorrelation between blocks; the
difference of two such medians is taken as Price & Bonett (2002) do, with the degrees of freedom of Welch
(1947) from the number of independent blocks that would tell as much of the scatter. A drift over the window
is no noise that more blocks average away: the level is taken to lie within the whole drift to either side,
the middle being likeliest (triangular distribution; JCGM 100:2008, the GUM, 4.3.9).

Several runs a side: the runs are the unit, as processes differ from one another by more than blocks do.
Welch's t test of the runs' medians, which takes a side of two or three runs that lie close by chance for a
sure one, and so with no less an error than Student's, which holds where nothing differs; where runs were
interleaved, Student's paired t test by round; a single run against several is judged as one more draw
(Crawford & Howell 1998).

Several tests in one comparison share one false alarm rate (Bonferroni). All of it is simulated in
tests/results/test_compare_statistics.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import nctdtr, nctdtrinc, ndtr, ndtri, stdtrit  # type: ignore[import-untyped]

from trainbench.measure.series import Floats
from trainbench.measure.statistics import Z_95, summarise

# False alarms that are accepted of a comparison in which nothing differs, both directions together.
FALSE_ALARMS = 0.01

# Chance with which the smallest detectable difference would be seen.
POWER = 0.95

# Over the product of the sides' counts of blocks, it scales the nominal rate of false alarms, so that
# FALSE_ALARMS holds. The worst case is a drift that the noise hides, 2 % in each run and up or down by
# chance: it moves the median of a long run by more standard errors than that of a short one. That is also why
# a drift counts where it is not significant: left out, such runs raise alarms in 8 % of cases. Calibrated by
# simulation for 6 to 120 blocks, autocorrelations to 0.6 and noise of 0.3 to 5 %; for few blocks, whose
# interval is wide already, LARGEST_CALIBRATION is enough.
BLOCKS_CALIBRATION = 400.0
LARGEST_CALIBRATION = 4.0

# The same for the other error, so that POWER holds from 20 blocks on; with 12 it is about 0.8.
MISSES_CALIBRATION = 0.3

# Far more than any comparison has, and still finite.
_MANY = 1e6


@dataclass(frozen=True)
class Level:
    """Logarithm of a level, its standard error, and the degrees of freedom of that error."""

    log: float
    error: float
    degrees: float


@dataclass(frozen=True)
class Difference:
    """Logarithm of the ratio new / base with its standard error.

    Attributes:
      calibration, misses: what the nominal rates are scaled by, of false alarms and of missed changes.
    """

    log_ratio: float
    error: float
    degrees: float
    calibration: float = 1.0
    misses: float = 1.0

    def interval(self, false_alarms: float) -> tuple[float, float]:
        """Ends of the interval of the logarithm that holds the truth but for this share of cases."""
        reach = self._critical(false_alarms) * self.error
        return self.log_ratio - reach, self.log_ratio + reach

    def detectable(self, false_alarms: float, threshold: float) -> float:
        """The smallest change (as a logarithm) that would have been declared with the chance `POWER`.

        Both conditions have to be met: significant (by the noncentral t distribution, e.g. Cohen 1988,
        chapter 2), and above `threshold` (as a logarithm).
        """
        significant = float(nctdtrinc(self._degrees, (1 - POWER) * self.misses, self._critical(false_alarms)))
        return max(significant * self.error, threshold + float(ndtri(POWER)) * self.error)

    @property
    def _degrees(self) -> float:
        # Below one degree the quantiles of Student's t are too far out to be of use, or of harm.
        return min(max(self.degrees, 1.0), _MANY)

    def _critical(self, false_alarms: float) -> float:
        return float(stdtrit(self._degrees, 1 - false_alarms * self.calibration / 2))


def of_blocks(step_times_s: Sequence[float] | Floats) -> Level | None:
    """The level of one run from its blocks' step times, in seconds; None with too few for an interval."""
    summary = summarise(step_times_s)
    if summary.ci95 is None:
        return None
    low, high = summary.ci95
    error = math.log(high / low) / (2 * Z_95)
    drift = abs(summary.drift_fraction) / math.sqrt(6)
    correlation = summary.autocorrelation**2
    # Autocorrelation costs the scatter of a series less than its mean (Bayley & Hammersley 1946).
    scatter_blocks = summary.blocks * (1 - correlation) / (1 + correlation)
    return Level(math.log(summary.median), math.hypot(error, drift), scatter_blocks - 1)


def of_runs(values: Sequence[float]) -> Level:
    """The level of several runs: the mean of the logarithms of their `values`.

    Raises:
      ValueError: fewer than two.
    """
    logs = _logs(values)
    return Level(float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(len(logs)), len(logs) - 1)


def between(base: Level, new: Level) -> Difference:
    """The difference of two independent levels, with Welch's (1947) degrees of freedom.

    >>> round(between(Level(0.0, 1.0, 9), Level(0.0, 1.0, 9)).degrees)
    18
    """
    total = base.error**2 + new.error**2
    if total == 0:
        return Difference(new.log - base.log, 0.0, _MANY)
    shares = ((side.error**2 / total) ** 2 / max(side.degrees, 1.0) for side in (base, new))
    return Difference(new.log - base.log, math.sqrt(total), 1 / sum(shares))


def of_two_runs(base_s: Sequence[float] | Floats, new_s: Sequence[float] | Floats) -> Difference | None:
    """The difference between one run a side from their blocks' step times; None with too few blocks."""
    base, new = of_blocks(base_s), of_blocks(new_s)
    if base is None or new is None:
        return None
    calibration = min(BLOCKS_CALIBRATION / (len(base_s) * len(new_s)), LARGEST_CALIBRATION)
    return replace(between(base, new), calibration=calibration, misses=MISSES_CALIBRATION)


def of_repeats(base: Sequence[float], new: Sequence[float]) -> Difference | None:
    """The difference between sides of one value a run; None if no side has two of them.

    One value against several counts as one more draw, with the spread of the others (Crawford & Howell
    1998).
    """
    if len(base) > 1 and len(new) > 1:
        apart = between(of_runs(base), of_runs(new))
        return replace(apart, error=max(apart.error, _pooled_error(base, new)))
    if len(base) + len(new) < 3 or min(len(base), len(new)) == 0:
        return None
    many = max(base, new, key=len)
    level = of_runs(many)
    error = level.error * math.sqrt(len(many) + 1)
    change = float(_logs(new).mean() - _logs(base).mean())
    return Difference(change, error, level.degrees)


def _pooled_error(base: Sequence[float], new: Sequence[float]) -> float:
    """Standard error of the difference of the mean logarithms if both sides scatter alike (Student 1908)."""
    sides = (_logs(base), _logs(new))
    squares = sum(float(np.sum((side - side.mean()) ** 2)) for side in sides)
    variance = squares / (len(base) + len(new) - 2)
    return math.sqrt(variance * (1 / len(base) + 1 / len(new)))


def of_rounds(base: Sequence[float], new: Sequence[float]) -> Difference | None:
    """The difference between values that were measured in turn, pair by pair; None with fewer than two.

    Raises:
      ValueError: the sides are not equally long.
    """
    if len(base) != len(new):
        raise ValueError(f"rounds have one value a side, got {len(base)} and {len(new)}")
    if len(base) < 2:
        return None
    changes = _logs(new) - _logs(base)
    error = float(changes.std(ddof=1)) / math.sqrt(len(changes))
    return Difference(float(changes.mean()), error, len(changes) - 1)


def _logs(values: Sequence[float]) -> Floats:
    return np.log(np.asarray(values, dtype=np.float64))


def rounds_needed(change: float, noise: float, threshold: float) -> int:
    """Rounds, an even number, after which a slow-down by `change` is declared with the chance `POWER`.

    Args:
      noise: standard deviation between runs of the same program, as a fraction.
      threshold: what a change has to exceed besides being significant, as a fraction.

    The power of the paired t test (noncentral t, e.g. Cohen 1988, chapter 2), less the chance that the
    observed change stays below the threshold.

    >>> rounds_needed(0.03, 0.01, 0.02)
    10
    """
    shift, least = math.log1p(change), math.log1p(threshold)
    for rounds in range(2, 1001, 2):
        error = noise * math.sqrt(2 / rounds)
        critical = stdtrit(rounds - 1, 1 - FALSE_ALARMS / 2)
        significant = 1 - nctdtr(rounds - 1, shift / error, critical)
        if significant + ndtr((shift - least) / error) - 1 >= POWER:
            return rounds
    raise ValueError(f"a change of {change} can't be told from the threshold {threshold}")
