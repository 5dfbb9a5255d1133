"""What the process that compiles makes of a request, with a compiler that is faked."""

import io

import jax
import pytest

from tests.building import tree
from tests.forecast.outcomes import program
from trainbench.forecast.compiler import cache, compiling, topology
from trainbench.forecast.compiler.messages import Request
from trainbench.hardware import chips
from trainbench.report.progress import ProgressLine
from trainbench.training.device import Devices


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """`answer` for a target whose devices are simulated; each compilation is noted in `ask.compiled`."""
    monkeypatch.setenv("TRAINBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(compiling, "_compile", _compile := _Compiler())
    monkeypatch.setattr(topology, "devices", _devices)

    def ask(*overrides, target="v3-1"):
        request = Request(tree=tree(*overrides), target=target)
        return compiling.answer(request, ProgressLine(io.StringIO()))

    ask.compiled = _compile.steps
    return ask


class _Compiler:
    def __init__(self):
        self.steps = []

    def __call__(self, step, lowered, versions, progress):
        self.steps.append(step)
        assert "stablehlo" in lowered.stage.as_text()
        assert {"jaxlib", "xla_flags"} <= set(versions)
        return program()


def _devices(target):
    handles, chip = tuple(jax.devices()[: target.devices]), chips.by_id(target.chip)
    return Devices(handles, target.platform, chip.device_kinds[0], chip)


def test_a_step_is_described_compiled_and_kept(ask):
    reply = ask("model=resnet_tiny", "batch_size=4")
    assert (reply.mistake, reply.failure) == (None, None)
    facts = reply.facts
    assert (facts.workload.batch_size, facts.workload.global_batch_size) == (4, 8)
    assert (facts.hardware.chip, facts.hardware.device_count, facts.hardware.chip_count) == ("tpu-v3", 2, 1)
    assert facts.hardware.host.cpu is None, "this machine is not the target's host"
    assert facts.state_bytes > 4 * facts.workload.parameters
    assert facts.program_flops == pytest.approx(8 * facts.workload.flops_per_sample, rel=0.1)
    assert not facts.cached
    assert cache.load(compiling.Path(facts.entry)) == program()


def test_the_same_step_is_compiled_once(ask):
    first, second = ask("model=resnet_tiny", "batch_size=4"), ask("model=resnet_tiny", "batch_size=4")
    assert second.facts.cached
    assert second.facts.entry == first.facts.entry
    assert len(ask.compiled) == 1


def test_the_default_batch_is_that_of_an_accelerator(ask):
    batch = ask("model=vit_tiny").facts.workload.batch_size
    assert batch == tree("model=vit_tiny")["model"]["batch_size"]


def test_the_same_step_for_another_gpu_is_another_program(ask, monkeypatch):
    monkeypatch.setattr(compiling.gpu_devices.metadata, "version", "9.28.1 of {}".format)
    asked = ("model=resnet_tiny", "batch_size=4")
    entries = [ask(*asked, target=name).facts.entry for name in ("a100-1", "h100-1", "a100-1")]
    assert entries[0] == entries[2] != entries[1]
    assert [step.target.name for step in ask.compiled] == ["a100-1", "h100-1"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=digits"], "data=digits"),
        (["precision=tf32"], "precision=tf32"),
        (["batch_size=best"], "batch_size=best"),
        (["batch_size=-1"], "batch_size=-1"),
    ],
)
def test_mistakes_are_in_the_reply(ask, overrides, words):
    reply = ask("model=resnet_tiny", *overrides)
    assert reply.facts is None
    assert words in reply.mistake.problem
    assert reply.mistake.fix
    assert not ask.compiled


def test_an_error_of_the_compiler_is_in_the_reply(ask, monkeypatch):
    def breaks(*ignored):
        raise jax.errors.JaxRuntimeError("INTERNAL: no\nmore")

    monkeypatch.setattr(compiling, "_compile", breaks)
    assert ask("model=resnet_tiny", "batch_size=4").failure == "while lowering: INTERNAL: no"
