"""What devices have to send each other, by theory."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from trainbench.training.exchange import ElementBytes, element_bytes, expected_bytes
from trainbench.training.parallel_settings import AXES

FOUR_BYTES = ElementBytes(4, 4)


def parameters(sizes, *specs, size=1000):
    """Arrays of this many elements, on a mesh of these sizes."""
    mesh = AbstractMesh(sizes, AXES)
    return [
        jax.ShapeDtypeStruct((size,), np.float32, sharding=NamedSharding(mesh, PartitionSpec(*spec)))
        for spec in specs
    ]


def test_data_parallel_devices_send_a_gradient_nearly_twice():
    """2 (n-1)/n of 4000 bytes."""
    sent = expected_bytes(parameters((8, 1, 1), ()), FOUR_BYTES)
    assert sent == {"all-reduce": 7000, "all-gather": 0, "reduce-scatter": 0}
    assert sum(expected_bytes(parameters((1, 1, 1), ()), FOUR_BYTES).values()) == 0


def test_what_is_split_is_gathered_twice_and_reduced_once():
    sent = expected_bytes(parameters((1, 8, 1), ("fsdp",), ()), FOUR_BYTES)
    assert sent == {"all-gather": 2 * 3500, "reduce-scatter": 3500, "all-reduce": 7000}, "one is whole"


def test_groups_that_split_alike_add_up_their_parts():
    """Each of 2 parts of 2000 bytes is on 4 devices: 2 x 3/4 of them."""
    sent = expected_bytes(parameters((4, 2, 1), ("fsdp",)), FOUR_BYTES)
    assert sent == {"all-gather": 2 * 2000, "reduce-scatter": 2000, "all-reduce": 3000}
    both = expected_bytes(parameters((4, 2, 1), (("data", "fsdp"),)), FOUR_BYTES)
    assert both == {"all-gather": 7000, "reduce-scatter": 3500, "all-reduce": 0}


def test_narrow_elements_send_less():
    sent = expected_bytes(parameters((1, 8, 1), ("fsdp",)), ElementBytes(gathered=2, reduced=4))
    assert sent == {"all-gather": 3500, "reduce-scatter": 3500, "all-reduce": 0}


def test_there_is_no_theory_for_split_layers():
    assert expected_bytes(parameters((4, 1, 2), ()), FOUR_BYTES) is None


@pytest.mark.parametrize(
    ("platform", "compute", "micro_batches", "gathered", "reduced"),
    [
        ("tpu", "float32", 1, 4, 4),
        ("tpu", "bfloat16", 1, 2, 2),
        ("tpu", "bfloat16", 2, 2, 4),
        ("gpu", "bfloat16", 2, 2, 2),
        ("cpu", "bfloat16", 1, 4, 4),
    ],
)
def test_elements_travel_in_the_dtype_of_the_arithmetic_but_for_sums_and_cpus(
    platform, compute, micro_batches, gathered, reduced
):
    element = element_bytes(platform, np.float32, jax.numpy.dtype(compute), micro_batches)
    assert element == ElementBytes(gathered, reduced)
