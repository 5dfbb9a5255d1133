"""Parameters of several layers in one array: to optimizers and meshes they are those layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from trainbench.training import parallel, sharding
from trainbench.training.optimizer import OptimizerConfig, build, decayed
from trainbench.training.parallel import Axes

ADAPTIVE = {"b1": 0.9, "b2": 0.999, "eps": 1e-6}
MOMENTUM = {"momentum": 0.9, "nesterov": False}
DEPTH = 3


def layered():
    """(parameters by layer, the same as stacks, gradients of the first)."""
    shapes = {"mlp/up/kernel": (4, 6), "mlp/up/bias": (6,), "norm/scale": (4,)}
    random = np.random.default_rng(0)
    arrays = [
        {
            f"blocks/{layer}/{name}": jnp.asarray(random.normal(scale=1 + layer, size=shape), jnp.float32)
            for layer in range(DEPTH)
            for name, shape in shapes.items()
        }
        for _ in range(2)
    ]
    return arrays[0], stacked(arrays[0]), arrays[1]


def stacked(by_layer):
    names = {path.split("/", 2)[2] for path in by_layer}
    return {
        f"blocks/{name}": jnp.stack([by_layer[f"blocks/{layer}/{name}"] for layer in range(DEPTH)])
        for name in names
    }


@pytest.mark.parametrize(
    ("name", "constants"),
    [
        ("sgd", MOMENTUM),
        ("lars", MOMENTUM | {"trust_coefficient": 0.001}),
        ("adamw", ADAPTIVE),
        ("lamb", ADAPTIVE),
    ],
)
def test_an_optimizer_updates_a_stack_as_it_does_its_layers(name, constants):
    optimizer = build(OptimizerConfig(name, 0.1, 0.01, **constants), 8)
    params, stacks, gradients = layered()
    by_layer, _ = optimizer.update(gradients, optimizer.init(params), params)
    by_stack, _ = optimizer.update(stacked(gradients), optimizer.init(stacks), stacks)
    for path, update in stacked(by_layer).items():
        np.testing.assert_allclose(by_stack[path], update, rtol=1e-5)


def test_biases_in_a_stack_are_not_decayed():
    assert decayed(layered()[1]) == {
        "blocks/mlp/up/kernel": True,
        "blocks/mlp/up/bias": False,
        "blocks/norm/scale": False,
    }


@pytest.mark.parametrize("path", ["attention/query/kernel", "mlp/down/kernel", "attention/query/bias"])
def test_a_mesh_splits_a_stack_as_it_does_each_layer(path):
    shape = (64, 64) if path.endswith("kernel") else (64,)
    for axes in (Axes(1, 2, 1), Axes(1, 1, 2)):
        mesh = parallel.mesh(jax.devices()[:2], axes)
        alone = sharding.spec_of(f"blocks/0/{path}", shape, mesh)
        # The number of layers is divided by no axis, though it could be.
        assert sharding.spec_of(f"blocks/{path}", (8, *shape), mesh) == PartitionSpec(None, *alone)


def test_what_a_mesh_could_not_split_of_a_stack_is_told_as_of_a_layer():
    mesh = parallel.mesh(jax.devices()[:2], Axes(1, 1, 2))
    found = sharding.unsplit({"blocks/mlp/up/kernel": np.zeros((8, 64, 7))}, mesh)
    assert found == ("blocks/mlp/up/kernel: 7 is not a multiple of tensor=2",)
