"""The launcher of several processes on one machine; whole runs with it are in test_processes."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "launch_local.py"


@pytest.fixture
def launcher():
    spec = importlib.util.spec_from_file_location("launch_local", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gpus_are_split_equally(launcher, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    assert [launcher._environment(index, 2, None)["CUDA_VISIBLE_DEVICES"] for index in range(2)] == [
        "0,1",
        "2,3",
    ]
    with pytest.raises(SystemExit, match="8 processes, but 4 GPUs"):
        launcher._environment(0, 8, None)


def test_without_gpus_cpu_devices_are_simulated(launcher, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_dump_to=x")
    own = launcher._environment(0, 2, 3)
    assert own["JAX_NUM_CPU_DEVICES"] == "3"
    assert own["XLA_FLAGS"] == "--xla_dump_to=x"
    assert launcher._environment(0, 2, None)["JAX_NUM_CPU_DEVICES"] == "1"


@pytest.mark.parametrize(("codes", "worst"), [((0, 0), 0), ((0, 3), 3), ((-9, 1), 137)])
def test_the_worst_exit_code_is_that_of_all(launcher, monkeypatch, codes, worst):
    ended = iter(codes)

    class Ended:
        def __init__(self, *arguments, **settings):
            self.returncode = next(ended)

        def poll(self):
            return self.returncode

        def wait(self, timeout=None):
            return self.returncode

    monkeypatch.setattr(launcher.subprocess, "Popen", Ended)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert launcher.main(["-n", "2", "--", "model=resnet_tiny"]) == worst


def test_no_process_at_all_is_refused(launcher, capsys):
    with pytest.raises(SystemExit):
        launcher.main(["-n", "0"])
    assert "0 is not a number from 1" in capsys.readouterr().err
