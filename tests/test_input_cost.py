"""From rates to the input's cost and the verdict."""

import pytest

from tests.test_assemble import parts_of, timing
from trainbench.assemble import Ending, assemble
from trainbench.data.settings import ImageData
from trainbench.input_cost import verdict

A100 = "NVIDIA A100-SXM4-80GB"
DIGITS = ("data=digits", "model=resnet_tiny", "batch_size=64")


def of_run(real_s, resident_s, host_s, loader_s, **changes):
    """The input section of a run with these seconds a step and a batch."""
    measured = {
        "beside": {"resident": timing(resident_s), "host": timing(host_s)},
        "again": timing(resident_s),
        "loader": timing(loader_s),
    }
    parts = parts_of(A100, 1, real_s, *DIGITS, "input=all", **(measured | changes))
    assert isinstance(parts.request.data, ImageData)
    return assemble(parts, Ending("ok"))


def test_three_rates_the_loaders_and_their_ratio():
    """A step of 10 ms that gets a batch every 25 ms waits for 60 % of the time."""
    given = of_run(real_s=0.025, resident_s=0.010, host_s=0.0101, loader_s=0.025).input
    assert given.mode == "all"
    assert list(given.rates) == ["resident", "host", "real"]
    assert given.rates["resident"].samples_per_s == pytest.approx(6400)
    assert given.rates["real"].samples_per_s == pytest.approx(2560)
    assert given.stall_fraction == pytest.approx(0.6)
    assert given.loader.samples_per_s == pytest.approx(2560)
    assert given.capacity_over_demand == pytest.approx(0.4)
    assert given.verdict == "input-bound"
    assert "input costs 60.0 % of a step" in given.verdict_reason
    assert "2,560 images/s, 0.400 times" in given.verdict_reason


def test_a_loader_that_is_fast_enough_leaves_the_step_compute_bound():
    given = of_run(real_s=0.0102, resident_s=0.010, host_s=0.010, loader_s=0.002).input
    assert (given.verdict, given.capacity_over_demand) == ("compute-bound", pytest.approx(5))


def test_a_fast_loader_that_slows_the_step_competes_with_it():
    given = of_run(real_s=0.015, resident_s=0.010, host_s=0.010, loader_s=0.005).input
    assert given.verdict == "contended"


def noisy(step_s, share):
    """A measurement whose blocks lie up to that share below and above."""
    blocks = tuple(10 * step_s * (1 + share * (index % 5 - 2) / 2) for index in range(12))
    return timing(step_s, block_s=blocks)


def test_no_verdict_where_the_noise_allows_for_two():
    given = of_run(0.0103, 0.01, 0.01, 0.001, again=noisy(0.01, 0.2)).input
    assert given.verdict is None
    low, high = given.stall_fraction_bounds
    assert low < 0.05 < high
    assert "may be between 0.0 % and" in given.verdict_reason


def test_an_overwhelming_case_needs_no_quiet_machine():
    result = of_run(0.1, 0.01, 0.01, 0.1, again=noisy(0.01, 0.2), timing=timing(0.1, steady=False))
    assert result.input.verdict == "input-bound"


@pytest.mark.parametrize(
    ("again_s", "meant"),
    [(0.0101, "compute-bound"), (0.0099, "compute-bound"), (0.0112, "compute-bound"), (0.009, None)],
)
def test_a_machine_that_changed_meanwhile_makes_the_cost_uncertain(again_s, meant):
    """One that became faster by a tenth may hide a cost of 5 %; one that became slower cannot."""
    given = of_run(0.0101, 0.01, 0.01, 0.001, again=timing(again_s)).input
    assert given.verdict == meant
    assert given.resident_change == pytest.approx(again_s / 0.01 - 1)
    low, high = given.stall_fraction_bounds
    assert low <= 1 - max(0.01, again_s) / 0.0101 + 1e-9
    assert high >= 1 - min(0.01, again_s) / 0.0101 - 1e-9


def test_a_run_stopped_on_the_way_keeps_what_it_measured():
    parts = parts_of(A100, 1, 1, *DIGITS, "input=all", timing=None, beside={"resident": timing(0.01)})
    given = assemble(parts, Ending("interrupted", "stopped")).input
    assert list(given.rates) == ["resident"]
    assert (given.stall_fraction, given.verdict) == (None, None)


@pytest.mark.parametrize(("host_s", "warned"), [(0.009, True), (0.010, False), (0.011, False)])
def test_feeding_that_came_out_faster_than_none_is_doubted(host_s, warned):
    result = of_run(real_s=0.012, resident_s=0.010, host_s=host_s, loader_s=0.001)
    assert any("host input came out at least" in line for line in result.warnings) == warned


def test_real_data_is_compared_as_real_data():
    result = of_run(real_s=0.012, resident_s=0.010, host_s=0.01, loader_s=0.001)
    assert result.workload.data == "digits"
    assert all("here synthetic" not in text for one in result.comparisons for text in one.differences)


def test_records_left_out_are_kept_and_warned_of():
    result = of_run(0.012, 0.01, 0.01, 0.001, bad_records={"digits train[7]": "a JPEG cut short"})
    assert result.input.bad_records == {"digits train[7]": "a JPEG cut short"}
    assert any(
        "1 left out, for example digits train[7]: a JPEG cut short" in line for line in result.warnings
    )


def test_padding_is_counted_out_of_the_useful_tokens():
    parts = parts_of(A100, 1, 0.1, "model=bert_tiny", "data=kjv", "batch_size=32", padding_fraction=0.25)
    result = assemble(parts, Ending("ok"))
    assert result.throughput.tokens_per_s == pytest.approx(320 * 64)
    assert result.throughput.useful_tokens_per_s == pytest.approx(0.75 * 320 * 64)
    assert result.input.padding_fraction == 0.25


@pytest.mark.parametrize(
    ("stall", "capacity", "meant"),
    [
        (0.0, 30, "compute-bound"),
        (0.05, 0.9, "compute-bound"),
        (0.051, 0.9, "input-bound"),
        (0.3, 1.0, "contended"),
    ],
)
def test_the_verdict_follows_the_cost_first(stall, capacity, meant):
    assert verdict(stall, capacity) == meant


@pytest.mark.parametrize(("real_s", "warned"), [(0.0085, True), (0.0099, False)])
def test_the_order_is_checked_without_the_loader_too(real_s, warned):
    """With input=real there is the short resident measurement to be set against."""
    result = assemble(
        parts_of(A100, 1, real_s, *DIGITS, beside={"resident": noisy(0.01, 0.05)}), Ending("ok")
    )
    assert result.input.stall_fraction < 0.01
    assert any("real input came out at least" in line for line in result.warnings) == warned
