"""Attention kernels in steps that the compilers for TPUs and GPUs make: `make test-forecast`."""

import pytest

from tests.building import request, tree
from trainbench.forecast import targets
from trainbench.forecast.compiler import build, compilers
from trainbench.forecast.compiler.program import Program
from trainbench.levers import attention
from trainbench.levers import lever as levers
from trainbench.training.state import TrainState

pytestmark = pytest.mark.forecast

ONE_BLOCK = ("model.architecture.depth=1", "model.architecture.vocabulary=512")


def proof(target, *overrides):
    """What the compiled step shows of the kernel that was asked for."""
    if compilers.missing(targets.find(target)) is not None:
        pytest.skip(f"no compiler for {target} is installed")
    asked = request(*overrides)
    program = build.compiled(tree(*overrides), targets.find(target)).outcome
    assert isinstance(program, Program)
    situation = levers.Situation(asked, targets.find(target).platform)
    state = TrainState({}, {}, (), None, None)
    seen = levers.Program(program.hlo, state, situation)
    return attention.LEVER.prove(asked.levers["attention"], seen)


@pytest.mark.parametrize(
    ("target", "overrides"),
    [
        ("v5e-1", ("model=gpt2_tiny", "sequence_length=128")),
        ("v5e-1", ("model=bert_tiny", "model.architecture.dropout_rate=0")),
        ("v5e-8", ("model=llama_tiny", "parallel=data_tensor", "parallel.tensor=2")),
    ],
)
def test_splash_attention_is_compiled_for_tpus(target, overrides, cache, monkeypatch):
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    found = proof(target, *overrides, *ONE_BLOCK, "batch_size=2", "attention=splash")
    assert found == "1 splash kernels forward and 1 backward in the compiled step"


@pytest.mark.parametrize(
    ("target", "overrides", "kernels"),
    [
        ("h100-1", ("model=gpt2_tiny",), 1),
        ("h100-1", ("model=bert_tiny", "model.architecture.dropout_rate=0"), 1),
        ("h100-1", ("model=t5_tiny",), 3),
        ("h100-8", ("model=llama_tiny", "parallel=data_tensor", "parallel.tensor=2"), 1),
    ],
)
def test_fused_attention_of_cudnn_is_compiled_for_gpus(target, overrides, kernels, cache, monkeypatch):
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    found = proof(target, *overrides, *ONE_BLOCK, "batch_size=2", "attention=cudnn")
    assert found == f"{kernels} cudnn kernels forward and {kernels} backward in the compiled step"


def test_dense_layers_are_compiled_for_the_8_bit_units_of_a_gpu(cache, monkeypatch):
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    target = targets.find("h100-1")
    if compilers.missing(target) is not None:
        pytest.skip("no compiler for GPUs is installed")
    # A forecast proves the levers of the step itself.
    overrides = ("model=gpt2_tiny", *ONE_BLOCK, "batch_size=2", "precision=fp8")
    found = build.compiled(tree(*overrides), target)
    assert found.facts.levers["precision"].proof == "18 products of 8-bit floats in the compiled step"
    assert isinstance(found.outcome, Program)
    assert found.outcome.hlo.count('custom_call_target="__cublas$lt$matmul$f8"') == 18
