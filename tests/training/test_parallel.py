"""The mesh: sizes that make sense, and which process holds which samples."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from trainbench.data.spec import ArraySpec, Share
from trainbench.data.synthetic import GROUP, host_batch
from trainbench.errors import UserError
from trainbench.training import parallel
from trainbench.training.parallel import Axes
from trainbench.training.parallel_settings import AXES, ParallelConfig


@dataclass(frozen=True)
class Elsewhere:
    """A device of another process."""

    id: int
    process_index: int
    platform: str = "cpu"


def mesh_over(processes, devices_each, *sizes):
    devices = [Elsewhere(number, number // devices_each) for number in range(processes * devices_each)]
    return Mesh(np.asarray(devices, dtype=object).reshape(sizes), AXES)


@pytest.mark.parametrize(
    ("sizes", "available", "axes"),
    [
        ((None, 1, 1), 8, Axes(8, 1, 1)),
        ((1, None, 1), 8, Axes(1, 8, 1)),
        ((None, 2, 2), 8, Axes(2, 2, 2)),
        ((4, 1, 2), 8, Axes(4, 1, 2)),
        ((2, 1, 1), 8, Axes(2, 1, 1)),
        ((None, 1, 1), 1, Axes(1, 1, 1)),
    ],
)
def test_the_rest_of_the_devices_goes_to_the_axis_that_is_left_open(sizes, available, axes):
    assert parallel.choose(ParallelConfig("data", *sizes), available) == axes


@pytest.mark.parametrize(
    ("sizes", "available", "use_all", "allowed", "fix"),
    [
        ((3, 1, 1), 8, False, "product divides 8", "parallel.data=2"),
        ((16, 1, 1), 8, False, "product divides 8", "parallel.data=8"),
        ((None, 3, 1), 8, False, "product divides 8", "parallel.fsdp=2"),
        ((2, 1, 8), 8, False, "product divides 8", "parallel.tensor=4"),
        ((4, 1, 1), 8, True, "multiply to 8", "parallel=data uses all 8 devices"),
        ((None, None, 1), 8, False, "rest for one axis", "parallel.fsdp=1"),
        ((1, 2, 1), 1, False, "product divides 1", "parallel=data uses all 1 device"),
    ],
)
def test_sizes_that_make_no_mesh_are_refused(sizes, available, use_all, allowed, fix):
    with pytest.raises(UserError) as error:
        parallel.choose(ParallelConfig("data", *sizes), available, use_all=use_all)
    assert allowed in error.value.allowed
    assert error.value.fix == fix


@dataclass(frozen=True)
class Tpu:
    """A chip of a torus of 4 x 4, which has no side of 2."""

    id: int
    platform: str = "tpu"
    device_kind: str = "TPU v5 lite"
    process_index: int = 0
    core_on_chip: int = 0
    slice_index: int = 0

    @property
    def coords(self):
        return (self.id % 4, self.id // 4, 0)


@pytest.mark.parametrize("sizes", [(4, 4, 1), (2, 4, 2), (8, 1, 2), (2, 2, 4), (16, 1, 1)])
def test_any_sizes_make_a_mesh_of_a_torus_and_the_innermost_axis_has_neighbours(sizes):
    devices = [Tpu(number) for number in range(16)]
    made = parallel.mesh(devices, Axes(*sizes)).devices
    assert made.shape == sizes
    assert set(made.flat) == set(devices)
    for group in made.reshape(-1, sizes[-1]):
        apart = np.abs(np.subtract(group[0].coords, group[-1].coords)).sum()
        assert apart < sizes[-1], "in one row or column"


@pytest.mark.parametrize(
    ("sizes", "shares"),
    [
        ((4, 1, 1), [Share((0, 1), 4, 0, 2), Share((2, 3), 4, 1, 2)]),
        ((1, 4, 1), [Share((0, 1), 4, 0, 2), Share((2, 3), 4, 1, 2)]),
        ((2, 1, 2), [Share((0,), 2, 0, 2), Share((1,), 2, 1, 2)]),
        ((1, 1, 4), [Share((0,), 1, 0, 1), Share((0,), 1, 0, 1)]),
    ],
)
def test_two_processes_share_the_batch_as_their_devices_do(sizes, shares):
    mesh = mesh_over(2, 2, *sizes)
    assert [parallel.share(mesh, process) for process in range(2)] == shares


def test_processes_that_overlap_in_a_part_of_their_samples_are_refused():
    with pytest.raises(UserError, match="share only part"):
        parallel.share(mesh_over(2, 3, 3, 1, 2), 0)


@pytest.mark.parametrize("samples", [6, GROUP, 3 * GROUP])
def test_the_shares_of_all_processes_are_the_batch_of_one(samples):
    spec = {"image": ArraySpec((samples, 2, 2), np.dtype(np.uint8), 0, 255)}
    spec["label"] = ArraySpec((samples,), np.dtype(np.int32), 0, 9)
    whole = host_batch(spec, 5)
    shares = [Share((0, 2), 3, 0, 2), Share((1,), 3, 1, 2)]
    for share in shares:
        part = host_batch(spec, 5, share)
        rows = [row for rows in share.rows(samples) for row in rows]
        assert len(rows) == share.batch_size(samples)
        for name, array in whole.items():
            np.testing.assert_array_equal(part[name], array[rows])


@pytest.mark.parametrize("stacked", [False, True])
def test_a_process_puts_its_rows_where_the_mesh_wants_them(stacked):
    """Both devices are this process's, which takes them for two of its share of several."""
    mesh = parallel.mesh(jax.devices()[:2], Axes(2, 1, 1))
    sharding = parallel.batch_sharding(mesh, stacked=stacked)
    array = np.arange(24).reshape((3, 4, 2) if stacked else (4, 6))
    placed = parallel.put_rows(array, sharding, Share((0, 1), 2, 0, 2), axis=int(stacked))
    np.testing.assert_array_equal(placed, array)
    assert placed.sharding.is_equivalent_to(sharding, array.ndim)
