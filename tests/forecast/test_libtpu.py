"""The TPU compiler itself, on any machine: `make test-forecast`."""

import json
import os
import subprocess
import sys

import pytest

from tests.building import tree
from trainbench.forecast import targets
from trainbench.forecast.compiler import build, compilers
from trainbench.forecast.compiler.program import Program, TooLarge
from trainbench.hardware import chips

pytestmark = pytest.mark.forecast

# Every one-chip name, and of each generation the slice that people name first.
NAMES = [
    *targets.ONE_CHIP,
    "v2-8",
    "v3-8",
    "v4-8",
    "v5e-8",
    "v5p-8",
    "v6e-16",
    "tpu7x-8",
    "v3:2x4",
    "v5p:2x2x3",
]
ASK = """
import json
from trainbench.forecast.compiler import topology
from trainbench.forecast.targets import find
found = [topology.devices(find(name)) for name in {names}]
print(json.dumps([(devices.count, devices.chip.id, devices.chip_count) for devices in found]))
"""


@pytest.fixture
def compiled(monkeypatch, cache):
    """`build.compiled` with the session's cache, as a user's machine would run it."""
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    monkeypatch.delenv("XLA_FLAGS")

    def compiled(name, *overrides):
        return build.compiled(tree(*overrides), targets.find(name))

    return compiled


def test_libtpu_shows_the_devices_that_each_name_promises():
    environment = {**os.environ, **compilers.ENVIRONMENT["tpu"]}
    command = [sys.executable, "-c", ASK.format(names=NAMES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    expected = [[target.devices, target.chip, target.chips] for target in map(targets.find, NAMES)]
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize(
    ("name", "model", "memory_gib"), [("v6e-1", "vit_tiny", 31.24), ("v3-1", "resnet_tiny", 15.48)]
)
def test_a_step_is_compiled_once_and_then_kept(compiled, name, model, memory_gib):
    first = compiled(name, f"model={model}", "batch_size=8")
    program = first.outcome
    assert isinstance(program, Program)
    assert program.hlo.startswith("HloModule")
    assert "is_scheduled=true" in program.hlo
    assert program.compile_s > 0
    assert program.available_bytes == pytest.approx(memory_gib * 2**30, rel=0.05)
    assert program.memory.alias_bytes >= first.facts.state_bytes, "the state is donated"
    assert program.memory.peak_bytes < program.available_bytes
    per_device = first.facts.program_flops / first.facts.hardware.device_count
    assert program.flops == pytest.approx(per_device, rel=0.3)
    again = compiled(name, f"model={model}", "batch_size=8")
    assert (first.facts.cached, again.facts.cached) == (False, True)
    assert again.outcome == program


def test_a_batch_that_no_memory_holds_says_by_how_much(compiled):
    outcome = compiled("v3-1", "model=resnet_tiny", "batch_size=1000000").outcome
    assert isinstance(outcome, TooLarge)
    assert outcome.available_bytes == pytest.approx(chips.by_id("tpu-v3").memory_bytes / 2, rel=0.05)
    assert outcome.needed_bytes > 2 * outcome.available_bytes
    assert "RESOURCE_EXHAUSTED" in outcome.reason


def test_input_that_is_larger_than_the_memory_is_not_even_compiled(compiled):
    outcome = compiled("v3-1", "model=resnet_tiny", "batch_size=100000000").outcome
    assert isinstance(outcome, TooLarge)
    assert outcome.needed_bytes is None
    assert "the input alone needs" in outcome.reason
    assert outcome.compile_s == 0


def test_rematerialisation_takes_less_memory(compiled):
    needed = [
        compiled("v5e-1", "model=vit_tiny", "batch_size=2048", f"remat={remat}").outcome.memory.peak_bytes
        for remat in ("none", "dots", "full")
    ]
    assert needed[1] < 0.7 * needed[0]
    assert needed[2] < 0.9 * needed[1]


def test_a_state_that_is_split_takes_less_memory(compiled):
    def arguments(parallel):
        build = compiled("v5e:2x2", "model=bert_tiny", "batch_size=8", f"parallel={parallel}")
        assert build.facts.parallel.unsplit == ()
        return build.facts.parallel.state_bytes_per_device, build.outcome.memory.argument_bytes

    whole, split = arguments("data"), arguments("fsdp")
    assert split[0] < 0.3 * whole[0]
    assert whole[1] - split[1] == pytest.approx(whole[0] - split[0], rel=0.05)
