"""The chip table and the reading of device names."""

import re
from importlib import resources

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbench.hardware import chips

TEXT = resources.files("trainbench.hardware").joinpath("chips.yaml").read_text(encoding="utf-8")
TABLE = yaml.safe_load(TEXT)
KINDS = [(kind, chip.id) for chip in chips.load() for kind in chip.device_kinds]


def _source_keys(node):
    """Every source key used anywhere below `node`."""
    if isinstance(node, dict):
        yield from node.get("src", "").split("+")
        for value in node.values():
            yield from _source_keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from _source_keys(value)


def test_every_chip_of_the_table_is_loaded():
    assert [chip.id for chip in chips.load()] == [block["id"] for block in TABLE["chips"]]
    assert len(chips.load()) == 37


def test_every_source_key_is_explained():
    used = {key for key in _source_keys(TABLE["chips"]) if key}
    assert used
    assert used <= TABLE["sources"].keys()


def test_every_value_has_a_source():
    unsourced = [
        (block["id"], field)
        for block in TABLE["chips"]
        for field, cell in chips._cells(block)
        if cell["v"] is not None and not cell.get("src")
    ]
    assert unsourced == []


def test_ids_and_device_kinds_are_unique():
    assert len({chip.id for chip in chips.load()}) == len(chips.load())
    assert len({kind for kind, _ in KINDS}) == len(KINDS)


# Dense rates; the doubled figures of data sheets (H100 1979, A100 624, MI300X 2614.9) are with 2:4 sparsity.
@pytest.mark.parametrize(
    ("chip_id", "dtype", "tflops"),
    [
        ("h100-sxm5-80gb", "bf16", 989.4),
        ("h100-pcie-80gb", "bf16", 756),
        ("h200-sxm-141gb", "bf16", 989.5),
        ("a100-sxm4-80gb", "bf16", 312),
        ("a100-sxm4-80gb", "tf32", 156),
        ("v100-sxm2-16gb", "fp16", 125),
        ("v100-sxm2-16gb", "bf16", None),
        ("mi300x", "bf16", 1307.4),
        ("tpu-v3", "bf16", 123),
        ("tpu-v4", "bf16", 275),
        ("tpu-v5e", "bf16", 197),
        ("tpu-v6e", "bf16", 918),
        ("tpu-v6e", "fp32", None),
    ],
)
def test_peaks_are_dense_and_per_chip(chip_id, dtype, tflops):
    (chip,) = (chip for chip in chips.load() if chip.id == chip_id)
    assert chip.peak_tflops[dtype] == tflops


@pytest.mark.parametrize(
    ("chip_id", "megahertz"),
    [
        ("tpu-v3", 938),
        ("tpu-v4", 1049),
        ("tpu-v5e", 1503),
        ("tpu-v5p", 1751),
        ("tpu-v6e", 1751),
        ("t4", None),
    ],
)
def test_the_clock_follows_from_peak_and_matrix_units(chip_id, megahertz):
    clock = chips.by_id(chip_id).clock_hz
    assert (clock and round(clock / 1e6)) == megahertz


@pytest.mark.parametrize("chip", chips.load(), ids=[chip.id for chip in chips.load()])
def test_rates_are_ordered_as_hardware_is(chip):
    peaks = chip.peak_tflops
    known = [peaks[dtype] for dtype in ("fp32", "tf32", "bf16", "fp8") if peaks[dtype] is not None]
    # Consumer cards and the P100 run some of these at the same rate, none runs a wider type faster.
    assert known == sorted(known)
    assert all(rate > 0 for rate in known)


@pytest.mark.parametrize(("kind", "chip_id"), KINDS, ids=[kind for kind, _ in KINDS])
def test_every_listed_device_kind_names_its_own_chip(kind, chip_id):
    assert chips.lookup(kind).id == chip_id


