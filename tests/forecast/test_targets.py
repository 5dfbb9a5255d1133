"""Names of targets, without any compiler."""

import pytest

from trainbench.errors import UserError
from trainbench.forecast import targets
from trainbench.forecast.targets import find
from trainbench.hardware import chips

# Name, topology in chips, chips, JAX devices.
SLICES = [
    ("v2-1", "v2:1x1", 1, 2),
    ("v2-8", "v2:2x2", 4, 8),
    ("v3-1", "v3:1x1", 1, 2),
    ("v3-8", "v3:2x2", 4, 8),
    ("v3-32", "v3:4x4", 16, 32),
    ("v3-2048", "v3:32x32", 1024, 2048),
    ("v4-1", "v4:1x1x1", 1, 1),
    ("v4-8", "v4:2x2x1", 4, 4),
    ("v4-16", "v4:2x2x2", 8, 8),
    ("v4-64", "v4:2x4x4", 32, 32),
    ("v4-4096", "v4:8x16x16", 2048, 2048),
    ("v5e-1", "v5e:1x1", 1, 1),
    ("v5e-4", "v5e:2x2", 4, 4),
    ("v5e-8", "v5e:2x4", 8, 8),
    ("v5e-256", "v5e:16x16", 256, 256),
    ("v5p-1", "v5p:1x1x1", 1, 1),
    ("v5p-8", "v5p:2x2x1", 4, 4),
    ("v6e-1", "v6e:1x1", 1, 1),
    ("v6e-32", "v6e:4x8", 32, 32),
    ("v6e-256", "v6e:16x16", 256, 256),
    ("tpu7x-1", "tpu7x:1x1x1", 1, 2),
    ("tpu7x-8", "tpu7x:2x2x1", 4, 8),
    ("tpu7x-128", "tpu7x:4x4x4", 64, 128),
]


@pytest.mark.parametrize(("name", "topology", "chip_count", "devices"), SLICES)
def test_a_name_is_a_slice_as_google_makes_it(name, topology, chip_count, devices):
    target = find(name)
    assert target.name == name
    assert (target.platform, target.topology) == ("tpu", topology)
    assert (target.chips, target.devices) == (chip_count, devices)
    assert target.devices_per_chip * target.chips == target.devices
    assert chips.by_id(target.chip).vendor == "Google"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("v5litepod-4", "v5e-4"),
        ("V6E-4", "v6e-4"),
        ("tpu-v6e-4", "v6e-4"),
        ("v7x-8", "tpu7x-8"),
        ("tpu-7x-1", "tpu7x-1"),
        (" v3-8 ", "v3-8"),
        ("v4:2x2", "v4:2x2x1"),
    ],
)
def test_other_ways_to_write_a_name(name, meant):
    assert find(name) == find(meant)
    assert find(name).name == meant


def test_explicit_topologies_count_chips():
    assert (find("v6e:4x4").chips, find("v6e:4x4").devices) == (16, 16)
    assert (find("v3:2x4").chips, find("v3:2x4").devices) == (8, 16)
    assert find("v5p:16x16x24").chips == 6144
    assert find("v6e:2x4x1").topology == "v6e:2x4"


def test_one_chip_is_one_host_and_only_v4_has_to_be_told_to_join_its_cores():
    assert find("v6e-1").options == {"chips_per_host_bounds": (1, 1, 1)}
    assert find("v4-8").options == {"chips_per_host_bounds": (2, 2, 1), "chip_config_name": "megacore"}
    told = {name for name in targets.ONE_CHIP if "chip_config_name" in find(name).options}
    assert told == {"v4-1"}


def test_the_explanation_says_what_the_number_counts():
    assert find("v4-8").explanation == (
        "v4-8 is 4 chips (2x2x1), 1 JAX device a chip; names count TensorCores, 2 a chip: v4-8 is 4 chips; "
        "v4-1 is our name for one chip"
    )
    assert find("v6e-1").explanation == (
        "v6e-1 is 1 chip (1x1), 1 JAX device a chip; names count chips: v6e-8 is 8 chips"
    )
    assert "2 JAX devices a chip" in find("tpu7x-1").explanation


@pytest.mark.parametrize("generation", targets.GENERATIONS)
def test_every_listed_name_is_found(generation):
    names = targets.names(generation)
    assert names[0] == f"{generation}-1"
    assert [find(name).name for name in names] == names
    assert max(find(name).chips for name in names) <= targets.GENERATIONS[generation].most_chips


def test_every_tpu_of_the_table_of_chips_is_a_target():
    google = {chip.id for chip in chips.load() if chip.vendor == "Google"}
    assert google == {find(name).chip for name in targets.ONE_CHIP}


@pytest.mark.parametrize(
    ("name", "chip", "devices"),
    [
        ("h100-1", "h100-sxm5-80gb", 1),
        ("a100-8", "a100-sxm4-80gb", 8),
        ("h200-8", "h200-sxm-141gb", 8),
        ("a100-sxm4-40gb-8", "a100-sxm4-40gb", 8),
        ("mi250x-4", "mi250x", 8),
        ("h100-16", "h100-sxm5-80gb", 16),
    ],
)
def test_gpus_are_named_by_product_and_count(name, chip, devices):
    target = find(name)
    assert (target.platform, target.chip, target.devices) == ("gpu", chip, devices)


def test_the_processor_is_a_target():
    assert find("cpu").platform == "cpu"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("v6e", "target=v6e-1"),
        ("h100", "target=h100-1"),
        ("v6e-3", "target=v6e-4"),
        ("v3-2", "target=v3-1"),
        ("v6e:2", "target=v6e-1"),
        ("v6e:0x1", "target=v6e-1"),
        ("v6e:3x3", "target=v6e:4x4"),
        ("v6e:2x2x2", "target=v6e:4x4"),
        ("v6e:32x32", "target=v6e:4x4"),
        ("v4:64x64x64", "target=v4:2x2x4"),
        ("h100-9", "target=h100-16"),
        ("", "target=v6e-1"),
        ("resnet50", "target=v6e-1"),
        ("v6e-99999999999", "target=v6e-1"),
    ],
)
def test_what_is_no_target_is_refused_with_one_that_is(name, fix):
    with pytest.raises(UserError) as error:
        find(name)
    assert error.value.fix == fix
    assert error.value.allowed
    find(fix.removeprefix("target="))
