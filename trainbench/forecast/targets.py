"""Accelerators to forecast for, by the names that users know them by.

Google names slices of some TPU generations by TensorCores, of others by chips; every target explains which.
Sources: the pages of Cloud TPU on each generation (v3, v4, v5e, v5p, v6e, tpu7x; chips.yaml has their
addresses) and, for 7x, MaxText's src/maxtext/utils/accelerator_to_spec_map.py.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainbench.errors import UserError, nearest
from trainbench.hardware import chips

Platform = Literal["tpu", "gpu", "cpu"]

CHIPS_PER_HOST = (2, 2, 1)  # libtpu's own, and what a dimension of a larger slice is a multiple of
MOST_GPUS_PER_HOST = 8


@dataclass(frozen=True)
class Target:
    """An accelerator, or several of them in one slice.

    Attributes:
      name: as it is shown and stored.
      chip: id in chips.yaml; "cpu" for the processor of this machine.
      topology: what the compiler calls it, such as "v6e:2x4".
      options: further arguments of `jax.experimental.topologies.get_topology_desc`.
      devices: JAX devices of the slice.
      explanation: what the number in the name counts, in a sentence.
    """

    name: str
    chip: str
    platform: Platform
    topology: str
    options: Mapping[str, Any]
    chips: int
    devices: int
    devices_per_chip: int
    explanation: str


@dataclass(frozen=True)
class Generation:
    """One TPU generation.

    Attributes:
      chip: id in chips.yaml.
      counts: what the number in the name of a slice counts.
      dimensions: of the interconnect.
      most_chips: of the largest slice.
      options: what makes libtpu show as many devices per chip as JAX does on the real one. A v4 chip would
        else be two devices; v5p is one and 7x two by itself.
    """

    chip: str
    counts: Literal["TensorCores", "chips"]
    dimensions: int
    most_chips: int
    options: Mapping[str, Any]


GENERATIONS = {
    "v2": Generation("tpu-v2", "TensorCores", 2, 256, {}),
    "v3": Generation("tpu-v3", "TensorCores", 2, 1024, {}),
    "v4": Generation("tpu-v4", "TensorCores", 3, 4096, {"chip_config_name": "megacore"}),
    "v5e": Generation("tpu-v5e", "chips", 2, 256, {}),
    "v5p": Generation("tpu-v5p", "TensorCores", 3, 6144, {}),
    "v6e": Generation("tpu-v6e", "chips", 2, 256, {}),
    "tpu7x": Generation("tpu-7x", "TensorCores", 3, 9216, {}),
}
ALIASES = {"v5litepod": "v5e", "v7x": "tpu7x", "7x": "tpu7x"}
# One chip of each: what a table of all generations compares.
ONE_CHIP = tuple(f"{generation}-1" for generation in GENERATIONS)

# Product names that users shorten, as the module that is trained on; the other forms go by their id.
GPUS = {
    "v100": "v100-sxm2-16gb",
    "a100": "a100-sxm4-80gb",
    "h100": "h100-sxm5-80gb",
    "h200": "h200-sxm-141gb",
    "b200": "b200-sxm",
}
CPU = "cpu"

_SLICE = re.compile(r"(?P<generation>[a-z0-9]+?)-(?P<count>[1-9]\d{0,5})")
_TOPOLOGY = re.compile(r"(?P<generation>[a-z0-9]+):(?P<shape>[1-9]\d{0,3}(?:x[1-9]\d{0,3}){1,2})")
_GPUS = re.compile(r"(?P<gpu>[a-z0-9-]+?)-(?P<count>[1-9]\d{0,3})")


def find(name: str) -> Target:
    """The target that a user means by `name`.

    >>> find("v4-8").chips, find("v4-8").topology, find("v6e-8").chips, find("v3-1").devices
    (4, 'v4:2x2x1', 8, 2)

    Raises:
      UserError: no accelerator is called so, or it is not made in that size.
    """
    text = name.strip().lower()
    bare = text.removeprefix("tpu-")
    if text == CPU:
        return Target(CPU, CPU, "cpu", "", {}, 1, 1, 1, "this machine's processor")
    slice_, topology, gpus = _SLICE.fullmatch(bare), _TOPOLOGY.fullmatch(bare), _GPUS.fullmatch(text)
    if slice_ and (generation := _generation(slice_["generation"])):
        return _named(generation, int(slice_["count"]))
    if topology and (generation := _generation(topology["generation"])):
        return _explicit(generation, tuple(map(int, topology["shape"].split("x"))))
    if gpus and (chip := GPUS.get(gpus["gpu"], gpus["gpu"])) in _gpu_ids():
        return _gpu(gpus["gpu"], chip, int(gpus["count"]))
    raise _unknown(name, bare)


def names(generation: str) -> list[str]:
    """The names of a TPU generation's slices, from one chip upwards.

    >>> names("v5e")
    ['v5e-1', 'v5e-4', 'v5e-8', 'v5e-16', 'v5e-32', 'v5e-64', 'v5e-128', 'v5e-256']
    """
    return [f"{generation}-{count}" for count in _sizes(generation)]


def of_chips(chip_id: str, count: int) -> str | None:
    """The name of so many chips of chips.yaml in one slice; None where they make none.

    >>> of_chips("tpu-v3", 16), of_chips("tpu-v6e", 3), of_chips("a100-sxm4-80gb", 8), of_chips("l4", 12)
    ('v3-32', None, 'a100-8', None)
    """
    for generation, found in GENERATIONS.items():
        if found.chip == chip_id:
            named = [number for number, chips_ in _sizes(generation).items() if chips_ == count]
            return f"{generation}-{named[0]}" if named else None
    whole = count <= MOST_GPUS_PER_HOST or count % MOST_GPUS_PER_HOST == 0
    short = {long: name for name, long in GPUS.items()}
    return f"{short.get(chip_id, chip_id)}-{count}" if chip_id in _gpu_ids() and whole else None


def _sizes(generation: str) -> dict[int, int]:
    """Chips by the number in the name. One chip is always N-1, also where Google's own names begin later."""
    per_chip = _counted_per_chip(generation)
    doublings = int(math.log2(GENERATIONS[generation].most_chips))
    return {1: 1} | {2**power * per_chip: 2**power for power in range(2, doublings + 1)}


