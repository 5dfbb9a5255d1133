"""The steady-state criteria: what they must catch, and how often they cry wolf."""

import itertools

import numpy as np
import pytest

from trainbench.measure.series import outliers, trend
from trainbench.measure.steady import Steadiness, held_still, order_probability, settled, verdict

RUNS = 400


@pytest.mark.parametrize("blocks", [6, 10, 30, 60])
def test_steady_noise_is_seldom_called_unsteady(block_times, blocks):
    """Below 5 % for autocorrelations up to 0.6 and scatter of 1 to 3 % (simulated at length: 0 to 3 %)."""
    for rho, cv in itertools.product((0.0, 0.3, 0.6), (0.01, 0.03)):
        runs = block_times(np.random.default_rng(blocks), RUNS, blocks, rho, cv=cv)
        alarms = np.mean([not held_still(run).steady for run in runs])
        assert alarms < 0.05, (rho, cv)


@pytest.mark.parametrize(("blocks", "least"), [(10, 0.75), (20, 0.95), (60, 0.99)])
def test_a_drift_of_ten_per_cent_is_found_in_noise_of_one(block_times, blocks, least):
    runs = block_times(np.random.default_rng(1), RUNS, blocks, 0.0, cv=0.01) + np.linspace(0, 0.1, blocks)
    verdicts = [held_still(run) for run in runs]
    assert np.mean([not one.steady for one in verdicts]) > least
    assert any("drifted by +" in one.reason for one in verdicts)


@pytest.mark.parametrize(("blocks", "least"), [(10, 0.7), (20, 0.95), (60, 0.99)])
def test_two_levels_ten_per_cent_apart_are_found_in_noise_of_one(block_times, blocks, least):
    rng = np.random.default_rng(2)
    slow = rng.permuted(np.tile(np.arange(blocks) % 2, (RUNS, 1)), axis=1)
    runs = block_times(rng, RUNS, blocks, 0.0, cv=0.01) + 0.1 * slow
    assert np.mean([not held_still(run).steady for run in runs]) > least


def test_a_drift_that_is_certain_but_small_is_not_material():
    line = np.linspace(1.0, 1.02, 30)
    assert trend(line).t_statistic > 100
    assert held_still(line).steady


def test_a_falling_series_is_a_drift_too():
    assert "drifted by -" in held_still(np.linspace(1.2, 1.0, 20)).reason


def test_one_stall_is_not_unsteadiness():
    values = 1 + 0.01 * np.random.default_rng(4).standard_normal(20)
    for block in range(20):
        stalled = values.copy()
        stalled[block] = 3.0
        assert held_still(stalled).steady, block
        assert [one.block for one in outliers(stalled)] == [block]


def test_a_large_change_is_not_steady_even_where_chance_could_make_it():
    wandering = np.array([1.0, 1.3, 1.05, 1.2, 1.1, 1.25, 1.15, 1.35, 1.1, 1.4])
    assert trend(wandering).t_statistic < 3
    assert "drifted by +" in held_still(wandering).reason


def test_wild_scatter_is_not_steady():
    values = np.random.default_rng(5).lognormal(sigma=0.5, size=30)
    assert "scatter by" in held_still(values).reason


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_timed_blocks_say_so(count):
    assert held_still([1.0] * count) == Steadiness(
        False, f"{count} timed blocks are too few to tell, 6 needed"
    )


@pytest.mark.parametrize("window", [3, 5, 8])
@pytest.mark.parametrize("cv", [0.01, 0.1])
def test_noise_settles_soon(block_times, window, cv):
    """No simulated run of noise alone fails to settle in 20 blocks; most do at the first chance."""
    runs = block_times(np.random.default_rng(window), 100, 20, 0.6, cv=cv)
    first = [
        next((seen for seen in range(window, 21) if settled(run[:seen].tolist(), window).steady), None)
        for run in runs
    ]
    assert None not in first
    assert np.mean(first) < window + 2


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ([0.3, 0.1, 0.1, 0.1, 0.1], "is +200.0% off"),
        ([0.05, 0.1, 0.1, 0.1, 0.1], "is -50.0% off"),
        ([0.14, 0.13, 0.12, 0.11, 0.10], "moved by -"),
        ([0.10, 0.11, 0.12, 0.13, 0.14], "moved by +"),
        ([0.130, 0.125, 0.101, 0.103, 0.102], "off"),
        # Not in order, but far beyond the scatter of the last three.
        ([1.34, 1.25, 0.955, 0.96, 1.0], "moved by -35"),
        ([1.0, 0.5, 1.5, 0.6, 1.4], "scatter by"),
        ([0.1, 0.1], "2 warm-up blocks, the criterion looks at 5"),
    ],
)
def test_warmup_goes_on_while_the_window_is_not_calm(times, problem):
    found = settled(times, 5)
    assert not found.steady
    assert problem in found.reason


def test_three_falling_blocks_are_not_settled_and_three_level_ones_are():
    assert not settled([1.2, 1.1, 1.0], 3).steady
    assert settled([1.2, 1.01, 1.0, 1.01], 3).steady


def test_warmup_forgets_what_lies_before_its_window():
    assert settled([9.0, 5.0, 0.1, 0.1, 0.1], 3).steady


@pytest.mark.parametrize("count", [3, 4, 5])
def test_order_probability_is_exact(count):
    """Against all orders of a few values."""
    orders = [np.array(order, dtype=float) for order in itertools.permutations(range(count))]

    def score(values: np.ndarray) -> float:
        return sum(np.sign(late - early) for early, late in itertools.combinations(values, 2))

    scores = np.array([score(order) for order in orders])
    for order in orders:
        assert order_probability(order) == pytest.approx(np.mean(scores >= abs(score(order))))


def test_the_verdict_needs_both():
    good, bad = Steadiness(True, "fine"), Steadiness(False, "broken")
    assert verdict(good, good).steady
    assert verdict(bad, good) == Steadiness(False, "warm-up never settled: broken")
    assert verdict(good, bad) == Steadiness(False, "broken")
    assert verdict(bad, bad).reason == "broken; warm-up never settled: broken"
