"""The tests behind `compare`, by simulation: false alarms, power, and what each part is for."""

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from tests.measure.conftest import simulate
from trainbench.measure.statistics import Z_95, summarise
from trainbench.results.compare_metrics import THRESHOLD
from trainbench.results.compare_statistics import (
    FALSE_ALARMS,
    between,
    of_blocks,
    of_repeats,
    of_rounds,
    of_runs,
    of_two_runs,
    rounds_needed,
)
from trainbench.shipped import read

RUNS = 1000
LEAST = math.log1p(THRESHOLD)


def declared(difference, threshold=LEAST, false_alarms=FALSE_ALARMS):
    """Whether the difference is significant and above the threshold."""
    low, high = difference.interval(false_alarms)
    return (low > 0 or high < 0) and abs(difference.log_ratio) > threshold


def blocks_of(rng, blocks, rho, shape, cv=0.03):
    """RUNS runs whose true median does not differ."""
    times = simulate(rng, RUNS, blocks, rho, cv=cv, skewed=shape == "skewed")
    if shape == "heavy":
        times = np.exp(cv * rng.standard_t(3, times.shape))
    if shape == "stalls":
        times = times + 0.3 * (rng.random(times.shape) < 0.05)
    if shape == "drift":
        times = times * np.exp(0.02 * rng.choice([-1, 1], (RUNS, 1)) * np.linspace(0, 1, blocks))
    return times


@pytest.mark.parametrize(
    ("blocks", "rho", "shape"),
    [
        ((10, 10), 0.6, "gaussian"),
        ((10, 60), 0.3, "gaussian"),
        ((30, 30), 0.0, "gaussian"),
        ((60, 60), 0.6, "gaussian"),
        ((30, 12), 0.3, "skewed"),
        ((30, 60), 0.0, "heavy"),
        ((60, 30), 0.3, "stalls"),
    ],
)
def test_two_equal_runs_are_told_apart_in_at_most_one_case_of_a_hundred(blocks, rho, shape):
    """At 3 % noise, with significance alone: the threshold does not help."""
    rng = np.random.default_rng([*blocks, int(10 * rho)])
    sides = [blocks_of(rng, count, rho, shape) for count in blocks]
    alarms = sum(declared(of_two_runs(*pair), threshold=0) for pair in zip(*sides, strict=True))
    assert alarms <= FALSE_ALARMS * RUNS


@pytest.mark.parametrize(
    ("blocks", "rho", "cv"),
    [
        ((12, 12), 0.0, 0.02),
        ((12, 60), 0.3, 0.015),
        ((20, 20), 0.0, 0.015),
        ((30, 30), 0.0, 0.015),
        ((60, 60), 0.0, 0.03),
        ((60, 60), 0.3, 0.01),
    ],
)
def test_runs_that_drift_up_or_down_by_chance_raise_at_most_one_alarm_in_a_hundred(blocks, rho, cv):
    """Each by 2 %, which noise of these sizes hides the best: the worst cases. Two deviations are allowed."""
    rng = np.random.default_rng([*blocks, int(10 * rho)])
    base, new = (blocks_of(rng, count, rho, "drift", cv=cv) for count in blocks)
    alarms = sum(declared(of_two_runs(*pair)) for pair in zip(base, new, strict=True))
    assert alarms <= FALSE_ALARMS * RUNS + 2 * math.sqrt(RUNS * FALSE_ALARMS)


def test_these_simulations_do_catch_a_test_that_leaves_drifts_out():
    rng = np.random.default_rng([60, 60, 0])
    base, new = (blocks_of(rng, 60, 0.0, "drift", cv=0.03) for _ in range(2))
    found = [of_two_runs(*pair) for pair in zip(base, new, strict=True)]
    medians = [np.log(np.median(side, axis=1)) for side in (base, new)]
    errors = np.hypot(
        *([math.log(high / low) / (2 * Z_95) for low, high in intervals(side)] for side in (base, new))
    )
    reach = [one.interval(FALSE_ALARMS)[1] - one.log_ratio for one in found] / np.array(
        [one.error for one in found]
    )
    apart = np.abs(medians[1] - medians[0])
    assert np.mean((apart > reach * errors) & (apart > LEAST)) > 0.03


def intervals(side):
    return [summarise(run).ci95 for run in side]


