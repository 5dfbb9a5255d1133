"""The rates of one device, and of the links between the chips of a slice."""

import pytest

from trainbench.forecast import targets
from trainbench.forecast.timing.chip_model import chip_model, for_target, links
from trainbench.hardware import chips


@pytest.mark.parametrize(
    ("chip", "topology", "count"),
    [
        ("tpu-v6e", (1, 1), (0, 0)),
        ("tpu-v6e", (2, 2), (1, 1)),
        ("tpu-v6e", (4, 4), (1, 1)),
        ("tpu-v5e", (8, 16), (1, 2)),
        ("tpu-v5e", (16, 16), (2, 2)),
        ("tpu-v3", (16, 16), (1, 1)),
        ("tpu-v4", (2, 2, 1), (1, 1, 0)),
        ("tpu-v4", (2, 2, 4), (1, 1, 1)),
        ("tpu-v4", (4, 4, 4), (2, 2, 2)),
        ("tpu-v5p", (4, 4, 8), (2, 2, 2)),
    ],
)
def test_an_axis_is_a_ring_where_the_slice_is_wired_as_one(chip, topology, count):
    assert links(chips.by_id(chip), topology) == count


def test_a_slice_sends_over_the_links_it_has():
    # 800 GB/s over four links in both directions: 100 GB/s each way on each.
    assert chip_model(chips.by_id("tpu-v6e"), (2, 2)).network_bytes_per_s == 200e9
    assert chip_model(chips.by_id("tpu-v6e"), (16, 16)).network_bytes_per_s == 400e9
    assert chip_model(chips.by_id("tpu-v2"), (2, 2)).network_bytes_per_s is None


def test_a_gpu_sends_over_all_its_links():
    assert chip_model(chips.by_id("h100-sxm5-80gb"), (8,)).network_bytes_per_s == 450e9


def test_a_device_that_is_half_a_chip_has_half_its_rates():
    whole, half = (chip_model(chips.by_id("tpu-v4"), (1, 1, 1), share) for share in (1, 2))
    assert whole.peak("bf16") == 275e12 == 2 * half.peak("bf16")
    assert whole.memory_bytes_per_s == 2 * half.memory_bytes_per_s
    assert (whole.devices, half.devices) == (1, 2)
    assert whole.clock_hz == half.clock_hz


@pytest.mark.parametrize(
    ("name", "devices", "peak", "network"),
    [
        ("v6e-1", 1, 918e12, 0),
        ("v6e-4", 4, 918e12, 200e9),
        ("v3-8", 8, 61.5e12, 200e9),
        ("tpu7x-1", 2, 1153.5e12, 0),
        ("h100-8", 8, 989.4e12, 450e9),
        ("h100-16", 16, 989.4e12, None),
    ],
)
def test_a_target_has_the_rates_of_one_of_its_devices(name, devices, peak, network):
    model = for_target(targets.find(name))
    assert (model.devices, model.peak("bf16"), model.network_bytes_per_s) == (devices, peak, network)


def test_a_chip_of_unknown_bandwidth_is_refused():
    chip = chips.Chip(**{**chips.by_id("tpu-v4").__dict__, "memory_options": ()})
    with pytest.raises(ValueError, match="no source gives the memory bandwidth of TPU v4"):
        chip_model(chip)