def _counted_per_chip(generation: str) -> int:
    found = GENERATIONS[generation]
    return chips.by_id(found.chip).tensorcores_per_chip or 1 if found.counts == "TensorCores" else 1


def _generation(text: str) -> str | None:
    known = ALIASES.get(text, text)
    return known if known in GENERATIONS else None


def _named(generation: str, count: int) -> Target:
    sizes = _sizes(generation)
    if count not in sizes:
        near = min(sizes, key=lambda size: abs(size - count))
        raise UserError(
            f"target={generation}-{count} is not a size of {chips.by_id(GENERATIONS[generation].chip).name}",
            allowed=f"{', '.join(names(generation))} ({_convention(generation)}); or a topology in chips, "
            f"such as {generation}:{_shape_text(_shape(4, GENERATIONS[generation].dimensions))}",
            fix=f"target={generation}-{near}",
        )
    shape = _shape(sizes[count], GENERATIONS[generation].dimensions)
    return _tpu(f"{generation}-{count}", generation, shape)


def _explicit(generation: str, shape: tuple[int, ...]) -> Target:
    found = GENERATIONS[generation]
    shape = (*shape, 1) if len(shape) < found.dimensions else shape
    name = f"{generation}:{_shape_text(shape)}"
    fits = shape[-1] == 1 if len(shape) > found.dimensions else True
    whole = all(size == 1 or size % unit == 0 for size, unit in zip(shape, CHIPS_PER_HOST, strict=False))
    if not fits or not whole or math.prod(shape) > found.most_chips:
        example = f"{generation}:{_shape_text(_shape(16, found.dimensions))}"
        raise UserError(
            f"target={name} cannot be built",
            allowed=f"{found.dimensions} dimensions, the first two 1 or even, and at most "
            f"{found.most_chips} chips",
            fix=f"target={example}",
        )
    return _tpu(name, generation, shape[: found.dimensions])


