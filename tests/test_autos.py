import pytest

from tests.building import request
from trainbench import autos, workload
from trainbench.errors import UserError


def resolved(platform, *overrides, devices=1, **more):
    asked = request(*overrides)
    return autos.resolve(asked, workload.make_task(asked), platform, devices, **more)


def planned(platform, *overrides, call_s=1.0):
    return autos.plan(resolved(platform, *overrides), platform, call_s)


def test_accelerators_get_the_models_batch_and_the_full_count():
    config = resolved("gpu")
    assert (config.batch_size, config.steps) == (256, 300)
    assert "small" not in config.autos["batch_size"].reason


def test_a_cpu_gets_less_and_is_told_so():
    config = resolved("cpu")
    assert 2 <= config.batch_size <= 8
    assert 10 <= config.steps <= 40
    assert "CPU" in config.autos["batch_size"].reason
    assert "CPU" in config.autos["steps"].reason


def test_a_tiny_model_on_a_cpu_keeps_its_batch_and_is_not_told_otherwise():
    auto = resolved("cpu", "model=resnet_tiny").autos["batch_size"]
    assert auto.value == 64
    assert "small" not in auto.reason


@pytest.mark.parametrize("platform", ["gpu", "cpu"])
@pytest.mark.parametrize(("parts", "on_gpu"), [(1, 256), (8, 256), (3, 258), (256, 256), (1000, 1000)])
def test_a_chosen_batch_can_be_cut_into_its_micro_batches(platform, parts, on_gpu):
    auto = resolved(platform, f"gradient_accumulation={parts}").autos["batch_size"]
    assert auto.value % parts == 0
    assert parts <= auto.value <= on_gpu
    assert platform == "cpu" or auto.value == on_gpu
    assert platform == "gpu" or f"on an accelerator {on_gpu}" in auto.reason
    rounded = auto.value != resolved(platform).batch_size
    assert (f"rounded up for {parts} equal micro-batches" in auto.reason) == rounded


def test_what_was_asked_for_is_not_called_chosen():
    config = resolved("gpu", "batch_size=3", "steps=24", "warmup=2", "input=host", "optimizer=adamw")
    assert (config.batch_size, config.steps, config.warmup, config.input) == (3, 24, 2, "host")
    assert config.autos == {}


def test_the_models_own_optimizer_has_its_reason_and_another_has_none():
    assert resolved("gpu").autos["optimizer"].value == "sgd"
    assert "optimizer" not in resolved("gpu", "optimizer=lars").autos


def test_the_scaled_learning_rate_is_recorded():
    auto = resolved("gpu", "batch_size=128", devices=8).autos["learning_rate"]
    assert auto.value == pytest.approx(0.1 * 1024 / 256)
    assert "1024" in auto.reason


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 12, 29, 30, 31, 37, 53, 97, 100, 101, 400, 997])
def test_steps_are_kept_or_rounded_up_a_little_and_said(steps):
    plan, chosen = planned("gpu", f"steps={steps}", "warmup=1")
    assert steps <= plan.calls <= steps * 1.06
    assert plan.calls == plan.blocks * plan.calls_per_block
    assert plan.blocks >= min(steps, 20)
    assert plan.calls == steps or chosen["steps"].value == plan.calls


@pytest.mark.parametrize(
    ("call_s", "blocks"),
    [
        (0.1, 30),  # 30 s: a second each
        (0.01, 10),  # 3 s: 0.3 s each, as few blocks as allowed
        (0.02, 12),  # 6 s: 0.5 s each
        (0.0001, 10),
        (3.0, 100),  # 900 s: nine seconds each
    ],
)
def test_blocks_are_neither_too_short_nor_too_long(call_s, blocks):
    plan, chosen = planned("gpu", call_s=call_s)
    assert plan.blocks == blocks
    assert ("blocks" in chosen) == (blocks != 30)


@pytest.mark.parametrize("steps", [300, 30_000, 1_000_000])
@pytest.mark.parametrize("call_s", [0.001, 0.1, 10.0])
def test_a_warm_up_can_always_be_long_enough_for_its_criterion(steps, call_s):
    plan, _ = planned("gpu", f"steps={steps}", call_s=call_s)
    assert plan.warmup_max_blocks >= plan.warmup_min_blocks + plan.window


@pytest.mark.parametrize("per_call", [1, 2, 5])
def test_steps_per_call_changes_calls_not_steps(per_call):
    plan, _ = planned("gpu", f"steps_per_call={per_call}")
    assert plan.calls * plan.steps_per_call == 300


def test_real_data_is_read_and_synthetic_data_resident():
    assert resolved("cpu", "model=vit_tiny", "data=digits").input == "real"
    assert resolved("cpu", "model=vit_tiny").input == "resident"


@pytest.mark.parametrize(("preset", "steps"), [("quick", 60), ("standard", 300), ("thorough", 1200)])
def test_presets_grow(preset, steps):
    assert resolved("gpu", f"measure={preset}").steps == steps


