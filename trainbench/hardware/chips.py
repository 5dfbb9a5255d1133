"""The accelerators that are known, and which of them a JAX `device_kind` names.

The figures, their sources and the conflicts between sources are in `chips.yaml` beside this file. Everything
here is per chip (the package one buys or rents). A JAX device may be less: a TPU v2, v3 or 7x chip and an
MI250X show two devices each, so a per-device limit goes through `peak_flops_per_device`.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import yaml

# The rates that chips.yaml knows; fp32 is the vector rate, int8 counts operations.
DTYPES = ("bf16", "fp16", "tf32", "fp32", "fp8", "int8")

# What a driver may append to a product name without naming another product. Nothing else is accepted:
# "RTX 3090 Ti", "RTX 4090 D", "RTX 4090 Laptop GPU" and MIG slices ("... MIG 1g.10gb") are other machines
# than the name they begin with. Memory size and kind: the H200 string of the XLA target description;
# VF (virtual function) and OAM (module form): the RunPod list; both in chips.yaml.
_SUFFIX = {
    "NVIDIA": re.compile(r"(?: (?P<gb>\d+)GB(?: HBM\d\w*)?)?"),
    "AMD": re.compile(r"(?: VF| OAM)?"),
    "Google": re.compile(r""),
}

# What a price buys, in the words of `Price.host`.
HOST_INCLUDED, GPU_ONLY = "host included", "GPU only, host billed apart"
HOST_NOT_STATED = "host not stated"
_HOST = re.compile(r"host (?:share )?included|GPU[ -]only")
# In the order of preference, after trust; a mean or a minimum depends on what ran.
_RATED = {"tdp": "TDP", "max": "highest measured"}


@dataclass(frozen=True)
class Memory:
    """One memory configuration of a chip: nominal size in GB as printed, size in bytes, bandwidth in B/s."""

    nominal_gb: float
    bytes: int
    bandwidth: float | None


@dataclass(frozen=True)
class Power:
    """The power that a chip is rated at, in watts.

    Attributes:
      kind: "TDP"; or "highest measured", the vendor's own measurement where no good source states a TDP.
      source: in full.
      note: what it covers where that is not the chip alone, or why to trust it less; mostly empty.
    """

    watts: float
    kind: str
    source: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Price:
    """What one chip costs to rent, in US dollars an hour.

    Attributes:
      date: None where the source has none.
      source: in full.
      note: what it was computed from, and other offers.
    """

    usd_per_hour: float
    provider: str
    region: str
    date: str | None
    source: tuple[str, ...]
    note: str

    @property
    def host(self) -> str:
        """Whether the host machine is in the price, in words.

        >>> by_id("t4").price.host
        'GPU only, host billed apart'
        """
        # The note speaks of this price first, and of other offers after it.
        said = _HOST.search(self.note)
        if said is None:
            return HOST_NOT_STATED
        return HOST_INCLUDED if "included" in said.group() else GPU_ONLY


@dataclass(frozen=True)
class Chip:
    """One accelerator. Rates are dense (never with structured sparsity) and per chip.

    Attributes:
      device_kinds: the exact JAX `device_kind` strings that name it.
      jax_devices_per_chip: how many JAX devices one chip shows.
      tensorcores_per_chip: TPU TensorCores, None for a GPU.
      matrix_flops_per_cycle: what one TensorCore's matrix units do in a clock cycle, in bf16; None for a GPU.
      interconnect: the kind of links to other chips.
      interconnect_bandwidth: B/s, both directions and all links of the chip summed; None where unknown.
      peak_tflops: TFLOP/s by dtype (TOP/s for int8); None where no source gives a rate.
      memory_options: the configurations sold under this name; more than one where the name is shared.
      power_w: watts by kind (tdp, mean, max, ...), only those that a source gives.
      rated_power: the TDP, else the highest power measured by the vendor, else a TDP marked `trust: low`.
      price: None where no source gives one.
      sources: by field, the sources in full.
    """

    id: str
    name: str
    vendor: str
    device_kinds: tuple[str, ...]
    jax_devices_per_chip: int
    tensorcores_per_chip: int | None
    matrix_flops_per_cycle: int | None
    interconnect: str
    interconnect_bandwidth: float | None
    peak_tflops: Mapping[str, float | None]
    memory_options: tuple[Memory, ...]
    power_w: Mapping[str, float]
    rated_power: Power | None
    price: Price | None
    sources: Mapping[str, tuple[str, ...]]

    @property
    def memory_bytes(self) -> int | None:
        """Nominal memory of one chip in bytes; None where unknown or ambiguous (see `memory_reason`).

        Decimal GB unless the source says GiB. What a program can use is the allocator's own limit.
        """
        sizes = {option.bytes for option in self.memory_options}
        return sizes.pop() if len(sizes) == 1 else None

    @property
    def memory_bandwidth(self) -> float | None:
        """Peak memory bandwidth of one chip in B/s; None where unknown or ambiguous."""
        rates = {option.bandwidth for option in self.memory_options}
        return rates.pop() if len(rates) == 1 else None

    @property
    def clock_hz(self) -> float | None:
        """Clock of the TensorCores, from what they do at their peak and in a cycle; None for a GPU.

        >>> round(by_id("tpu-v3").clock_hz / 1e6)  # 123e12 / (2 cores x 65536)
        938
        """
        peak = self.peak_tflops["bf16"]
        if peak is None or self.matrix_flops_per_cycle is None or self.tensorcores_per_chip is None:
            return None
        return peak * 1e12 / (self.tensorcores_per_chip * self.matrix_flops_per_cycle)

    @property
    def memory_reason(self) -> str:
        """Why `memory_bytes` is None; empty where it is known."""
        if self.memory_bytes is not None:
            return ""
        if not self.memory_options:
            return f"no source gives the memory of {self.name}"
        sizes = " and ".join(f"{option.nominal_gb:g} GB" for option in self.memory_options)
        return f"{self.name} is sold with {sizes}, and the device name does not tell which"

    def peak_flops_per_device(self, dtype: str) -> float | None:
        """Dense peak of one JAX device in FLOP/s; None where no source gives a rate for `dtype`.

        >>> lookup("TPU v3").peak_flops_per_device("bf16")  # 123 TFLOP/s per chip of two devices
        61500000000000.0

        Raises:
          ValueError: `dtype` is not one of DTYPES.
        """
        if dtype not in DTYPES:
            raise ValueError(f"no peak is kept for dtype {dtype!r}; known: {', '.join(DTYPES)}")
        peak = self.peak_tflops[dtype]
        return None if peak is None else peak * 1e12 / self.jax_devices_per_chip


def lookup(device_kind: str, *, cores_per_device: int | None = None) -> Chip | None:
    """The chip that `device_kind` names, or None: never a guess, since a wrong peak gives a wrong MFU.

    The longest known name that begins the string wins, and only a harmless suffix may follow it (`_SUFFIX`);
    a memory size in the suffix must be one that the chip is sold with.

    Args:
      device_kind: `jax.Device.device_kind`.
      cores_per_device: TensorCores per JAX device (`jax.Device.num_cores`), which tells a TPU v4 or v5p in
        megacore mode (2, one device per chip; the default on Google Cloud and here) from a split one (1,
        two devices per chip). The name alone does not tell them apart. Ignored for GPUs.

    Raises:
      ValueError: `cores_per_device` does not divide the chip's TensorCores.
    """
    for kind, chip in _kinds():
        if not device_kind.startswith(kind):
            continue
        suffix = _SUFFIX[chip.vendor].fullmatch(device_kind[len(kind) :])
        if suffix and _memory_agrees(chip, suffix.groupdict().get("gb")):
            return _with_cores(_with_memory(chip, device_kind), cores_per_device)
    return None


@functools.cache
def load() -> tuple[Chip, ...]:
    """All chips of chips.yaml, in its order."""
    table = _table()
    return tuple(_chip(block, table["sources"]) for block in table["chips"])


def by_id(chip_id: str) -> Chip:
    """The chip of chips.yaml with this id.

    Raises:
      KeyError: there is none.
    """
    return {chip.id: chip for chip in load()}[chip_id]


@functools.cache
def _kinds() -> tuple[tuple[str, Chip], ...]:
    pairs = [(kind, chip) for chip in load() for kind in chip.device_kinds]
    return tuple(sorted(pairs, key=_by_length, reverse=True))


def _by_length(pair: tuple[str, Chip]) -> int:
    return len(pair[0])


def _memory_agrees(chip: Chip, size_gb: str | None) -> bool:
    known = {option.nominal_gb for option in chip.memory_options}
    return size_gb is None or not known or float(size_gb) in known


def _with_memory(chip: Chip, device_kind: str) -> Chip:
    """The chip with only the memory that its full name states, where it states one of several."""
    printed = {float(size) for size in re.findall(r"(\d+)GB", device_kind)}
    fitting = tuple(option for option in chip.memory_options if option.nominal_gb in printed)
    return replace(chip, memory_options=fitting) if fitting else chip


def _with_cores(chip: Chip, cores_per_device: int | None) -> Chip:
    if cores_per_device is None or chip.tensorcores_per_chip is None:
        return chip
    if cores_per_device < 1 or chip.tensorcores_per_chip % cores_per_device:
        raise ValueError(
            f"{chip.name} has {chip.tensorcores_per_chip} TensorCores a chip: "
            f"a device cannot have {cores_per_device}"
        )
    return replace(chip, jax_devices_per_chip=chip.tensorcores_per_chip // cores_per_device)


@functools.cache
def _table() -> dict[str, Any]:
    text = resources.files("trainbench.hardware").joinpath("chips.yaml").read_text(encoding="utf-8")
    # The C parser reads the file in a tenth of the time, but PyYAML is not always built with it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)


def _chip(block: dict[str, Any], sources: Mapping[str, str]) -> Chip:
    kinds = [*(block["device_kind"]["v"] or []), *block.get("device_kind_aliases", {}).get("v", [])]
    peaks, power = block["peak_tflops_dense_per_chip"], block["power_w"]
    links = block["interconnect"]["gbs_bidirectional_per_chip"]["v"]
    return Chip(
        id=block["id"],
        name=block["name"],
        vendor=block["vendor"],
        device_kinds=tuple(kinds),
        jax_devices_per_chip=block["jax_devices_per_chip"]["v"],
        tensorcores_per_chip=block.get("tensorcores_per_chip", {}).get("v"),
        matrix_flops_per_cycle=block.get("matrix_flops_per_cycle", {}).get("v"),
        interconnect=block["interconnect"]["type"],
        interconnect_bandwidth=None if links is None else links * 1e9,
        peak_tflops={dtype: peaks[dtype]["v"] for dtype in DTYPES},
        memory_options=tuple(_memories(block["memory_gb"], block["mem_bw_gbs"])),
        power_w={kind: cell["v"] for kind, cell in power.items() if kind != "note" and cell["v"] is not None},
        rated_power=_rated_power(power, sources),
        price=_price(block["price_usd_per_chip_hour"], sources),
        sources={field: _sources(cell, sources) for field, cell in _cells(block)},
    )


def _memories(size: dict[str, Any], bandwidth: dict[str, Any]) -> Iterator[Memory]:
    """The memory configurations; a list of bandwidths is in the order of the sizes."""
    if size["v"] is None:
        return
    unit = 2**30 if "GiB" in size.get("note", "") else 10**9
    sizes = size["v"] if isinstance(size["v"], list) else [size["v"]]
    rates = bandwidth["v"] if isinstance(bandwidth["v"], list) else [bandwidth["v"]] * len(sizes)
    for gigabytes, rate in zip(sizes, rates, strict=True):
        yield Memory(float(gigabytes), round(gigabytes * unit), None if rate is None else rate * 1e9)


def _rated_power(power: Mapping[str, Any], sources: Mapping[str, str]) -> Power | None:
    rated = [(kind, power.get(field, {"v": None})) for field, kind in _RATED.items()]
    for kind, cell in sorted(rated, key=lambda pair: pair[1].get("trust") == "low"):
        if cell["v"] is not None:
            return Power(float(cell["v"]), kind, _sources(cell, sources), cell.get("note", ""))
    return None


def _price(cell: Mapping[str, Any], sources: Mapping[str, str]) -> Price | None:
    if cell["v"] is None:
        return None
    where, note = (cell["provider"], cell["region"], cell["date"]), cell.get("note", "")
    return Price(float(cell["v"]), *where, _sources(cell, sources), note)


def _cells(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted field name, cell) for every sourced value of a chip's block."""
    for field, value in block.items():
        if isinstance(value, dict) and "v" in value:
            yield prefix + field, value
        elif isinstance(value, dict):
            yield from _cells(value, f"{prefix}{field}.")


def _sources(cell: Mapping[str, Any], sources: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sources[key] for key in cell.get("src", "").split("+") if key)