@pytest.mark.parametrize(("blocks", "seen"), [(12, 0.4), (30, 0.7)])
def test_a_slow_down_of_3_percent_is_often_seen_with_fewer_or_autocorrelated_blocks(blocks, seen):
    rng = np.random.default_rng(blocks)
    rho = 0.0 if blocks == 12 else 0.3
    base, new = (simulate(rng, RUNS, blocks, rho, cv=0.01) for _ in range(2))
    found = np.mean([declared(of_two_runs(*pair)) for pair in zip(base, 1.03 * new, strict=True)])
    assert found >= seen


def test_these_simulations_do_catch_a_test_that_takes_blocks_for_independent():
    """Student's t test on the same series as above raises many times as many alarms."""
    rng = np.random.default_rng([60, 60, 6])
    base, new = (np.log(blocks_of(rng, 60, 0.6, "gaussian")) for _ in range(2))
    error = np.sqrt((base.var(axis=1, ddof=1) + new.var(axis=1, ddof=1)) / 60)
    naive = np.abs(base.mean(axis=1) - new.mean(axis=1)) / error > stdtrit(118, 1 - FALSE_ALARMS / 2)
    assert naive.mean() > 0.05


def test_a_slow_down_of_3_percent_is_seen_with_the_standard_blocks_at_1_percent_noise():
    blocks = read("measure", "standard")["blocks"]
    rng = np.random.default_rng(3)
    base = simulate(rng, RUNS, blocks, 0.0, cv=0.01)
    new = 1.03 * simulate(rng, RUNS, blocks, 0.0, cv=0.01)
    found = [of_two_runs(*pair) for pair in zip(base, new, strict=True)]
    seen = np.mean([declared(difference) and difference.log_ratio > 0 for difference in found])
    assert seen >= 0.95
    detectable = np.median([difference.detectable(FALSE_ALARMS, LEAST) for difference in found])
    assert LEAST < detectable < math.log(1.03)


@pytest.mark.parametrize("blocks", [20, 30])
def test_what_is_said_to_be_detectable_is_detected(blocks):
    """A change as large as the median run says it would see, at noise where no 3 % can be seen."""
    rng = np.random.default_rng(8)
    base, new = (simulate(rng, RUNS, blocks, 0.0, cv=0.05) for _ in range(2))
    claimed = np.median(
        [of_two_runs(*pair).detectable(FALSE_ALARMS, LEAST) for pair in zip(base, new, strict=True)]
    )
    assert claimed > math.log(1.05)
    seen = np.mean([declared(of_two_runs(*pair)) for pair in zip(base, math.exp(claimed) * new, strict=True)])
    assert seen >= 0.93


def interleaved(rng, rounds, change, noise=0.01, drift=0.0):
    """RUNS times `rounds` values a side; the machine's speed wanders by `drift` over all rounds."""
    wander = np.exp(drift * np.linspace(0, 1, 2 * rounds))
    first = np.arange(rounds) * 2 + np.arange(rounds) % 2
    second = np.arange(rounds) * 2 + (1 - np.arange(rounds) % 2)
    base = wander[first] * np.exp(noise * rng.standard_normal((RUNS, rounds)))
    new = (1 + change) * wander[second] * np.exp(noise * rng.standard_normal((RUNS, rounds)))
    return base, new


@pytest.mark.parametrize(("noise", "threshold"), [(0.01, LEAST), (0.05, LEAST)])
@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_interleaved_runs_of_one_program_are_told_apart_in_at_most_one_case_of_a_hundred(
    noise, threshold, drift
):
    """At 5 % noise the test errs in all but 1 %, for it is exact: three deviations more are allowed."""
    rng = np.random.default_rng(int(1000 * noise + 10 * drift))
    base, new = interleaved(rng, rounds_needed(0.03, 0.01, THRESHOLD), 0.0, noise, drift)
    alarms = sum(declared(of_rounds(*pair), threshold) for pair in zip(base, new, strict=True))
    allowed = 0.0 if noise == 0.01 else 3 * math.sqrt(RUNS * FALSE_ALARMS)
    assert alarms <= FALSE_ALARMS * RUNS + allowed


