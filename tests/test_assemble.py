"""From parts to record: the arithmetic between devices, chips and limits, on machines that are not here."""

import dataclasses
from collections import Counter

import pytest

from tests.building import request, tree
from trainbench import autos, workload
from trainbench.assemble import Ending, assemble
from trainbench.hardware import chips
from trainbench.measure.blocks import Timing
from trainbench.measure.flops import FlopCount
from trainbench.measure.guards import TimedWindow
from trainbench.run import Parts
from trainbench.training.compile import Executable
from trainbench.training.device import Devices

OK = Ending("ok")


class FakeDevice:
    platform = "gpu"
    process_index = 0

    def memory_stats(self):
        return {"peak_bytes_in_use": 3, "bytes_limit": 5}


def timing(step_s, blocks=12, **changes):
    steps_per_block = 10
    whole = Timing(
        warmup_steps=30,
        timed_steps=blocks * steps_per_block,
        steps_per_block=steps_per_block,
        block_s=(step_s * steps_per_block,) * blocks,
        warmup_block_s=(step_s * steps_per_block,) * 3,
        steady=True,
        steady_reason="constant",
        host_dispatch_s=1e-4,
        interrupted=False,
        outliers=(),
        warnings=(),
        error=None,
    )
    return dataclasses.replace(whole, **changes)


def parts_of(kind, count, step_s, *overrides, **changes):
    """A finished run on `count` devices of a kind, with steps of `step_s` seconds."""
    asked = request(*overrides)
    task = workload.make_task(asked)
    config = autos.resolve(asked, task, "gpu", count)
    devices = Devices((FakeDevice(),) * count, "gpu", kind, chips.lookup(kind))
    flops = task.flops_per_sample() * config.batch_size * count * config.steps_per_call
    executable = Executable(
        call=None,
        trace_s=1.0,
        lower_s=1.0,
        compile_s=1.0,
        cache="miss",
        flops=FlopCount(Counter({"bfloat16": flops})),
        xla_flops=None,
        xla_bytes=None,
        peak_bytes=7,
    )
    made = Parts(
        request=asked,
        tree=tree(*overrides),
        command="python -m trainbench",
        devices=devices,
        task=task,
        config=config,
        parameters=1000,
        state_bytes=12_000,
        executable=executable,
        donated=True,
        window=TimedWindow(),
        timing=timing(step_s),
        losses=((1, 7.0), (100, 6.0)),
    )
    return dataclasses.replace(made, **changes)


def test_rates_are_per_machine_and_per_chip_and_mfu_per_device():
    """8 A100: 8 x 256 images in 0.2 s; 24.5 GFLOP an image against 312 TFLOP/s a chip."""
    result = assemble(parts_of("NVIDIA A100-SXM4-80GB", 8, 0.2, "model=resnet50", "batch_size=256"), OK)
    assert result.status == "ok"
    assert result.throughput.samples_per_s == pytest.approx(8 * 256 / 0.2)
    assert result.throughput.samples_per_s_per_chip == pytest.approx(256 / 0.2)
    flops = result.workload.flops_per_sample
    assert result.utilization.mfu == pytest.approx(256 / 0.2 * flops / 312e12)
    assert result.utilization.hfu == pytest.approx(result.utilization.mfu)
    assert result.utilization.model_tflops_per_s_per_chip == pytest.approx(256 / 0.2 * flops / 1e12)
    assert (result.memory.peak_bytes_allocator, result.memory.limit_bytes) == (3, 5)


def test_a_tpu_v3_chip_is_two_devices():
    """The folklore's 1,000 images/s per "TPU v3" is one core; a v3-8 has 8 of them on 4 chips."""
    result = assemble(parts_of("TPU v3", 8, 0.128, "model=resnet50", "batch_size=128"), OK)
    assert result.hardware.chip_count == 4
    assert result.throughput.samples_per_s == pytest.approx(8000)
    assert result.throughput.samples_per_s_per_chip == pytest.approx(2000)
    assert result.utilization.mfu == pytest.approx(1000 * result.workload.flops_per_sample / 61.5e12)
    same_chip = result.comparisons[0]
    assert "TPU v3" in same_chip.accelerator
    assert 0.9 < same_chip.ratio < 1.1


def test_several_steps_in_a_call_are_several_steps():
    result = assemble(parts_of("NVIDIA H100 80GB HBM3", 1, 0.1, "steps_per_call=5", "batch_size=256"), OK)
    assert result.utilization.hfu == pytest.approx(result.utilization.mfu)
    assert result.throughput.samples_per_s == pytest.approx(2560)


@pytest.mark.parametrize(("accumulation", "micro_batch"), [(1, 4096), (64, 64)])
def test_accumulation_is_recorded_and_compared_with_that_of_published_runs(accumulation, micro_batch):
    """Published runs of BERT-Large at 512 tokens on an A100 accumulate too, more often and from fewer."""
    run = ["model=bert_large", "sequence_length=512", "batch_size=4096"]
    run += [f"gradient_accumulation={accumulation}"]
    result = assemble(parts_of("NVIDIA A100-SXM4-80GB", 1, 40.0, *run), OK)
    assert result.workload.gradient_accumulation == accumulation
    assert result.throughput.samples_per_s == pytest.approx(4096 / 40.0)
    here = {
        text.partition(":")[0]: text.rpartition(", here ")[2] for text in result.comparisons[0].differences
    }
    assert here["gradient accumulation"] == str(accumulation)
    assert here["batch per chip"] == str(micro_batch)


