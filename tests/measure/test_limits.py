import pytest

from trainbench.measure.limits import check_physical


def test_possible_figures_pass():
    assert (
        check_physical(
            step_time_s=1.0,
            model_flops_per_step=0.99e15,
            peak_flops_per_s=1e15,
            min_bytes_per_step=1e12,
            peak_bytes_per_s=1e12,
        )
        == ()
    )


def test_a_rate_above_the_peak_names_figure_limit_and_cause():
    # MaxText's documentation shows 2400.734 TFLOP/s in the first step on a chip of 459.
    (found,) = check_physical(step_time_s=1.0, model_flops_per_step=2400.734e12, peak_flops_per_s=459e12)
    assert str(found) == (
        "2401 TFLOP/s per device is above the device's peak of 459 TFLOP/s (5.23 times); likely cause: no "
        "fence at the block's end, the peak of another dtype or another chip, or a wrong device count (work "
        "of the whole machine divided by too few devices)"
    )


def test_a_rate_far_above_the_peak_was_never_fenced():
    (found,) = check_physical(step_time_s=1e-3, model_flops_per_step=1e15, peak_flops_per_s=1e15)
    assert found.cause.startswith("no fence, so that dispatch was timed")


def test_traffic_above_the_bandwidth_is_impossible():
    (found,) = check_physical(step_time_s=0.01, min_bytes_per_step=50e9, peak_bytes_per_s=1e12)
    assert found.figure.startswith("5000 GB/s")
    assert "5.00 times" in found.limit


@pytest.mark.parametrize("known", [{"model_flops_per_step": 1e20}, {"peak_bytes_per_s": 1.0}, {}])
def test_an_unknown_limit_limits_nothing(known):
    assert check_physical(step_time_s=1.0, **known) == ()


@pytest.mark.parametrize("step_time_s", [0.0, -1.0])
def test_a_step_without_duration_is_refused(step_time_s):
    with pytest.raises(ValueError, match="step time must be positive"):
        check_physical(step_time_s=step_time_s)