def test_an_option_that_the_compiler_does_not_know_is_left_out_and_said(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")
    config = resolved("cpu", accepts=lambda options: False)
    assert config.compiler_options == {}
    assert "unknown" in config.autos["compiler_options"].reason


def test_more_warm_up_than_the_chosen_steps_is_refused():
    with pytest.raises(UserError, match="steps=24 is below warmup=500"):
        resolved("cpu", "warmup=500")


def everything(options):
    return True


def test_only_a_tpu_draws_dropout_with_its_own_generator_and_each_device_its_own_part():
    on_tpu = resolved("tpu", "model=bert_tiny", accepts=everything)
    assert on_tpu.prng == on_tpu.autos["prng"].value == "rbg"
    assert on_tpu.compiler_options == {"xla_tpu_spmd_rng_bit_generator_unsafe": "true"}
    assert {resolved(other, "model=bert_tiny").prng for other in ("gpu", "cpu")} == {"threefry2x32"}


def test_the_generator_that_is_asked_for_is_taken_and_no_choice():
    config = resolved("tpu", "model=bert_tiny", "prng=threefry2x32", accepts=everything)
    assert (config.prng, dict(config.compiler_options)) == ("threefry2x32", {})
    assert "prng" not in config.autos


def test_without_dropout_there_is_nothing_to_choose():
    config = resolved("tpu", "model=vit_tiny", accepts=everything)
    assert (config.prng, dict(config.compiler_options)) == ("threefry2x32", {})
    assert "prng" not in config.autos


def test_the_devices_that_the_mesh_takes_are_those_that_are_counted():
    config = resolved("gpu", "parallel.data=2", "batch_size=8", devices=8)
    assert (config.axes.devices, config.global_batch_size) == (2, 16)
    assert config.autos["devices"].value == 2
    assert "devices" not in resolved("gpu", "batch_size=8", devices=8).autos


def test_a_global_batch_is_divided_by_all_devices():
    config = resolved("gpu", "parallel=data_tensor", "model=vit_b16", "global_batch_size=64", devices=8)
    assert (config.batch_size, config.global_batch_size) == (8, 64)
    assert "batch_size" not in config.autos


@pytest.mark.parametrize(
    ("overrides", "said", "fix"),
    [
        (["global_batch_size=60"], "8 devices (data 8)", "global_batch_size=64"),
        (
            ["global_batch_size=64", "gradient_accumulation=3"],
            "8 devices (data 8) and gradient_accumulation=3",
            "global_batch_size=72",
        ),
        (["parallel.data=3"], "parallel.data=3: 3 does not divide the 8 devices", "parallel.data=2"),
        (
            ["model=vit_b16", "parallel=tensor"],
            "parallel.tensor=8 does not divide the 12 attention heads of vit_b16",
            "parallel=data_tensor parallel.tensor=4",
        ),
        (
            ["model=vit_b16", "parallel=fsdp_tensor", "parallel.tensor=8"],
            "parallel.tensor=8 does not divide the 12 attention heads of vit_b16",
            "parallel.tensor=4",
        ),
        (
            ["model=vit_b16", "model.architecture.heads=3", "parallel=tensor"],
            "parallel.tensor=8 does not divide the 3 attention heads of vit_b16",
            "parallel=data",
        ),
        (
            ["model=llama_tiny", "parallel=tensor"],
            "parallel.tensor=8 does not divide the 2 heads of keys and values of llama_tiny",
            "parallel=data_tensor parallel.tensor=2",
        ),
    ],
)
def test_what_the_mesh_cannot_split_is_refused_with_what_it_can(overrides, said, fix):
    with pytest.raises(UserError) as error:
        resolved("gpu", *overrides, devices=8)
    assert said in error.value.problem
    assert error.value.fix == fix
    if "=" in fix and "uses" not in fix:
        changed = {key for key, _, _ in (one.partition("=") for one in fix.split())}
        kept = [one for one in overrides if one.partition("=")[0] not in changed]
        assert resolved("gpu", *kept, *fix.split(), devices=8).axes.devices == (
            2 if fix == "parallel.data=2" else 8
        )


def test_batch_statistics_are_each_replicas_own_unless_asked_for():
    config = resolved("gpu", "parallel=data_tensor", devices=8)
    assert (config.batch_norm, config.norm_groups) == ("per_replica", 4)
    assert "Goyal" in config.autos["batch_norm"].reason
    together = resolved("gpu", "batch_norm=synchronised", devices=8)
    assert (together.batch_norm, together.norm_groups) == ("synchronised", 1)
    assert "batch_norm" not in together.autos


@pytest.mark.parametrize(
    ("overrides", "devices"), [([], 1), (["model=vit_b16"], 8), (["parallel=tensor"], 8)]
)
def test_nothing_is_said_of_batch_statistics_where_there_is_one_replica_or_none(overrides, devices):
    config = resolved("gpu", *overrides, devices=devices)
    assert (config.batch_norm, config.norm_groups) == (None, 1)
