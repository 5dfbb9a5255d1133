"""The least time of a training step, from its traced program alone: what no compiler can go below.

A step takes at least each of these; they may overlap perfectly, so the bound is the largest, not the sum:

- its products' FLOPs over the dense peak of their dtype, evenly spread over the devices. Padding taps of a
  convolution are left out: a program need not multiply by them;
- the bytes of the state, read and written once in a call, and of the batch, over the memory's bandwidth. On a
  GPU what its caches may hold is left out, as it need not leave them between calls;
- for several chips, each parameter's gradient summed over them once a step, in the dtype of the arithmetic,
  over all the links that a chip may have in the slice.

Nothing else is certain. A product's own operands and results may stay on the chip, fused with what makes and
takes them, so no product has a roofline of its own; activations may be computed again instead of kept.

Taken as given: the chip's published rates (one that clocks higher than published can be faster); products
computed directly (Strassen's and Winograd's algorithms multiply less; XLA for TPU uses neither, cuDNN may use
Winograd's for 3 x 3 convolutions in float32); and data parallelism as it is programmed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from trainbench.compiled import collectives
from trainbench.forecast.targets import Target
from trainbench.forecast.timing.limits import COLLECTIVES, MATRIX, MEMORY, VECTOR
from trainbench.hardware import chips
from trainbench.hardware.chips import Chip

# The most on-chip memory that any GPU of chips.yaml has as its last cache: the Infinity Cache of the MI300X
# and MI325X, by AMD's CDNA 3 white paper. A TPU's arrays lie in main memory between calls.
GPU_CACHE_BYTES = 256 * 2**20
# Passes over a bfloat16 matrix unit that JAX's float32 precisions take on a TPU; as `work.PASSES`.
TF32_PASSES = 3
# Ways to other chips along one axis of a TPU slice, at most, and of a chip without neighbours beyond.
WAYS_ALONG_AN_AXIS = 2
LINKS = {2: 4, 3: 6}


@dataclass(frozen=True)
class Demand:
    """What one device call takes for certain, over all devices unless it says otherwise.

    Attributes:
      flops: of products, by the dtype of the narrower operand; "float32*6" is float32 in 6 bfloat16 passes.
      moved_bytes: state in and out and batch in, of one device.
      held_bytes: state and batch, of one device.
      gradient_bytes: what every device contributes to the sums of gradients.
    """

    flops: Mapping[str, float]
    moved_bytes: int
    held_bytes: int
    gradient_bytes: int


@dataclass(frozen=True)
class Bound:
    """The least time of one device call, in seconds, by what takes it; None where that can't be told.

    Attributes:
      matrix_s: of the products, on the `units` that take longest.
      held_bytes: what a device has to hold at least.
      memory_bytes: of one device; None where unknown.
      unknown: in words, what could not be told: the step takes longer by that.
      explanation: which rates it rests on, where the chip's name doesn't say.
      units: matrix or vector units, as `limits` calls them.
    """

    matrix_s: float | None
    memory_s: float | None
    network_s: float | None
    held_bytes: int
    memory_bytes: int | None
    unknown: tuple[str, ...]
    explanation: str = ""
    units: str = MATRIX

    @property
    def seconds(self) -> float | None:
        """None where nothing is known that bounds the step."""
        return max(self.parts.values(), default=None)

    @property
    def parts(self) -> dict[str, float]:
        """What is known, by the name of the limit."""
        named = {self.units: self.matrix_s, MEMORY: self.memory_s, COLLECTIVES: self.network_s}
        return {name: seconds for name, seconds in named.items() if seconds}

    @property
    def fits(self) -> bool:
        """False where the memory certainly does not hold state and batch; True is no promise."""
        return self.memory_bytes is None or self.held_bytes <= self.memory_bytes


def of_chips(demand: Demand, target: Target) -> Bound:
    """The bound of a call on a target of chips.yaml."""
    chip = chips.by_id(target.chip)
    products, unknown = _products(demand.flops, chip, target)
    # A GPU's float32 units work beside its matrix units.
    units = max(products, key=products.__getitem__)
    memory_s = _memory_s(demand.moved_bytes, chip, target)
    if memory_s is None:
        unknown += (f"no source gives the memory bandwidth of {chip.name}",)
    network_s = _network_s(demand.gradient_bytes, chip, target)
    if target.chips > 1 and network_s is None:
        unknown += ("the network between the chips is not known: their collectives count nothing",)
    held, has = demand.held_bytes, _held(chip, target)
    return Bound(products[units] or None, memory_s, network_s, held, has, unknown, units=units)


def of_rates(demand: Demand, rates: Mapping[str, float | None], memory_bytes: int, explanation: str) -> Bound:
    """The bound of a call on one device whose memory's bandwidth is not known, by FLOP/s for each dtype."""
    rated = {kind: rates.get(kind.partition("*")[0]) for kind in demand.flops}
    known = [flops / rate for kind, flops in demand.flops.items() if (rate := rated[kind])]
    unknown = tuple(f"no rate is known for products in {kind}" for kind, rate in rated.items() if not rate)
    unknown += ("the bandwidth of this machine's memory is not known",)
    held = demand.held_bytes
    return Bound(sum(known) or None, None, None, held, memory_bytes, unknown, explanation, VECTOR)


