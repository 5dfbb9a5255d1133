"""Median step time with an interval that allows for autocorrelation, and the throughput that follows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainbench.measure.series import (
    Floats,
    Outlier,
    as_series,
    assumed_autocorrelation,
    outliers,
    trend,
    variance_inflation,
)
from trainbench.measure.steady import distinct_modes

# Below six independent values no pair of them encloses the median with 95 % (1 - 2 * 2^-5 = 94 %).
MIN_BLOCKS_FOR_INTERVAL = 6

# 97.5 % point of the Gaussian, for a two-sided 95 % interval.
Z_95 = 1.959964


@dataclass(frozen=True)
class Summary:
    """Statistics over blocks of the time of one optimizer step, in seconds."""

    blocks: int
    median: float
    mean: float
    p5: float
    p95: float
    cv: float | None  # standard deviation over mean; None with one block
    ci95: tuple[float, float] | None  # of the median; None with too few blocks
    ci95_reason: str  # how the interval was made, or why there is none
    effective_blocks: float  # independent blocks that would tell as much
    autocorrelation: float  # lag 1, as assumed for the interval (bias-corrected, with its allowance)
    outliers: tuple[Outlier, ...]
    drift_fraction: float  # change from first to last block over the median; positive is slower
    bimodal: bool


def summarise(block_step_times_s: Sequence[float] | Floats) -> Summary:
    """Statistics of the step times of blocks, in the order measured; nothing is dropped.

    Raises:
      ValueError: when the list is empty or a time is not positive and finite.
    """
    values = as_series(block_step_times_s)
    count = len(values)
    correlation = assumed_autocorrelation(values, fitted=1)
    inflation = variance_inflation(correlation)
    interval, reason = _median_interval(values, inflation)
    p5, p95 = np.quantile(values, (0.05, 0.95))
    mean = float(values.mean())
    return Summary(
        blocks=count,
        median=float(np.median(values)),
        mean=mean,
        p5=float(p5),
        p95=float(p95),
        cv=float(values.std(ddof=1)) / mean if count > 1 else None,
        ci95=interval,
        ci95_reason=reason,
        effective_blocks=count / inflation,
        autocorrelation=correlation,
        outliers=outliers(values),
        drift_fraction=trend(values).change_fraction,
        bimodal=distinct_modes(values) is not None,
    )


def _median_interval(values: Floats, inflation: float) -> tuple[tuple[float, float] | None, str]:
    """95 % interval of the median, and how it was made.

    The distribution-free interval for independent values (order statistics at n/2 -+ 0.98 sqrt(n), as in
    Conover 1999, section 3.2; interpolated between ranks) is stretched about the median by the square root
    of the variance inflation of a first-order autoregressive series. Stretching, unlike moving on to more
    extreme ranks, keeps one stalled block among ten from setting the upper end, and each side keeps its own
    length, so skew shows. Simulated coverage: tests/measure/test_statistics.py.

    Known limit: with a true lag-1 autocorrelation of 0.8 it covers about 88 % for 10 blocks and 93 % for 60;
    longer blocks are the cure.
    """
    count = len(values)
    if count < MIN_BLOCKS_FOR_INTERVAL:
        return None, f"an interval needs {MIN_BLOCKS_FOR_INTERVAL} blocks, there are {count}"
    ordered = np.sort(values)
    middle = (count - 1) / 2
    wanted = Z_95 * math.sqrt(count) / 2
    reach = min(wanted, middle)
    low, high = np.interp((middle - reach, middle + reach), np.arange(count), ordered)
    stretch = math.sqrt(inflation) * wanted / reach
    median = float(np.median(values))
    # Stretched as ratios: times are positive, and so must be the lower end.
    interval = (median * (float(low) / median) ** stretch, median * (float(high) / median) ** stretch)
    return interval, f"order statistics of {count} blocks, worth {count / inflation:.1f} independent ones"


@dataclass(frozen=True)
class Throughput:
    """Samples per second, with its 95 % interval (None where the step time has none)."""

    samples_per_s: float
    ci95: tuple[float, float] | None


def throughput(samples_per_step: int, summary: Summary) -> Throughput:
    """The rate of the median step: samples in one optimizer step over its time.

    The only place where a rate is computed, so that value and interval come from the same blocks. The long
    end of the time's interval is the low end of the rate's.

    Raises:
      ValueError: when `samples_per_step` is not positive.
    """
    if samples_per_step <= 0:
        raise ValueError(f"samples per step must be positive, got {samples_per_step}")
    interval = None
    if summary.ci95 is not None:
        fast_s, slow_s = summary.ci95
        interval = (samples_per_step / slow_s, samples_per_step / fast_s)
    return Throughput(samples_per_step / summary.median, interval)