@pytest.mark.parametrize(
    ("loops", "said"),
    [
        (["gradient_accumulation=4"], "gradient_accumulation: XLA:CPU runs convolutions"),
        (["steps_per_call=2"], "steps_per_call: XLA:CPU runs convolutions"),
        (
            ["gradient_accumulation=4", "steps_per_call=2"],
            "steps_per_call, gradient_accumulation: XLA:CPU runs convolutions",
        ),
    ],
)
def test_convolutions_in_a_loop_on_a_cpu_are_told(loops, said):
    def warnings(*overrides):
        on_cpu = Devices((FakeDevice(),), "cpu", "cpu", None)
        return assemble(parts_of("cpu", 1, 1.0, *overrides, devices=on_cpu), OK).warnings

    assert [line for line in warnings(*loops) if line.startswith(said)]
    assert not [line for line in (*warnings(), *warnings("model=vit_tiny", *loops)) if "convolutions" in line]


def test_text_counts_tokens():
    result = assemble(parts_of("NVIDIA H100 80GB HBM3", 1, 0.1, "model=bert_large", "batch_size=32"), OK)
    assert result.throughput.tokens_per_s == pytest.approx(320 * 128)


@pytest.mark.parametrize("ending", [OK, Ending("interrupted", "stopped")])
def test_a_figure_above_the_peak_is_refused(ending):
    """Dispatch timed as work: 256 images in a millisecond is 20 times an A100's peak."""
    result = assemble(parts_of("NVIDIA A100-SXM4-80GB", 1, 0.001, "batch_size=256"), ending)
    assert result.status == "invalid"
    assert "312" in result.status_reason
    assert result.utilization is None
    assert result.comparisons == ()


def test_executed_flops_above_the_peak_are_refused_too():
    parts = parts_of("NVIDIA A100-SXM4-80GB", 1, 0.025, "batch_size=256")
    assert assemble(parts, OK).status == "ok"
    more = FlopCount(Counter({"bfloat16": 2 * parts.executable.flops.total}))
    parts.executable = dataclasses.replace(parts.executable, flops=more)
    assert assemble(parts, OK).status == "invalid"


@pytest.mark.parametrize("ending", [OK, Ending("interrupted", "stopped")])
def test_a_loss_that_is_not_finite_is_invalid_also_when_interrupted(ending):
    parts = parts_of("NVIDIA A100-SXM4-80GB", 1, 0.2, losses=((1, 7.0), (50, float("nan"))))
    result = assemble(parts, ending)
    assert result.status == "invalid"
    assert "step 50" in result.status_reason
    assert result.loss.finite is False


def test_a_compilation_while_timing_is_invalid():
    parts = parts_of("NVIDIA A100-SXM4-80GB", 1, 0.2, window=TimedWindow(compilations=1))
    assert assemble(parts, OK).status == "invalid"


@pytest.mark.parametrize(("without_input_s", "stall"), [(0.2, 0.0), (0.15, 0.25), (0.21, 0.0)])
def test_stall_is_the_share_of_the_step_that_input_costs(without_input_s, stall):
    beside = {"resident": timing(without_input_s)}
    parts = parts_of("NVIDIA A100-SXM4-80GB", 1, 0.2, "input=host", beside=beside)
    assert assemble(parts, OK).input.stall_fraction == pytest.approx(stall)


def test_a_changed_model_is_not_compared_under_its_old_name():
    changed = assemble(
        parts_of("NVIDIA A100-SXM4-80GB", 1, 0.2, "model=resnet50", "model.architecture.width=128"), OK
    )
    assert changed.workload.model == "resnet50 (modified: width)"
    assert changed.comparisons == ()


@pytest.mark.parametrize("kind", ["NVIDIA H100 80GB HBM3", "Some New Accelerator", "NVIDIA H200 NVL"])
def test_every_unknown_field_has_its_reason(kind):
    result = assemble(parts_of(kind, 1, 0.2), OK)
    reasons = {line.partition(":")[0] for line in result.warnings}
    data = result.model_dump()
    for section in ("hardware", "software", "throughput", "utilization", "memory", "input"):
        for field, value in data[section].items():
            known = value is not None or field in reasons
            optional = ("tokens_per_s", "useful_tokens_per_s", "git_commit", "largest_batch_size")
            assert known or field in optional, f"{section}.{field}"


def test_an_early_end_still_gives_a_record():
    asked = request("model=vit_tiny")
    result = assemble(Parts(request=asked, tree=tree(), command="x"), Ending("oom", "too big"))
    assert (result.status, result.throughput, result.timing) == ("oom", None, None)
