"""Eight devices, however they share the work, train as one does."""

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.building import SHALLOW, TINY

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_parallel.py"


@pytest.fixture
def check(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

    def run(*overrides):
        done = subprocess.run([sys.executable, SCRIPT, *overrides], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


# Llama's rules of sharding are T5's.
@pytest.mark.parametrize(
    "model",
    [pytest.param(name, marks=pytest.mark.slow) if name == "llama_tiny" else name for name in TINY],
)
def test_all_three_axes_at_once_give_the_losses_of_one_device(check, model):
    said = check(f"model={model}", "parallel=data_fsdp_tensor", *SHALLOW[model][1:])
    assert f"{model}" in said


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=vit_tiny", "parallel=fsdp", "gradient_accumulation=2", "remat=dots"],
        pytest.param(
            ["model=resnet_tiny", "parallel=data_tensor", "gradient_accumulation=2", "remat=full"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_they_do_so_with_micro_batches_and_rematerialisation(check, overrides):
    check(*overrides, *SHALLOW[overrides[0].partition("=")[2]][1:])


@pytest.mark.slow
def test_every_model_in_every_mode_gives_the_losses_of_one_device(check):
    assert len(check().splitlines()) == 2 + len(TINY) * 7


def test_losses_that_are_apart_are_found(check, monkeypatch):
    """The check can fail: statistics of each replica alone are another training."""
    with pytest.raises(AssertionError):
        check("model=resnet_tiny", "parallel=data", "batch_norm=per_replica", *SHALLOW["resnet_tiny"][1:])


@pytest.mark.parametrize(("found", "code"), [((1e-7, 1e-6), 0), ((1e-7, 1e-4), 1), ((math.nan, 1e-7), 1)])
def test_each_case_has_to_be_within_the_bound_also_where_a_loss_is_not_finite(monkeypatch, found, code):
    spec = importlib.util.spec_from_file_location("check_parallel", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    differences = iter(found)
    monkeypatch.setattr(script, "MODES", ("data", "fsdp"))
    monkeypatch.setattr(script, "all_devices", lambda: SimpleNamespace(count=script.DEVICES))
    monkeypatch.setattr(script, "difference", lambda *case: next(differences))
    assert script.main(["model=vit_tiny"]) == code
