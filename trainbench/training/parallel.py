"""The device mesh: its axes, and how batches lie on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from trainbench.data.spec import HostBatch, Share
from trainbench.errors import UserError
from trainbench.training.parallel_settings import AXES, ParallelConfig

DATA, FSDP, TENSOR = AXES


@dataclass(frozen=True)
class Axes:
    """Devices along each axis of the mesh, all chosen."""

    data: int = 1
    fsdp: int = 1
    tensor: int = 1

    @property
    def sizes(self) -> tuple[int, int, int]:
        return (self.data, self.fsdp, self.tensor)

    @property
    def devices(self) -> int:
        return prod(self.sizes)

    @property
    def replicas(self) -> int:
        """Parts that the global batch is cut into."""
        return self.data * self.fsdp

    def __str__(self) -> str:
        split = [f"{name} {size}" for name, size in zip(AXES, self.sizes, strict=True) if size > 1]
        return " x ".join(split) or "1 device"


def choose(asked: ParallelConfig, available: int, *, use_all: bool = False) -> Axes:
    """The mesh that is asked for, out of `available` devices.

    Where no axis takes the rest, fewer devices may be used, as in a sweep over their number; but only a
    divisor of what there is, since anything else is a slip.

    Args:
      use_all: whether no device may be left out: each process of several has to have a part in every step.

    Raises:
      UserError: the sizes don't multiply to a number of devices that can be used.
    """
    sizes = {axis: getattr(asked, axis) for axis in AXES}
    given = {axis: size for axis, size in sizes.items() if size is not None}
    open_axes = [axis for axis in AXES if axis not in given]
    fixed = prod(given.values())
    if len(open_axes) > 1:
        raise UserError(
            f"{' and '.join(f'parallel.{axis}=rest' for axis in open_axes)}: only one axis can have the rest",
            allowed="rest for one axis",
            fix=f"parallel.{open_axes[-1]}=1",
        )
    if available % fixed or (use_all and not open_axes and fixed != available):
        raise _does_not_multiply(given, fixed, available, use_all=use_all and not open_axes)
    if open_axes:
        given[open_axes[0]] = available // fixed
    return Axes(**given)


def _does_not_multiply(given: dict[str, int], fixed: int, available: int, *, use_all: bool) -> UserError:
    shown = (
        " ".join(f"parallel.{axis}={size}" for axis, size in given.items() if size > 1) or "parallel.data=1"
    )
    devices = "1 device" if available == 1 else f"{available} devices"
    if use_all:
        problem, allowed = f"{shown} takes {fixed} of {devices}", f"axis sizes that multiply to {available}"
        return UserError(problem, allowed=allowed, fix=f"parallel=data uses all {devices}")
    return UserError(
        f"{shown}: {fixed} does not divide the {devices} that there are",
        allowed=f"axis sizes whose product divides {available}, or rest for one axis",
        fix=_nearest(given, fixed, available) or f"parallel=data uses all {devices}",
    )


def _nearest(given: dict[str, int], fixed: int, available: int) -> str:
    """The largest smaller size of one axis that would do; "" where there is none."""
    for axis, size in reversed(given.items()):
        fitting = [smaller for smaller in range(2, size) if available % (fixed // size * smaller) == 0]
        if fitting:
            return f"parallel.{axis}={fitting[-1]}"
    return ""


def mesh(devices: Sequence[jax.Device], axes: Axes) -> Mesh:
    """The devices by axis; along the inner ones lie those with the fastest links."""
    if sum(size > 1 for size in axes.sizes) > 1 and devices[0].platform == "tpu":
        # A torus of 4 x 4 has no side of 2 devices, as an axis of the mesh may have.
        placed = mesh_utils.create_device_mesh(axes.sizes, devices, allow_split_physical_axes=True)
        return Mesh(placed, AXES)
    # Without a second axis the order does not matter, and other platforms number neighbours in order.
    return Mesh(np.asarray(devices).reshape(axes.sizes), AXES)


def share(mesh: Mesh, process: int) -> Share:
    """The parts of each global batch that the devices of a process hold.

    Raises:
      UserError: processes hold overlapping parts, which only a mesh across the processes' borders does.
    """
    replicas = mesh.devices.reshape(-1, mesh.shape[TENSOR])
    held: dict[int, list[int]] = {}
    for replica, devices in enumerate(replicas):
        for index in sorted({device.process_index for device in devices}):
            held.setdefault(index, []).append(replica)
    readers = sorted({tuple(parts) for parts in held.values()})
    if sum(map(len, readers)) != len(replicas):
        raise UserError(
            f"{Axes(*mesh.devices.shape)} over {len(held)} processes: some share only part of their samples",
            allowed="a number of devices in each process that parallel.tensor divides, or that divides it",
            fix="parallel.tensor=1",
        )
    mine = tuple(held[process])
    return Share(mine, len(replicas), readers.index(mine), len(readers))


def put(batch: HostBatch, sharding: NamedSharding, share: Share) -> dict[str, jax.Array]:
    """The transfer of a host batch to the devices, started.

    Args:
      batch: the samples of this process's share, in order.
      sharding: of the global batch, as `batch_sharding` gives it.
    """
    if sharding.is_fully_addressable:
        placed: dict[str, jax.Array] = jax.device_put(dict(batch), sharding)
        return placed
    axis = len(sharding.spec) - 1
    return {name: put_rows(array, sharding, share, axis) for name, array in batch.items()}


def put_rows(array: np.ndarray, sharding: NamedSharding, share: Share, axis: int) -> jax.Array:
    """The global array of which this process has the samples of its share, along `axis`, in order."""
    size = array.shape[axis] // len(share.replicas)
    offsets = {replica * size: number * size for number, replica in enumerate(share.replicas)}
    shape = (*array.shape[:axis], size * share.replica_count, *array.shape[axis + 1 :])

    def part(index: tuple[slice, ...] | None) -> np.ndarray:
        assert index is not None
        offset = offsets[index[axis].start or 0]
        return array[(*index[:axis], slice(offset, offset + size), *index[axis + 1 :])]

    return jax.make_array_from_callback(shape, sharding, part)


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, *, stacked: bool) -> NamedSharding:
    """The batch axis split over `data` and `fsdp`; it is the second axis of stacked batches."""
    samples = (DATA, FSDP)
    return NamedSharding(mesh, PartitionSpec(None, samples) if stacked else PartitionSpec(samples))
