"""Two devices do together what one does alone."""

import pytest

from tests import commands
from tests.building import SHALLOW


@pytest.fixture
def run(cache, tmp_path):
    def run_on(devices, *arguments):
        flags = f"--xla_force_host_platform_device_count={devices}"
        arguments = (*arguments, "measure=quick", f"hydra.run.dir=on{devices}")
        done = commands.run(cache, tmp_path, *arguments, module=commands.BRIEF, XLA_FLAGS=flags)
        assert done.returncode == 0, done.stderr
        return commands.result_of(tmp_path / f"on{devices}")

    return run_on


@pytest.mark.parametrize(
    "arguments",
    [
        [*SHALLOW["resnet_tiny"], "input=resident", "batch_norm=synchronised"],
        [*SHALLOW["vit_tiny"], "input=host", "steps_per_call=2"],
        [*SHALLOW["vit_tiny"], "data=digits"],
    ],
)
def test_losses_are_those_of_one_device_with_the_whole_batch(run, arguments):
    fixed = ["precision=fp32", "steps=12", "warmup=2", "measure.warmup_steps=2"]
    fixed += ["optimizer=sgd", "optimizer.reference_batch=null", "optimizer.learning_rate=0.01"]
    alone = run(1, *arguments, *fixed, "batch_size=16")
    together = run(2, *arguments, *fixed, "batch_size=8")
    assert alone["workload"]["global_batch_size"] == together["workload"]["global_batch_size"] == 16
    assert together["hardware"]["device_count"] == 2
    told = together["communication"]
    assert told["bytes_per_step"] == pytest.approx(told["expected_bytes_per_step"], rel=0.05)
    assert alone["communication"] is None
    assert together["compile"]["donated"] is True
    assert together["loss"]["first"] == pytest.approx(alone["loss"]["first"], rel=1e-4)
    assert together["loss"]["curve"][1] == pytest.approx(alone["loss"]["curve"][1], rel=1e-3)
    rates = (alone["throughput"]["samples_per_s"], together["throughput"]["samples_per_s"])
    steps = (alone["timing"]["step_time_s"]["median"], together["timing"]["step_time_s"]["median"])
    assert [rate * step for rate, step in zip(rates, steps, strict=True)] == pytest.approx([16, 16])