def test_the_usual_rounds_see_3_percent_though_runs_differ_by_1_percent():
    """Also with three metrics tested at once, as on an accelerator."""
    rounds = rounds_needed(0.03, 0.01, THRESHOLD)
    base, new = interleaved(np.random.default_rng(4), rounds, 0.03)
    found = [of_rounds(*pair) for pair in zip(base, new, strict=True)]
    assert np.mean([declared(difference) for difference in found]) >= 0.95
    assert np.mean([declared(difference, false_alarms=FALSE_ALARMS / 3) for difference in found]) >= 0.95
    # Two rounds fewer are not enough: the number is no larger than it has to be.
    fewer = [of_rounds(*pair) for pair in zip(base[:, : rounds - 4], new[:, : rounds - 4], strict=True)]
    assert np.mean([declared(difference) for difference in fewer]) < 0.95


def test_the_spread_between_runs_counts_and_not_only_that_between_blocks():
    """Each run has hardly any scatter, but runs of one program differ by 2 %."""
    rng = np.random.default_rng(6)
    runs = np.exp(0.02 * rng.standard_normal((RUNS, 2, 4)))
    alarms = sum(declared(of_repeats(*pair)) for pair in runs)
    assert alarms <= FALSE_ALARMS * RUNS
    alone = np.exp(0.0001 * rng.standard_normal((RUNS, 2, 30))) * runs[:, :, :1]
    assert np.mean([declared(of_two_runs(*pair)) for pair in alone[:200]]) > 0.2


@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (2, 10), (3, 10), (30, 2)])
def test_unequal_counts_of_runs_raise_at_most_one_alarm_in_a_hundred(counts):
    """Two or three runs that lie close by chance must not count as a sure side: Welch's test alone would."""
    rng = np.random.default_rng(counts)
    base, new = (np.exp(0.03 * rng.standard_normal((2 * RUNS, count))) for count in counts)
    pairs = list(zip(base, new, strict=True))
    assert sum(declared(of_repeats(*pair)) for pair in pairs) <= FALSE_ALARMS * len(pairs)
    if counts == (2, 10):
        assert sum(declared(between(*map(of_runs, pair))) for pair in pairs) > 3 * FALSE_ALARMS * len(pairs)


def test_one_run_against_several_is_one_more_draw():
    rng = np.random.default_rng(7)
    runs = np.exp(0.02 * rng.standard_normal((RUNS, 6)))
    alarms = sum(declared(of_repeats(run[:5], run[5:])) for run in runs)
    assert alarms <= FALSE_ALARMS * RUNS + 3 * math.sqrt(RUNS * FALSE_ALARMS)
    several, one = of_repeats([1.0, 1.01, 0.99], [1.5]), of_repeats([1.5], [1.0, 1.01, 0.99])
    assert several.log_ratio == pytest.approx(-one.log_ratio)
    assert several.error == pytest.approx(one.error) == pytest.approx(0.01 * math.sqrt(1 + 1 / 3), rel=0.01)


def test_welch_is_the_textbook_one():
    difference = between(of_runs(np.exp([1.0, 2.0, 3.0])), of_runs(np.exp([2.0, 6.0])))
    assert difference.log_ratio == pytest.approx(2)
    assert difference.error == pytest.approx(math.sqrt(1 / 3 + 8 / 2))
    assert difference.degrees == pytest.approx((1 / 3 + 4) ** 2 / ((1 / 3) ** 2 / 2 + 4**2))


def test_too_few_blocks_and_too_few_runs_give_no_test():
    assert of_two_runs([1.0] * 5, [1.0] * 30) is None
    assert of_blocks([1.0] * 5) is None
    assert of_repeats([1.0], [1.0]) is None
    assert of_repeats([], [1.0, 2.0]) is None
    assert of_rounds([1.0], [1.1]) is None


def test_rounds_have_one_value_a_side():
    with pytest.raises(ValueError, match="one value a side"):
        of_rounds([1.0, 1.0], [1.0])


def test_runs_without_any_scatter_differ_for_certain():
    difference = of_two_runs([0.1] * 10, [0.11] * 10)
    assert difference.interval(FALSE_ALARMS) == pytest.approx((math.log(1.1), math.log(1.1)))
    assert declared(difference)
    assert not declared(of_two_runs([0.1] * 10, [0.1] * 10))


def test_a_change_no_larger_than_the_threshold_needs_more_rounds_than_there_are():
    with pytest.raises(ValueError, match="threshold"):
        rounds_needed(0.02, 0.01, 0.02)
