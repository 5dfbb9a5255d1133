"""One device of a target in the numbers that the time model divides by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trainbench.forecast.targets import Platform, Target
from trainbench.hardware import chips
from trainbench.hardware.chips import DTYPES, Chip

# An axis of a slice has links around its ends where it spans the whole pod (of a 2D torus), or in slices
# of whole 4x4x4 cubes (3D). Elsewhere it is a line. Source: the scaling book, "How to Think About TPUs"
# (jax-ml/scaling-book tpus.md@54e2c439744ac33b9b8883a42b891b121c48f981).
POD_SIDE = {"tpu-v3": 32, "tpu-v5e": 16, "tpu-v6e": 16}
CUBE_SIDE = 4
_LINKS = {"ICI 2D": 4, "ICI 2D torus": 4, "ICI 3D torus": 6}


@dataclass(frozen=True)
class ChipModel:
    """One JAX device, and its way to the others.

    Attributes:
      flops_per_s: dense peak by dtype; None where no source gives one.
      memory_bytes_per_s: peak of main memory.
      clock_hz: of the TensorCores; None where unknown, as for GPUs.
      devices: of the whole target.
      devices_per_chip: they share the chip's links.
      network_bytes_per_s: what a chip can send over the links that this slice uses; None where unknown.
      platform: whose compiler the program comes from.
    """

    name: str
    flops_per_s: Mapping[str, float | None]
    memory_bytes_per_s: float
    clock_hz: float | None
    devices: int = 1
    devices_per_chip: int = 1
    network_bytes_per_s: float | None = None
    platform: Platform = "tpu"

    def peak(self, dtype: str) -> float | None:
        """FLOP/s for products of `dtype`; without a rate of its own tf32 has that of fp32, others of bf16."""
        return self.flops_per_s.get(dtype) or self.flops_per_s.get("fp32" if dtype == "tf32" else "bf16")


def for_target(target: Target) -> ChipModel:
    """The model of one device of `target`, a TPU or a GPU.

    Between hosts of GPUs the network depends on the cluster, so it is unknown.

    Raises:
      ValueError: no source gives the chip's memory bandwidth.
    """
    chip = chips.by_id(target.chip)
    if target.platform == "tpu":
        sides = [int(side) for side in target.topology.partition(":")[2].split("x")]
        return chip_model(chip, sides, target.devices_per_chip)
    model = chip_model(chip, (target.chips,), target.devices_per_chip)
    hosts = int(target.topology.split("x")[1])
    return model if hosts == 1 else replace(model, network_bytes_per_s=None)


def chip_model(chip: Chip, topology: Sequence[int] = (1,), devices_per_chip: int | None = None) -> ChipModel:
    """The model of one device of `chip` in a slice of `topology` chips along each axis.

    Args:
      devices_per_chip: where the target differs from the chip's usual mode (a v4 without megacore has two).

    Raises:
      ValueError: no source gives the chip's memory bandwidth.
    """
    share = devices_per_chip or chip.jax_devices_per_chip
    if chip.memory_bandwidth is None:
        raise ValueError(f"no source gives the memory bandwidth of {chip.name}")
    peaks = {dtype: chip.peak_tflops[dtype] for dtype in DTYPES}
    return ChipModel(
        name=chip.name,
        flops_per_s={dtype: None if peak is None else peak * 1e12 / share for dtype, peak in peaks.items()},
        memory_bytes_per_s=chip.memory_bandwidth / share,
        clock_hz=chip.clock_hz,
        devices=math.prod(topology) * share,
        devices_per_chip=share,
        network_bytes_per_s=_network(chip, topology),
        platform="tpu" if chip.vendor == "Google" else "gpu",
    )


def _network(chip: Chip, topology: Sequence[int]) -> float | None:
    """Bytes a second that one chip can send: all links of a GPU, of a TPU those that lead to a neighbour."""
    if chip.interconnect_bandwidth is None:
        return None
    one_way = chip.interconnect_bandwidth / 2
    if chip.interconnect not in _LINKS:
        return one_way
    return one_way / _LINKS[chip.interconnect] * sum(links(chip, topology))


def links(chip: Chip, topology: Sequence[int]) -> tuple[int, ...]:
    """Links of a TPU along each axis that a collective can use: two on a ring, one on a line, none alone."""
    pod, cubes = POD_SIDE.get(chip.id), all(side % CUBE_SIDE == 0 for side in topology)
    rings = [side == pod if pod else cubes and len(topology) == 3 for side in topology]
    return tuple(0 if side == 1 else 2 if ring else 1 for side, ring in zip(topology, rings, strict=True))
