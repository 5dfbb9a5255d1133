"""Two devices do together what one does alone."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def run(cache, tmp_path):
    def run_on(devices, *arguments):
        flags = f"--xla_force_host_platform_device_count={devices}"
        environment = os.environ | {"TRAINBENCH_CACHE": str(cache), "XLA_FLAGS": flags}
        directory = tmp_path / f"on{devices}"
        command = [
            sys.executable,
            "-m",
            "trainbench",
            *arguments,
            "measure=quick",
            f"hydra.run.dir={directory}",
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads((directory / "result.json").read_text())

    return run_on


@pytest.mark.parametrize(
    "arguments",
    [
        ["model=resnet_tiny", "input=resident"],
        ["model=vit_tiny", "input=host", "steps_per_call=2"],
        ["model=vit_tiny", "data=digits"],
    ],
)
def test_losses_are_those_of_one_device_with_the_whole_batch(run, arguments):
    fixed = ["precision=fp32", "steps=12", "warmup=2", "measure.warmup_steps=2"]
    fixed += ["optimizer=sgd", "optimizer.reference_batch=null", "optimizer.learning_rate=0.01"]
    alone = run(1, *arguments, *fixed, "batch_size=16")
    together = run(2, *arguments, *fixed, "batch_size=8")
    assert alone["workload"]["global_batch_size"] == together["workload"]["global_batch_size"] == 16
    assert together["hardware"]["device_count"] == 2
    assert together["compile"]["donated"] is True
    assert together["loss"]["first"] == pytest.approx(alone["loss"]["first"], rel=1e-4)
    assert together["loss"]["curve"][1] == pytest.approx(alone["loss"]["curve"][1], rel=1e-3)
    rates = (alone["throughput"]["samples_per_s"], together["throughput"]["samples_per_s"])
    steps = (alone["timing"]["step_time_s"]["median"], together["timing"]["step_time_s"]["median"])
    assert [rate * step for rate, step in zip(rates, steps, strict=True)] == pytest.approx([16, 16])
