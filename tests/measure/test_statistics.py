"""Summaries, and by simulation whether their intervals are true."""

import numpy as np
import pytest

from trainbench.measure.statistics import MIN_BLOCKS_FOR_INTERVAL, summarise, throughput

RUNS = 2000


@pytest.mark.parametrize("skewed", [False, True], ids=["gaussian", "skewed"])
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
@pytest.mark.parametrize(("blocks", "widest"), [(10, 2.3), (20, 1.7), (30, 1.6), (60, 1.4)])
def test_the_interval_covers_the_true_median_and_is_not_absurdly_wide(
    block_times, blocks, widest, rho, skewed
):
    """At least 93 % of 2,000 runs; median width against the interval of one who knows the distribution.

    The oracle's interval is the central 95 % of the sample medians themselves, so it knows the
    autocorrelation, the scale and the shape; no method that sees one run can be as narrow.
    """
    rng = np.random.default_rng([blocks, int(10 * rho), skewed])
    runs = block_times(rng, RUNS, blocks, rho, cv=0.03, skewed=skewed)
    low, high = np.array([summarise(run).ci95 for run in runs]).T
    coverage = np.mean((low <= 1) & (high >= 1))
    oracle = np.ptp(np.quantile(np.median(runs, axis=1), (0.025, 0.975)))
    assert coverage >= 0.93
    assert np.median(high - low) / oracle < widest


def test_plain_numbers():
    summary = summarise([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    assert (summary.blocks, summary.median, summary.mean) == (7, 4.0, 4.0)
    assert (summary.p5, summary.p95) == pytest.approx((1.3, 6.7))
    assert summary.cv == pytest.approx(2.160247 / 4)
    assert summary.drift_fraction == pytest.approx(1.5)


def test_independent_blocks_give_the_textbook_interval():
    """For 30 independent values the 95 % interval runs from about the 10th to the 21st."""
    values = 1 + np.random.default_rng(5).permutation(30) / 100
    summary = summarise(values)
    low, high = summary.ci95
    stretch = np.sqrt(30 / summary.effective_blocks)
    assert 1 < stretch < 1.35
    assert (low, high) == pytest.approx((1.145 - 0.054 * stretch, 1.145 + 0.054 * stretch), abs=0.002)


def test_autocorrelation_widens_the_interval():
    shuffled = 1 + 0.03 * np.random.default_rng(0).standard_normal(40)
    sorted_in_runs = np.concatenate([np.sort(shuffled)[::2], np.sort(shuffled)[1::2][::-1]])
    loose, tight = summarise(sorted_in_runs), summarise(shuffled)
    assert np.ptp(loose.ci95) > 1.5 * np.ptp(tight.ci95)
    assert loose.effective_blocks < 10 < tight.effective_blocks <= 40


def test_one_block_has_a_median_and_no_interval():
    summary = summarise([0.5])
    assert (summary.median, summary.p5, summary.p95) == (0.5, 0.5, 0.5)
    assert summary.cv is None
    assert summary.ci95 is None
    assert summary.ci95_reason == "an interval needs 6 blocks, there are 1"


@pytest.mark.parametrize("count", range(1, 12))
def test_an_interval_needs_six_blocks(count):
    summary = summarise(1 + np.random.default_rng(count).random(count))
    assert (summary.ci95 is None) == (count < MIN_BLOCKS_FOR_INTERVAL)
    assert 0 < summary.effective_blocks <= count


@pytest.mark.parametrize("count", [6, 10, 60])
def test_a_constant_series_has_an_interval_of_no_width(count):
    summary = summarise([0.1] * count)
    assert summary.ci95 == (pytest.approx(0.1), pytest.approx(0.1))
    assert np.ptp(summary.ci95) < 1e-15
    assert (summary.cv, summary.drift_fraction) == (pytest.approx(0, abs=1e-12), 0)
    assert not summary.bimodal
    assert summary.outliers == ()


def test_the_interval_contains_the_median_and_is_positive_even_in_wild_scatter():
    for seed in range(50):
        summary = summarise(np.random.default_rng(seed).lognormal(sigma=2.0, size=8))
        low, high = summary.ci95
        assert 0 < low <= summary.median <= high


def test_one_stall_among_ten_blocks_does_not_set_the_upper_end():
    values = list(1 + 0.01 * np.random.default_rng(1).standard_normal(10))
    values[4] = 8.0
    summary = summarise(values)
    assert [one.block for one in summary.outliers] == [4]
    assert summary.ci95[1] < 1.1


@pytest.mark.parametrize("bad", [[], [0.1, 0.0], [0.1, -1.0], [0.1, float("nan")], [[0.1]]])
def test_times_that_are_no_times_are_refused(bad):
    with pytest.raises(ValueError, match="step times"):
        summarise(bad)


def test_throughput_inverts_the_interval():
    summary = summarise(np.linspace(0.09, 0.11, 21))
    rate = throughput(32, summary)
    assert rate.samples_per_s == pytest.approx(320)
    assert rate.ci95 == pytest.approx((32 / summary.ci95[1], 32 / summary.ci95[0]))
    assert rate.ci95[0] < 320 < rate.ci95[1]


def test_throughput_without_interval_has_none():
    assert throughput(32, summarise([0.1])).ci95 is None


def test_throughput_of_no_samples_is_refused():
    with pytest.raises(ValueError, match="positive"):
        throughput(0, summarise([0.1]))
