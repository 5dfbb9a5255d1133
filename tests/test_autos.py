import pytest

from tests.building import request
from trainbench import run
from trainbench.autos import resolve


def resolved(platform, *overrides):
    asked = request(*overrides)
    return resolve(asked, run.make_task(asked), platform)


def test_accelerators_get_the_published_batch_and_the_full_count():
    config = resolved("gpu")
    assert config.batch_size == 256
    assert (config.plan.calls, config.plan.blocks) == (300, 30)
    assert "published" in config.autos["batch_size"].reason


def test_a_cpu_gets_less_and_is_told_so():
    config = resolved("cpu")
    assert 2 <= config.batch_size <= 8
    assert 10 <= config.plan.calls <= 40
    assert "CPU" in config.autos["batch_size"].reason
    assert "CPU" in config.autos["steps"].reason


def test_what_was_asked_for_is_not_chosen():
    config = resolved("cpu", "batch_size=3", "steps=24", "warmup=2", "input=host")
    assert (config.batch_size, config.plan.calls, config.plan.warmup_min_calls) == (3, 24, 2)
    assert set(config.autos) <= {"optimizer", "compiler_options"}


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 12, 29, 30, 31, 97, 100, 101, 400, 997])
def test_steps_are_kept_or_rounded_up_to_equal_blocks_and_said(steps):
    config = resolved("gpu", f"steps={steps}", "warmup=1")
    timed = config.plan.calls
    assert steps <= timed < steps + config.plan.blocks
    assert timed == config.plan.blocks * config.plan.calls_per_block
    assert config.plan.blocks >= min(steps, 20)
    assert (timed == steps) or config.autos["steps"].value == timed


@pytest.mark.parametrize("per_call", [1, 2, 5])
def test_steps_per_call_changes_calls_not_steps(per_call):
    plan = resolved("gpu", f"steps_per_call={per_call}").plan
    assert plan.calls * plan.steps_per_call == 300


def test_real_data_is_read_and_synthetic_data_resident():
    assert resolved("cpu", "model=vit_tiny", "data=digits").input == "real"
    assert resolved("cpu", "model=vit_tiny").input == "resident"


@pytest.mark.parametrize("preset", ["quick", "standard", "thorough"])
def test_presets_grow(preset):
    plan = resolved("gpu", f"measure={preset}").plan
    assert plan.calls == {"quick": 60, "standard": 300, "thorough": 1200}[preset]