@pytest.mark.parametrize(
    ("kind", "chip_id"),
    [
        ("TPU v5", "tpu-v5p"),
        ("TPU v5p", "tpu-v5p"),
        ("TPU v5 lite", "tpu-v5e"),
        ("TPU v5e", "tpu-v5e"),
        ("TPU v6 lite", "tpu-v6e"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("NVIDIA H200 141GB HBM3e", "h200-sxm-141gb"),
        ("NVIDIA H200 NVL", "h200-nvl-141gb"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA L40S", "l40s"),
        ("AMD Instinct MI300X VF", "mi300x"),
        ("AMD Instinct MI300X OAM", "mi300x"),
    ],
)
def test_the_longest_name_wins_and_harmless_suffixes_are_accepted(kind, chip_id):
    assert chips.lookup(kind).id == chip_id


def test_longer_names_are_tried_first():
    lengths = [len(kind) for kind, _ in chips._kinds()]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "cpu",
        "TPU",
        "TPU v4 lite",
        "TPU v5 litepod",
        "TPU v50",
        "tpu v4",
        "NVIDIA H20",
        "NVIDIA H200 NVL2",
        "NVIDIA H200 96GB",
        "NVIDIA H800",
        "NVIDIA A1000",
        "NVIDIA A100X",
        "NVIDIA A100-SXM4-80GB MIG 3g.40gb",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA L40",
        "NVIDIA L4000",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA B200A",
        "AMD Instinct MI300A",
        "AMD Instinct MI300X HF",
        "NVIDIA L4 VF",
    ],
)
def test_unknown_names_are_not_guessed(kind):
    assert chips.lookup(kind) is None


@settings(deadline=None)  # a busy machine is no failure
@given(kind=st.sampled_from([kind for kind, _ in KINDS]), tail=st.text(min_size=1, max_size=8))
def test_a_name_grown_by_a_tail_is_never_another_chip_without_being_listed(kind, tail):
    found = chips.lookup(kind + tail)
    memory_or_module = re.fullmatch(r" \d+GB(?: HBM\d\w*)?| VF| OAM", tail)
    assert found is None or kind + tail in dict(KINDS) or memory_or_module


@pytest.mark.parametrize(
    ("kind", "tflops"),
    [("TPU v2", 22.5), ("TPU v3", 61.5), ("TPU v4", 275), ("TPU7x", 1153.5), ("AMD Instinct MI250X", 191.5)],
)
def test_a_device_that_is_half_a_chip_has_half_its_peak(kind, tflops):
    assert chips.lookup(kind).peak_flops_per_device("bf16") == pytest.approx(tflops * 1e12)


def test_a_split_tpu_v4_shows_two_devices_a_chip():
    assert chips.lookup("TPU v4").jax_devices_per_chip == 1
    assert chips.lookup("TPU v4", cores_per_device=2).jax_devices_per_chip == 1
    split = chips.lookup("TPU v4", cores_per_device=1)
    assert split.jax_devices_per_chip == 2
    assert split.peak_flops_per_device("bf16") == pytest.approx(137.5e12)


@pytest.mark.parametrize("kind", ["TPU v2", "TPU v3", "TPU v5 lite", "TPU v6 lite", "TPU7x"])
def test_one_core_per_device_agrees_with_the_table_where_there_is_no_megacore(kind):
    assert chips.lookup(kind, cores_per_device=1) == chips.lookup(kind)


def test_an_impossible_core_count_is_refused():
    with pytest.raises(ValueError, match="2 TensorCores a chip: a device cannot have 3"):
        chips.lookup("TPU v4", cores_per_device=3)
    assert chips.lookup("NVIDIA L4", cores_per_device=3).id == "l4"


def test_an_unknown_rate_is_none_and_an_unknown_dtype_an_error():
    assert chips.lookup("Tesla V100-SXM2-16GB").peak_flops_per_device("bf16") is None
    with pytest.raises(ValueError, match="no peak is kept for dtype 'fp64'"):
        chips.lookup("NVIDIA L4").peak_flops_per_device("fp64")


@pytest.mark.parametrize(
    ("kind", "memory_bytes", "bandwidth"),
    [
        ("NVIDIA H100 80GB HBM3", 80 * 10**9, 3352e9),
        ("TPU v3", 32 * 2**30, 900e9),
        ("Tesla V100-PCIE-16GB", 16 * 10**9, 897e9),
        ("Tesla V100-PCIE-32GB", 32 * 10**9, 897e9),
    ],
)
def test_memory_follows_the_unit_of_the_source_and_the_size_in_the_name(kind, memory_bytes, bandwidth):
    chip = chips.lookup(kind)
    assert chip.memory_bytes == memory_bytes
    assert chip.memory_bandwidth == pytest.approx(bandwidth)
    assert chip.memory_reason == ""


