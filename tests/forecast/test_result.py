"""The record of a forecast: rates from seconds, devices and chips, and what is left unknown."""

import dataclasses

import pytest

from tests.building import tree
from tests.forecast import outcomes
from trainbench import config
from trainbench.compiled import hlo
from trainbench.forecast import result
from trainbench.forecast.compiler.program import TooLarge
from trainbench.forecast.targets import find
from trainbench.forecast.timing import calibration, chip_model, limits, time_model
from trainbench.forecast.timing.calibration import Calibration, Errors
from trainbench.forecast.timing.schedule import FULL_RATES, Parameters
from trainbench.results import record, store


@pytest.fixture(scope="module")
def asked():
    composed = tree("model=resnet50", "batch_size=8")
    return result.Asked(config.parse(composed), composed, "python -m trainbench forecast target=v6e-1")


HALF = Calibration(
    Parameters(memory_efficiency=0.5, roofline_reach=4.0),
    1.25,
    9,
    ("tpu-v3",),
    ("resnet50",),
    Errors(0.1, 0.9),
    Errors(0.2, 0.8),
)


@pytest.fixture(autouse=True)
def calibrated(monkeypatch):
    monkeypatch.setattr(calibration, "load", lambda: {"tpu": HALF})


def schedule_of(build, parameters=FULL_RATES):
    return time_model.times(hlo.parse(build.program.hlo), chip_model.for_target(build.target), parameters)


@pytest.mark.parametrize(("sample", "target"), [("matmul_v6e", "v6e-1"), ("resnet_v3", "v3-8")])
def test_rates_are_over_all_devices_the_expected_one_between_compiler_and_bound(asked, sample, target):
    build = outcomes.sampled(sample, target, batch_size=16)
    found, schedule = result.assemble(build, asked), schedule_of(build)
    samples = 16 * build.target.devices
    assert found.forecast.bound_samples_per_s == pytest.approx(samples / schedule.roofline_s)
    assert found.forecast.compiler_samples_per_s == pytest.approx(samples / schedule.expected_s)
    expected = found.throughput.samples_per_s
    assert expected == pytest.approx(samples / schedule_of(build, HALF.parameters).expected_s)
    assert found.forecast.compiler_samples_per_s <= expected <= found.forecast.bound_samples_per_s
    low, high = found.throughput.samples_per_s_ci95
    assert low == pytest.approx(expected / 1.25)
    assert high == pytest.approx(min(expected * 1.25, found.forecast.bound_samples_per_s))
    chips = {"v6e-1": 1, "v3-8": 4}[target]
    assert found.throughput.samples_per_s_per_chip == pytest.approx(found.throughput.samples_per_s / chips)
    assert (found.kind, found.status, found.forecast.basis) == ("forecast", "ok", "compiled program")


def test_several_steps_in_a_call_are_counted(asked):
    one = result.assemble(outcomes.sampled(), asked)
    four = result.assemble(outcomes.sampled(steps_per_call=4), asked)
    assert four.throughput.samples_per_s == pytest.approx(4 * one.throughput.samples_per_s)
    assert four.forecast.limits[0].seconds == pytest.approx(one.forecast.limits[0].seconds / 4)
    assert four.forecast.limits[0].share == one.forecast.limits[0].share


def test_a_step_too_short_to_hide_its_launch_says_so(asked, monkeypatch):
    build = outcomes.sampled()
    seconds = schedule_of(build, HALF.parameters).expected_s
    for short, said in ((0.5, False), (2.0, True)):
        monkeypatch.setattr(result, "SHORT_CALL_S", short * seconds)
        found = result.assemble(build, asked)
        assert any("launching so short a step" in text for text in found.forecast.unknown) is said
        assert any("launching so short a step" in text for text in found.warnings) is said


def test_tokens_are_counted_where_samples_are_text(asked):
    found = result.assemble(outcomes.sampled(tokens_per_sample=512), asked)
    assert found.throughput.tokens_per_s == pytest.approx(512 * found.throughput.samples_per_s)


def test_limits_and_operations_are_those_of_the_time_model(asked):
    build = outcomes.sampled("resnet_v5e", "v5e-1")
    found, schedule = result.assemble(build, asked).forecast, schedule_of(build, HALF.parameters)
    assert [part.name for part in found.limits] == [part.name for part in limits.limits(schedule)]
    assert sum(part.share for part in found.limits) == pytest.approx(1)
    assert [part.name for part in found.operations] == [part.name for part in limits.top(schedule)]
    assert found.unestimated_fraction == pytest.approx(schedule.unestimated_s / schedule.expected_s)