def _products(
    flops: Mapping[str, float], chip: Chip, target: Target
) -> tuple[dict[str, float], tuple[str, ...]]:
    """(seconds of the products by what multiplies, what has no rate)."""
    seconds = {MATRIX: 0.0, VECTOR: 0.0}
    unknown = []
    for kind, count in flops.items():
        dtype, passes = _rate(kind, chip, target.platform)
        peak = chip.peak_tflops.get(dtype) if dtype else None
        if peak is None:
            unknown.append(f"no rate is known for products in {kind.partition('*')[0]} on {chip.name}")
            continue
        seconds[VECTOR if dtype == "fp32" else MATRIX] += passes * count / target.chips / (peak * 1e12)
    return seconds, tuple(dict.fromkeys(unknown))


def _rate(kind: str, chip: Chip, platform: str) -> tuple[str | None, int]:
    """(the rate of chips.yaml that no product of this kind exceeds, passes over the matrix units).

    >>> _rate("float32*6", chips.by_id("tpu-v4"), "tpu"), _rate("float32*1", chips.by_id("l4"), "gpu")
    (('bf16', 6), ('tf32', 1))
    """
    dtype, _, passes = kind.partition("*")
    if dtype.startswith("float8"):
        return "fp8", 1
    if dtype != "float32":
        return {"bfloat16": "bf16", "float16": "fp16", "int8": "int8"}.get(dtype), 1
    if platform == "tpu":
        return "bf16", int(passes)
    if int(passes) <= TF32_PASSES and chip.peak_tflops["tf32"]:
        return "tf32", 1
    # What chips.yaml has is the vector rate; AMD's matrix units do more in float32.
    return "fp32" if chip.vendor == "NVIDIA" else None, 1


def _memory_s(moved_bytes: int, chip: Chip, target: Target) -> float | None:
    if not chip.memory_options or any(option.bandwidth is None for option in chip.memory_options):
        return None
    bandwidth = max(option.bandwidth or 0.0 for option in chip.memory_options) / target.devices_per_chip
    # Twice: what lies in the cache is neither read nor written.
    cached = 2 * GPU_CACHE_BYTES if target.platform == "gpu" else 0
    return max(0, moved_bytes - cached) / bandwidth


def _network_s(gradient_bytes: int, chip: Chip, target: Target) -> float | None:
    """Seconds of the sums over all chips; None where a link's rate is unknown, and for one chip."""
    if target.chips == 1 or chip.interconnect_bandwidth is None:
        return None
    one_way = chip.interconnect_bandwidth / 2
    if target.platform == "tpu":
        sides = [int(side) for side in target.topology.partition(":")[2].split("x")]
        ways = sum(min(side - 1, WAYS_ALONG_AN_AXIS) for side in sides)
        sent = collectives.ring_bytes("all-reduce", gradient_bytes, target.devices, target.devices_per_chip)
        return sent / (one_way / LINKS[len(sides)] * ways)
    if int(target.topology.split("x")[1]) > 1:
        # Between hosts it depends on the cluster.
        return None
    # A switch may add up what passes through it: every chip then sends its part once.
    return collectives.ring_bytes("reduce-scatter", gradient_bytes, target.chips) / one_way


def _held(chip: Chip, target: Target) -> int | None:
    """Memory of one device, at most: sizes printed in GB are taken for GiB, which is what GPUs have."""
    sizes = [option.nominal_gb for option in chip.memory_options]
    return int(max(sizes) * 2**30) // target.devices_per_chip if sizes else None
