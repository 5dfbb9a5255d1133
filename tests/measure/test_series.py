import numpy as np
import pytest

from trainbench.measure.series import (
    MAX_TREND_POINTS,
    assumed_autocorrelation,
    outliers,
    rank_autocorrelation,
    trend,
    two_modes,
)


def test_trend_of_a_line_is_its_change_over_the_median():
    line = trend(np.linspace(1.0, 1.5, 11))
    assert line.change_fraction == pytest.approx(0.5 / 1.25)
    assert line.t_statistic > 1000


def test_trend_ignores_one_wild_block():
    values = np.ones(11)
    values[10] = 100.0
    assert trend(values).change_fraction == 0
    assert trend(values).t_statistic == 0


def test_trend_of_a_long_series_is_found_in_bins():
    count = 40 * MAX_TREND_POINTS
    assert trend(np.linspace(1.0, 1.2, count)).change_fraction == pytest.approx(0.2 / 1.1, rel=0.01)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0]])
def test_two_points_have_no_trend(values):
    assert trend(np.array(values)).t_statistic == 0


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_autocorrelation_is_estimated_without_bias_from_short_series(block_times, rho):
    """The allowance on top is known, so the rest must be near the truth (ranks weaken 0.6 to 0.58)."""
    runs = block_times(np.random.default_rng(7), 2000, 20, rho, cv=0.03)
    corrected = [(20 * rank_autocorrelation(run) + 1) / 16 for run in runs]
    assert np.mean(corrected) == pytest.approx(rho, abs=0.06)


@pytest.mark.parametrize(("values", "expected"), [([1.0] * 30, 0.0), ([1.0, 2.0, 3.0], 0.0)])
def test_constant_and_tiny_series_are_taken_as_independent(values, expected):
    assert assumed_autocorrelation(np.array(values), fitted=1) == expected


def test_alternating_blocks_are_not_believed_to_be_better_than_independent():
    assert assumed_autocorrelation(np.tile([1.0, 1.1], 20), fitted=1) == 0


def test_outliers_name_the_block_and_its_size():
    values = np.ones(10)
    values[3], values[7] = 5.0, 0.5
    assert [(one.block, one.step_time_s, one.ratio) for one in outliers(values)] == [
        (3, 5.0, 5.0),
        (7, 0.5, 0.5),
    ]


def test_immaterial_differences_are_no_outliers():
    values = np.ones(10)
    values[3] = 1.02
    assert outliers(values) == ()


def test_two_modes_finds_the_groups():
    modes = two_modes(np.array([1.0, 2.0, 1.0, 2.0, 1.0, 1.0]), min_share=0.2)
    assert (modes.fast_s, modes.slow_s) == (1.0, 2.0)
    assert modes.slow_share == pytest.approx(1 / 3)
    assert modes.separation == np.inf


@pytest.mark.parametrize("values", [[1.0] * 10, [1.0, 2.0, 3.0]])
def test_constant_or_short_series_have_no_modes(values):
    assert two_modes(np.array(values), min_share=0.2) is None
