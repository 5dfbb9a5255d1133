"""The least time of a step: which rate counts for what, and that nothing uncertain is in it."""

import dataclasses

import pytest

from trainbench.forecast.bounds import bound
from trainbench.forecast.bounds.bound import Bound, Demand
from trainbench.forecast.targets import find
from trainbench.hardware import chips

GB = 10**9
NOTHING = Demand(flops={}, moved_bytes=0, held_bytes=0, gradient_bytes=0)


def of(target, **demands):
    return bound.of_chips(dataclasses.replace(NOTHING, **demands), find(target))


def test_products_take_their_flops_over_the_peak_of_all_chips():
    assert of("v6e-1", flops={"bfloat16": 918e12}).matrix_s == pytest.approx(1.0)
    assert of("v6e-8", flops={"bfloat16": 918e12}).matrix_s == pytest.approx(1 / 8)
    # Two devices share a chip's rate.
    assert of("v3-8", flops={"bfloat16": 4 * 123e12}).matrix_s == pytest.approx(1.0)


def test_float32_takes_as_many_passes_over_a_tpus_matrix_units_as_its_precision_says():
    assert of("v4-1", flops={"float32*1": 275e12}).matrix_s == pytest.approx(1.0)
    assert of("v4-1", flops={"float32*6": 275e12}).matrix_s == pytest.approx(6.0)


def test_float32_on_a_gpu_may_be_tf32_unless_its_precision_is_the_highest():
    chip = chips.by_id("a100-sxm4-80gb")
    flops = chip.peak_tflops["tf32"] * 1e12
    assert of("a100-1", flops={"float32*3": flops}).matrix_s == pytest.approx(1.0)
    slower = chip.peak_tflops["tf32"] / chip.peak_tflops["fp32"]
    assert of("a100-1", flops={"float32*6": flops}).matrix_s == pytest.approx(slower)


def test_the_float32_units_of_a_gpu_work_beside_its_matrix_units():
    peaks = chips.by_id("h100-sxm5-80gb").peak_tflops
    both = {"bfloat16": peaks["bf16"] * 1e12, "float32*6": peaks["fp32"] * 1e12}
    assert of("h100-1", flops=both).matrix_s == pytest.approx(1.0)
    assert of("h100-1", flops={"float32*6": 1.0}).units == "vector units"


def test_products_without_a_rate_count_nothing_and_are_named():
    found = of("v100-1", flops={"bfloat16": 1e15, "float32*6": 15.7e12})
    assert found.matrix_s == pytest.approx(1.0)
    assert found.unknown == ("no rate is known for products in bfloat16 on Tesla V100 SXM2 16GB",)
    # Its matrix units do more in float32 than the vector rate that is known.
    assert of("mi250x-1", flops={"float32*6": 1e15}).matrix_s is None


def test_the_bytes_of_a_tpu_take_its_bandwidth_and_a_gpus_cache_may_hold_some():
    assert of("v6e-1", moved_bytes=1640 * GB).memory_s == pytest.approx(1.0, rel=0.01)
    assert of("h100-1", moved_bytes=2 * bound.GPU_CACHE_BYTES).memory_s == 0
    more = 2 * bound.GPU_CACHE_BYTES + int(chips.by_id("h100-sxm5-80gb").memory_bandwidth)
    assert of("h100-1", moved_bytes=more).memory_s == pytest.approx(1.0)


def test_gradients_are_summed_over_every_link_that_a_tpu_may_use():
    one_way = chips.by_id("tpu-v6e").interconnect_bandwidth / 2
    # Four chips in a square: two of a chip's four links lead to another.
    half = int(one_way / 2)
    assert of("v6e:2x2", gradient_bytes=half).network_s == pytest.approx(1.5)
    assert of("v6e:4x4", gradient_bytes=int(one_way)).network_s == pytest.approx(2 * 15 / 16)
    assert of("v6e-1", gradient_bytes=half).network_s is None


def test_a_switch_between_gpus_may_sum_and_hosts_are_apart():
    one_way = int(chips.by_id("h100-sxm5-80gb").interconnect_bandwidth / 2)
    assert of("h100-8", gradient_bytes=one_way).network_s == pytest.approx(7 / 8)
    assert of("h100-16", gradient_bytes=one_way).network_s is None
    assert "network" in of("h100-16").unknown[0]
    assert of("l4-2", gradient_bytes=one_way).network_s is None


def test_what_takes_longest_is_the_bound_and_not_the_sum():
    found = of("v6e-1", flops={"bfloat16": 918e12}, moved_bytes=820 * GB)
    assert found.seconds == pytest.approx(1.0)
    assert set(found.parts) == {"matrix units", "main memory"}


def test_where_nothing_is_known_there_is_no_bound():
    assert Bound(None, None, None, 0, None, ()).seconds is None


@pytest.mark.parametrize(("target", "gib"), [("v6e-1", 32), ("v3-1", 16), ("a100-1", 80)])
def test_it_is_too_large_only_where_state_and_batch_alone_exceed_a_device(target, gib):
    assert of(target, held_bytes=gib * 2**30).fits
    assert not of(target, held_bytes=gib * 2**30 + 1).fits


def test_rates_by_dtype_make_a_bound_without_a_chip():
    demand = dataclasses.replace(NOTHING, flops={"float32*6": 2e9, "bfloat16": 1e9, "float64": 1})
    found = bound.of_rates(demand, {"float32": 1e9, "bfloat16": 1e9}, 100, "so fast")
    assert found.seconds == pytest.approx(3.0)
    assert found.unknown[0] == "no rate is known for products in float64"
    assert bound.of_rates(demand, {}, 100, "").seconds is None