def test_it_is_compared_with_the_chip_and_with_others(asked):
    found = result.assemble(outcomes.sampled("resnet_v3", "v3-1"), asked)
    assert any("v3" in one.accelerator for one in found.comparisons)
    assert any("v3" not in one.accelerator for one in found.comparisons)
    per_chip = found.throughput.samples_per_s_per_chip
    assert all(one.ratio == pytest.approx(per_chip / one.value) for one in found.comparisons)


def test_memory_compilation_and_versions_are_kept(asked):
    build = outcomes.sampled(cached=True)
    found = result.assemble(build, asked)
    memory = record.Memory(peak_bytes_compiled=3 * outcomes.GIB, limit_bytes=16 * outcomes.GIB)
    assert found.memory == memory
    assert (found.compile.cache, found.compile.compile_s, found.compile.fresh_s) == ("hit", 12.5, None)
    assert found.software.driver is None
    assert found.config == asked.tree


def test_it_says_which_figures_it_rests_on_and_which_chips_were_not_among_them(asked):
    seen = result.assemble(outcomes.sampled("resnet_v3", "v3-1"), asked).forecast.calibration
    unseen = result.assemble(outcomes.sampled(), asked).forecast.calibration
    assert seen.startswith("9 published figures of resnet50 on TPU v3")
    assert "none of" not in seen
    assert "none of TPU v6e" in unseen


def test_without_a_calibration_there_is_no_expected_rate_and_that_is_said(asked, monkeypatch):
    monkeypatch.setattr(calibration, "load", dict)
    found = result.assemble(outcomes.sampled(), asked)
    assert (found.throughput, found.cost, found.power, found.forecast.calibration) == (None, None, None, None)
    assert found.forecast.compiler_samples_per_s
    assert "calibrated" in found.reason("throughput")


def test_a_count_that_the_compiler_does_not_know_is_none(asked):
    build = outcomes.sampled()
    unsure = dataclasses.replace(build, outcome=dataclasses.replace(build.program, flops=-1.0, bytes=None))
    assert result.assemble(unsure, asked).compile.xla_flops is None


def test_what_is_too_large_is_an_out_of_memory_record_with_no_rate(asked, tmp_path):
    found = result.assemble(outcomes.build(outcomes.too_large()), asked)
    assert found.status == "oom"
    assert found.status_reason == "the step needs 20.0 GiB of a device's 16.0 GiB, 4.00 GiB too much"
    assert (found.throughput, found.comparisons, found.forecast.compiler_samples_per_s) == (None, (), None)
    assert found.memory.peak_bytes_compiled == 20 * outcomes.GIB
    store.write(found, tmp_path)
    assert store.read(tmp_path) == found


def test_without_sizes_the_compilers_own_words_are_the_reason(asked):
    outcome = TooLarge(None, None, "the input alone is too large", 0.0, outcomes.VERSIONS)
    assert result.assemble(outcomes.build(outcome), asked).status_reason == "the input alone is too large"


def test_a_compiler_that_broke_down_is_a_failed_record(asked, tmp_path):
    found = result.failed(find("v6e:4x4"), "INTERNAL: no", asked)
    assert (found.status, found.status_reason, found.workload) == ("failed", "INTERNAL: no", None)
    assert ":" not in found.id
    store.write(found, tmp_path)
    assert store.read(tmp_path).forecast.target == "v6e:4x4"


def test_unknown_things_are_warned_of(asked):
    build = outcomes.sampled("resnet_v6e_4_chips", "v6e-4")
    schedule = schedule_of(build)
    found = result.assemble(build, asked)
    assert set(schedule.unknown) <= set(found.forecast.unknown)
    assert {f"forecast: {text}" for text in schedule.unknown} <= set(found.warnings)


def test_where_the_network_between_the_chips_is_unknown_no_rate_is_expected(asked):
    found = result.assemble(outcomes.sampled("resnet_v3", "v2-8"), asked)
    assert found.throughput is None
    assert "network" in found.reason("throughput")
    assert found.forecast.bound_samples_per_s
    assert result.assemble(outcomes.sampled("resnet_v3", "v2-1"), asked).throughput