def _shape(count: int, dimensions: int) -> tuple[int, ...]:
    """The slice that Google makes of a power of two of chips: as near to a square or a cube as it gets.

    >>> _shape(8, 2), _shape(256, 2), _shape(4, 3), _shape(16, 3), _shape(256, 3)
    ((2, 4), (16, 16), (2, 2, 1), (2, 2, 4), (4, 8, 8))
    """
    power = int(math.log2(count))
    if dimensions == 3 and count == 4:
        return (2, 2, 1)
    shares = [(power + later) // dimensions for later in range(dimensions)]
    return tuple(2**share for share in shares)


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _tpu(name: str, generation: str, shape: tuple[int, ...]) -> Target:
    found = GENERATIONS[generation]
    per_chip = chips.by_id(found.chip).jax_devices_per_chip
    count = math.prod(shape)
    bounds = tuple(min(size, unit) for size, unit in zip((*shape, 1), CHIPS_PER_HOST, strict=False))
    return Target(
        name=name,
        chip=found.chip,
        platform="tpu",
        topology=f"{generation}:{_shape_text(shape)}",
        options={"chips_per_host_bounds": bounds, **found.options},
        chips=count,
        devices=count * per_chip,
        devices_per_chip=per_chip,
        explanation=_explanation(name, generation, shape),
    )


def _explanation(name: str, generation: str, shape: tuple[int, ...]) -> str:
    count = math.prod(shape)
    per_chip = chips.by_id(GENERATIONS[generation].chip).jax_devices_per_chip
    made = f"{count} chip{'s' if count > 1 else ''} ({_shape_text(shape)})"
    seen = f"{per_chip} JAX device{'s' if per_chip > 1 else ''} a chip"
    return f"{name} is {made}, {seen}; {_convention(generation)}"


def _convention(generation: str) -> str:
    """What the number in the names counts.

    >>> _convention("v4")
    'names count TensorCores, 2 a chip: v4-8 is 4 chips; v4-1 is our name for one chip'
    """
    if GENERATIONS[generation].counts == "chips":
        return f"names count chips: {generation}-8 is 8 chips"
    per_chip = _counted_per_chip(generation)
    return (
        f"names count TensorCores, {per_chip} a chip: {generation}-8 is {8 // per_chip} chips; "
        f"{generation}-1 is our name for one chip"
    )


def _gpu_ids() -> frozenset[str]:
    return frozenset(chip.id for chip in chips.load() if chip.vendor != "Google")


def _gpu(name: str, chip_id: str, count: int) -> Target:
    chip = chips.by_id(chip_id)
    if count > MOST_GPUS_PER_HOST and count % MOST_GPUS_PER_HOST:
        raise UserError(
            f"target={name}-{count} is not a number of whole hosts",
            allowed=f"up to {MOST_GPUS_PER_HOST} GPUs, or a multiple of that",
            fix=f"target={name}-{-(-count // MOST_GPUS_PER_HOST) * MOST_GPUS_PER_HOST}",
        )
    hosts = -(-count // MOST_GPUS_PER_HOST)
    per_chip = chip.jax_devices_per_chip
    return Target(
        name=f"{name}-{count}",
        chip=chip_id,
        platform="gpu",
        topology=f"1x{hosts}x{count * per_chip // hosts}",
        options={},
        chips=count,
        devices=count * per_chip,
        devices_per_chip=per_chip,
        explanation=f"{name}-{count} is {count} x {chip.name}; names count GPUs",
    )


def _unknown(name: str, bare: str) -> UserError:
    known = [*_all_names(), CPU]
    # "v6e" and "h100" lack no more than a number, "v6e:2" has the right beginning.
    head = re.split(r"[-:]", bare)[0]
    near = f"{head}-1" if f"{head}-1" in known else nearest(bare, known)
    return UserError(
        f"target={name} is not known",
        allowed=f"TPUs {', '.join(ONE_CHIP)} and their slices (v4-8, v5e-16, v6e:4x4, ...); "
        f"GPUs {', '.join(f'{gpu}-1' for gpu in GPUS)}; {CPU}",
        fix=f"target={near or 'v6e-1'}",
    )


def _all_names() -> Iterator[str]:
    for generation in GENERATIONS:
        yield from names(generation)
    for gpu in (*GPUS, *sorted(_gpu_ids())):
        yield f"{gpu}-1"
