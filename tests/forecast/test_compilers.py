"""Which compilers are there, and what is said where one is not."""

import sys

import pytest

from trainbench.forecast.compiler import compilers
from trainbench.forecast.targets import find

LIBTPU = "'libtpu<0.0.46,>=0.0.43.2'" if sys.version_info < (3, 12) else "'jax[tpu]'"


@pytest.fixture
def installed(monkeypatch):
    """Only the modules that are put into this set can be found."""
    names = set()
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: name if name in names else None)
    return names


@pytest.mark.parametrize(
    ("name", "module", "extra", "package"),
    [
        ("v6e-1", "libtpu", "forecast", LIBTPU),
        ("h100-8", "jax_plugins.xla_cuda13", "forecast-gpu", "'jax[cuda13]'"),
    ],
)
def test_without_its_compiler_a_target_says_how_to_install_it(installed, name, module, extra, package):
    error = compilers.missing(find(name))
    assert f"pip install -e '.[{extra}]'" in error.fix
    assert f"{sys.executable} -m pip install {package}" in error.fix
    installed.add(module)
    assert compilers.missing(find(name)) is None


def test_one_compiler_does_not_stand_for_the_other(installed):
    installed.add("libtpu")
    assert compilers.missing(find("a100-1")) is not None
    assert compilers.missing(find("v6e-1")) is None


def test_a_gpu_that_cuda_compiles_for_no_more_says_from_where_on_it_does(installed):
    installed.add(compilers.CUDA_PLUGIN)
    error = compilers.missing(find("v100-1"))
    assert error.problem == ("target=v100-1 has compute capability 7.0; CUDA 13 compiles for 7.5 and later")
    assert "a100-sxm4-80gb" in error.allowed


@pytest.mark.parametrize("name", ["a10g-1", "mi300x-8"])
def test_a_gpu_that_too_little_is_known_of_is_not_compiled_for(installed, name):
    installed.add(compilers.CUDA_PLUGIN)
    assert f"target={name} cannot be compiled for" in compilers.missing(find(name)).problem


def test_a_processor_is_not_compiled_for():
    assert "target=cpu" in compilers.missing(find("cpu")).problem


def test_where_no_plug_in_of_jax_is_there_at_all_that_one_is_missing_too(monkeypatch):
    monkeypatch.setattr(compilers, "CUDA_PLUGIN", "no_such_package.xla_cuda13")
    assert "plug-in for CUDA 13" in compilers.missing(find("h100-1")).problem


def test_versions_are_those_of_the_targets_own_compiler(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_some=1")
    gpu, tpu = compilers.versions(find("a100-1")), compilers.versions(find("v6e-1"))
    assert gpu.keys() == {"jax", "jaxlib", "jax-cuda13-plugin", "nvidia-cudnn-cu13", "xla_flags"}
    assert tpu.keys() == {"jax", "jaxlib", "libtpu", "xla_flags"}
    assert gpu["xla_flags"] == "XLA_FLAGS=--xla_some=1"
