"""Whole runs in PyTorch, and what is refused."""

import json

import pytest

from tests.commands import BRIEF, FAST, result_of, run
from tests.pytorch.making import torch
from trainbench.results import store

pytestmark = pytest.mark.torch

SMALL = ("framework=torch", "model=gpt2_tiny", "model.architecture.depth=1", "precision=fp32", "batch_size=2")


def test_a_run_has_the_same_record_and_starts_no_device_of_jax(cache, tmp_path):
    # No plug-in of that name is there: whatever asked JAX for its devices would fail.
    done = run(cache, tmp_path, *SMALL, *FAST, "hydra.run.dir=out", JAX_PLATFORMS="nowhere")
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert record["status"] == "ok"
    assert record["framework"]["version"] == torch.__version__
    assert record["framework"]["compile"] == "eager"
    assert record["framework"]["threads"] == record["hardware"]["host"]["cores"]
    assert "flash" in record["framework"]["attention_ran"]
    assert record["compile"] is None
    assert record["throughput"]["samples_per_s"] > 0
    assert record["loss"]["last"] < record["loss"]["first"]
    assert store.read(tmp_path / "out" / "result.json").reason("compile")
    assert "torch.compile = eager" in done.stdout
    assert "framework" not in done.stderr


def test_batches_may_come_from_the_host_or_from_a_data_set(cache, tmp_path):
    asked = ("framework=torch", "model=resnet_tiny", "model.architecture.depths=[1]", "data=digits", *FAST)
    done = run(cache, tmp_path, *asked, "batch_size=4", "input=all", "hydra.run.dir=out", module=BRIEF)
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert set(record["input"]["rates"]) == {"resident", "host", "real"}
    assert record["input"]["verdict_reason"]


def test_a_race_of_two_processes_prints_the_ratio_and_writes_it(cache, tmp_path):
    asked = ("model=gpt2_tiny", "model.architecture.depth=1", "precision=fp32", "batch_size=2", *FAST)
    done = run(cache, tmp_path, "race", *asked, "--rounds", "1", "--dir", "race", "--threshold", "0")
    assert done.returncode in (0, 1, 2), done.stderr
    assert "JAX / PyTorch" in done.stdout
    heat = json.loads((tmp_path / "race" / "race.json").read_text())["heats"][0]
    assert heat["ratio"] == pytest.approx(heat["jax"]["rate"] / heat["torch"]["rate"], rel=0.5)
    assert heat["overrides"]["torch"][:2] == ["model=gpt2_tiny", "framework=torch"]
