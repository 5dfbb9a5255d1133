"""GPUs as the compiler for CUDA is told of them."""

import re
from importlib import resources

import pytest
import yaml

from trainbench.forecast.compiler import gpu_devices
from trainbench.forecast.targets import find
from trainbench.forecast.timing import chip_model
from trainbench.hardware import chips

TABLE = yaml.safe_load(
    resources.files("trainbench.forecast.compiler").joinpath("gpus.yaml").read_text("utf-8")
)


@pytest.fixture
def told(monkeypatch):
    """The fields of a description, with a cuDNN that is not installed here."""
    monkeypatch.setattr(
        gpu_devices.metadata,
        "version",
        {"nvidia-cudnn-cu13": "9.28.1.4", "nvidia-cuda-runtime": "13.5.37"}.__getitem__,
    )

    def told(chip_id):
        return dict(re.findall(r"(\w+): (\S+)", gpu_devices.description(chip_id)))

    return told


@pytest.mark.parametrize("chip_id", gpu_devices.known())
def test_the_clock_and_the_units_make_up_the_published_rate_of_float32(chip_id):
    gpu, chip = gpu_devices.find(chip_id), chips.by_id(chip_id)
    rate = 2 * gpu.multiprocessors * gpu.fp32_units * gpu.clock_mhz * 1e6
    # NVIDIA states the rate of an H100 PCIe at less than its highest clock; of Blackwell at more than XLA's.
    assert rate == pytest.approx(chip.peak_tflops["fp32"] * 1e12, rel=0.13)


@pytest.mark.parametrize("chip_id", gpu_devices.known())
def test_memory_is_what_is_sold_less_what_error_correction_takes(chip_id):
    nominal = chips.by_id(chip_id).memory_options[0].nominal_gb
    assert 0.87 < gpu_devices.find(chip_id).memory_bytes / (nominal * 2**30) <= 1.0


@pytest.mark.parametrize("chip_id", gpu_devices.known())
def test_the_name_of_the_device_is_one_by_which_the_chip_is_found(chip_id, told):
    name = re.search(r'device_description_str: "(.*)"', gpu_devices.description(chip_id))[1]
    assert chips.lookup(name).id == chip_id


def test_every_fact_has_its_source():
    blocks = [block for kind in ("architectures", "gpus", "too_old") for block in TABLE[kind].values()]
    named = {key for block in blocks for key in block["src"].split("+")}
    assert named == set(TABLE["sources"])
    assert any("h100_sxm.txtpb@" in source for source in gpu_devices.find("h100-sxm5-80gb").sources)


def test_a_description_tells_what_was_asked_of_the_real_device(told):
    fields = told("a100-sxm4-80gb")
    assert fields["core_count"] == "108"
    assert fields["clock_rate_ghz"] == "1.41"
    assert fields["shared_memory_per_core"] == "167936"
    assert fields["shared_memory_per_block_optin"] == "166912"
    assert fields["memory_bandwidth"] == "2039000000000"
    assert fields["device_memory_size"] == "85100068864"
    assert fields["feature_extension"] == "NONE"
    assert told("h100-sxm5-80gb")["feature_extension"] == "ACCELERATED_FEATURES"


def test_a_cudnn_with_few_numbers_in_its_version_is_described_too(monkeypatch):
    monkeypatch.setattr(
        gpu_devices.metadata,
        "version",
        {"nvidia-cudnn-cu13": "9.28", "nvidia-cuda-runtime": "13.5"}.__getitem__,
    )
    assert "dnn_version_info { major: 9 minor: 28 patch: 0 }" in gpu_devices.description("l4")
    assert "runtime_version { major: 13 minor: 5 patch: 0 }" in gpu_devices.description("l4")


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, 0.75),
        ({"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}, 0.9),
        ({"XLA_CLIENT_MEM_FRACTION": ".5", "XLA_PYTHON_CLIENT_MEM_FRACTION": ""}, 0.5),
        ({"XLA_PYTHON_CLIENT_MEM_FRACTION": ""}, 0.75),
    ],
)
def test_a_program_has_the_share_of_memory_that_jax_takes(environment, share):
    whole = gpu_devices.find("l4").memory_bytes
    assert gpu_devices.usable_bytes("l4", environment) == int(whole * share)


def test_what_is_not_known_is_not_guessed():
    assert gpu_devices.find("a10g") is None
    assert gpu_devices.find("v100-sxm2-16gb") is None
    assert gpu_devices.too_old("v100-sxm2-16gb") == "7.0"
    assert gpu_devices.too_old("a100-sxm4-80gb") is None


def test_tf32_without_a_rate_of_its_own_is_multiplied_as_float32():
    turing = chip_model.for_target(find("t4-1"))
    assert turing.platform == "gpu"
    assert turing.peak("tf32") == turing.peak("fp32") == chips.by_id("t4").peak_tflops["fp32"] * 1e12
    ampere = chip_model.for_target(find("a100-1"))
    assert ampere.peak("tf32") == 156e12
    assert chip_model.for_target(find("v6e-1")).platform == "tpu"
