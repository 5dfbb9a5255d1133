"""What `framework=torch` refuses, on a machine with PyTorch and on one without."""

import importlib.util

import pytest

from tests.building import request
from trainbench import cli
from trainbench.errors import UserError
from trainbench.processes import batch_search
from trainbench.pytorch import settings


@pytest.fixture
def installed(monkeypatch):
    """PyTorch may be asked for, whether it is here or not."""
    monkeypatch.setattr(settings.importlib.util, "find_spec", lambda name: object())


def torch_request(*overrides):
    return request("framework=torch", "model=vit_tiny", *overrides)


def test_what_is_left_open_is_none_and_what_is_set_is_kept(installed):
    assert torch_request().torch == settings.TorchConfig()
    asked = torch_request("torch.compile=max-autotune", "torch.threads=3", "torch.fused=false").torch
    assert asked == settings.TorchConfig(compile="max-autotune", threads=3, fused=False)


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("torch.compile=fast", "reduce-overhead"),
        ("torch.attention=flash", "sdpa"),
        ("torch.threads=0", "positive integer"),
        ("torch.channels_last=maybe", "true or false"),
        ("framework=tensorflow", "torch"),
    ],
)
def test_a_value_that_is_not_known_is_refused_with_those_that_are(override, allowed, installed):
    with pytest.raises(UserError) as refused:
        torch_request(override)
    assert allowed in refused.value.allowed


@pytest.mark.parametrize(
    "override",
    [
        "steps_per_call=2",
        "gradient_accumulation=2",
        "remat=full",
        "parallel=data_fsdp",
        "checkpoint.every=5",
        "timeout_s=60",
        "optimizer=lars",
        "prng=rbg",
        "first_moment=bf16",
        "precision=fp8",
        "model.architecture.dropout_rate=0.1",
    ],
)
def test_what_only_jax_does_is_refused_and_left_out_by_the_fix(override, installed):
    with pytest.raises(UserError, match="framework=torch") as refused:
        torch_request(override)
    assert refused.value.allowed
    assert refused.value.fix


def test_without_pytorch_the_line_that_installs_it_is_given(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        settings.importlib.util, "find_spec", lambda name: None if name in settings.PACKAGES else find(name)
    )
    with pytest.raises(UserError, match="torch and transformers, not installed") as refused:
        torch_request()
    assert "pip install" in refused.value.fix


def test_jax_needs_no_pytorch_and_may_name_its_settings(monkeypatch):
    monkeypatch.setattr(settings.importlib.util, "find_spec", lambda name: None)
    assert request("model=vit_tiny", "torch.compile=eager").framework == "jax"


@pytest.mark.parametrize("verb", [("fits",), ("forecast", "target=v5e-1")])
def test_what_asks_the_compiler_of_jax_is_not_done_for_pytorch(verb, installed, capsys):
    assert cli.main([*verb, "framework=torch", "model=vit_tiny"]) == 2
    assert "framework=torch" in capsys.readouterr().err


def test_the_search_by_the_compiler_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UserError, match="framework=torch"):
        batch_search.search_and_show(
            ["framework=torch", "batch_size=best"], None, "best", tmp_path, "python -m trainbench"
        )
    assert list(tmp_path.iterdir()) == []
