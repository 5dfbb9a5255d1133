"""XLA's compiler for CUDA itself, on any machine with the extra `forecast-gpu`: `make test-forecast`."""

import json
import os
import subprocess
import sys

import pytest

from tests.building import tree
from trainbench.forecast import targets
from trainbench.forecast.compiler import build, compilers, gpu_devices
from trainbench.forecast.compiler.program import Program, TooLarge

pytestmark = [
    pytest.mark.forecast,
    pytest.mark.skipif(
        compilers.missing(targets.find("a100-1")) is not None,
        reason="the extra forecast-gpu is not installed",
    ),
]

NAMES = [*(f"{chip_id}-1" for chip_id in gpu_devices.known()), "a100-8", "h100-16"]
ASK = """
import json, jax
from trainbench.forecast.compiler import compilers, topology
from trainbench.forecast.targets import find

def small(name):
    devices = topology.devices(find(name))
    first = jax.sharding.SingleDeviceSharding(devices.handles[0])
    matrix = jax.ShapeDtypeStruct((128, 128), "float32", sharding=first)
    lowered = jax.jit(lambda x: jax.numpy.tanh(x @ x) + 1).lower(matrix)
    text = lowered.compile(compilers.OPTIONS["gpu"]).as_text()
    hosts = len({{device.process_index for device in devices.handles}})
    return devices.count, hosts, devices.chip.id, "__cublas" in text, "exec_time_us" in text

print(json.dumps([small(name) for name in {names}]))
"""


@pytest.fixture
def compiled(monkeypatch, cache):
    """`build.compiled` with the session's cache, as a user's machine would run it."""
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    monkeypatch.delenv("XLA_FLAGS")

    def compiled(name, *overrides):
        return build.compiled(tree(*overrides), targets.find(name))

    return compiled


def test_every_gpu_that_is_described_can_be_compiled_for():
    environment = {**os.environ, **compilers.ENVIRONMENT["gpu"]}
    command = [sys.executable, "-c", ASK.format(names=NAMES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    expected = [[one.devices, -(-one.devices // 8), one.chip, True, True] for one in map(targets.find, NAMES)]
    assert found == expected


@pytest.mark.parametrize(("name", "model"), [("a100-1", "resnet_tiny"), ("h100-1", "vit_tiny")])
def test_a_step_is_compiled_once_and_then_kept(compiled, name, model):
    first = compiled(name, f"model={model}", "batch_size=8")
    program = first.outcome
    assert isinstance(program, Program)
    assert "is_scheduled=true" in program.hlo
    assert program.available_bytes == int(0.75 * gpu_devices.find(first.target.chip).memory_bytes)
    assert program.memory.alias_bytes >= first.facts.state_bytes, "the state is donated"
    assert program.memory.peak_bytes < program.available_bytes
    assert "nvidia-cudnn-cu13" in program.versions
    again = compiled(name, f"model={model}", "batch_size=8")
    assert (first.facts.cached, again.facts.cached) == (False, True)
    assert again.outcome == program


def test_a_batch_that_no_memory_holds_says_by_how_much(compiled):
    outcome = compiled("l4-1", "model=resnet_tiny", "batch_size=200000").outcome
    assert isinstance(outcome, TooLarge)
    assert outcome.available_bytes == gpu_devices.usable_bytes("l4", {})
    assert outcome.needed_bytes > outcome.available_bytes