def test_memory_that_the_name_does_not_tell_is_none_with_a_reason():
    gh200 = chips.lookup("NVIDIA GH200 480GB")  # 480 GB is the CPU's memory
    assert gh200.memory_bytes is None
    assert gh200.memory_bandwidth is None
    assert "96 GB and 144 GB" in gh200.memory_reason
    assert "no source" in chips.lookup("NVIDIA H200 NVL").memory_reason


def test_a_figure_can_be_traced_to_its_source():
    chip = chips.lookup("TPU v3")
    assert chip.sources["peak_tflops_dense_per_chip.bf16"] == (
        "https://docs.cloud.google.com/tpu/docs/v3.md.txt",
    )
    assert chip.power_w == {"tdp": 450, "min": 123, "mean": 220, "max": 262}


@pytest.mark.parametrize("chip", [chip for chip in chips.load() if chip.price], ids=lambda chip: chip.id)
def test_every_price_says_of_whom_where_and_when(chip):
    price = chip.price
    assert 0.05 < price.usd_per_hour < 50
    assert price.provider
    assert price.region
    assert price.source
    assert price.date is None or re.fullmatch(r"20\d\d-\d\d-\d\d", price.date)


def test_no_price_of_the_table_is_lost_and_none_is_made_up():
    cells = {block["id"]: block["price_usd_per_chip_hour"]["v"] for block in TABLE["chips"]}
    assert {chip.id: chip.price.usd_per_hour if chip.price else None for chip in chips.load()} == cells
    assert sum(price is not None for price in cells.values()) == 21


def test_a_price_says_whether_the_host_is_in_it():
    """Notes tell of other offers too; it is the first word on the host that belongs to the price."""
    said = {chip.id: chip.price.host for chip in chips.load() if chip.price}
    apart = {"p100-sxm2-16gb", "v100-sxm2-16gb", "t4"}
    assert {chip for chip, host in said.items() if host == chips.GPU_ONLY} == apart
    unknown = {chip for chip, host in said.items() if host == "host not stated"}
    assert unknown == {"tpu-v2", "tpu-v3", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"}
    assert said["a100-sxm4-40gb"] == said["a100-pcie-80gb"] == chips.HOST_INCLUDED


@pytest.mark.parametrize(
    ("chip_id", "watts", "kind"),
    [
        ("a100-sxm4-80gb", 400, "TDP"),
        ("h100-sxm5-80gb", 700, "TDP"),
        ("tpu-v2", 280, "TDP"),
        ("tpu-v3", 262, "highest measured"),
        ("tpu-v4", 192, "highest measured"),
        ("mi250x", 500, "TDP"),
    ],
)
def test_rated_power_is_the_tdp_or_else_the_vendors_highest(chip_id, watts, kind):
    power = chips.by_id(chip_id).rated_power
    assert (power.watts, power.kind) == (watts, kind)
    assert power.source


def test_a_tdp_of_low_trust_gives_way_to_what_the_vendor_measured():
    assert chips.by_id("tpu-v3").rated_power.source == ("https://docs.cloud.google.com/tpu/docs/v3.md.txt",)
    assert "low trust" in chips.by_id("tpu-v2").rated_power.note


def test_every_cell_that_is_marked_as_doubtful_says_why():
    doubtful = [cell for block in TABLE["chips"] for _, cell in chips._cells(block) if "trust" in cell]
    assert doubtful
    assert all(cell["trust"] == "low" and cell["note"] for cell in doubtful)


def test_the_price_of_a_v6e_is_from_a_catalogue_that_can_be_named():
    price = chips.by_id("tpu-v6e").price
    assert price.date is None
    assert price.source[0].startswith("skypilot-org/skypilot-catalog ")


def test_rated_power_is_unknown_where_no_source_has_one():
    unknown = {chip.id for chip in chips.load() if chip.rated_power is None}
    assert unknown == {"tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-7x"}


def test_rated_power_says_what_else_it_covers():
    assert "CPU+GPU" in chips.by_id("gh200").rated_power.note


def test_a_chip_is_found_by_its_id():
    assert [chips.by_id(chip.id) for chip in chips.load()] == list(chips.load())
    with pytest.raises(KeyError):
        chips.by_id("a100")
