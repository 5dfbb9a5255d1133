"""Like blocks, written out and in a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from trainbench.levers.values import Levers
from trainbench.models.blocks import make_blocks, run_blocks
from trainbench.models.layers import Policy
from trainbench.training.state import Structure

DEPTH, WIDTH = 3, 4


class Block(nnx.Module):
    """Adds a product, or what is left of it, and a number that all blocks are given."""

    def __init__(self, rngs, rate=0.0):
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (WIDTH, WIDTH)))
        self.dropout = nnx.Dropout(rate)

    def __call__(self, inputs, added, rngs, *, train):
        product = jnp.tanh(inputs @ self.kernel[...]) + added
        return inputs + self.dropout(product, deterministic=not train, rngs=rngs)


class Model(nnx.Module):
    def __init__(self, layers, rngs, rate=0.0):
        policy = Policy(levers=Levers(layers=layers))
        self.blocks = make_blocks(lambda: Block(rngs, rate), DEPTH, policy)


def model(layers, rate=0.0):
    return Model(layers, nnx.Rngs(params=3), rate)


def test_a_stack_begins_with_the_parameters_of_its_blocks():
    written, loop = (
        Structure.of(lambda rngs, layers=layers: Model(layers, rngs)).split(model(layers))[0]
        for layers in ("unrolled", "scanned")
    )
    assert list(written) == [f"blocks/{number}/kernel" for number in range(DEPTH)]
    assert list(loop) == ["blocks/kernel"]
    np.testing.assert_array_equal(loop["blocks/kernel"], np.stack(list(written.values())))


@pytest.mark.parametrize("remat", ["none", "full"])
def test_outputs_and_gradients_are_the_same_in_the_loop(remat):
    def both(layers):
        graphdef, parameters = nnx.split(model(layers))

        def total(parameters, inputs):
            blocks = nnx.merge(graphdef, parameters).blocks
            return run_blocks(blocks, inputs, 0.5, None, remat=remat, train=True).sum()

        return jax.jit(jax.value_and_grad(total, (0, 1)))(parameters, jnp.ones((2, WIDTH)))

    (written, of_written), (loop, of_loop) = both("unrolled"), both("scanned")
    np.testing.assert_allclose(loop, written, rtol=1e-6)
    np.testing.assert_allclose(of_loop[1], of_written[1], rtol=1e-5)
    np.testing.assert_allclose(
        jax.tree.leaves(of_loop[0])[0], np.stack(jax.tree.leaves(of_written[0])), rtol=1e-5
    )


def test_each_block_in_the_loop_drops_by_its_own_random_numbers():
    blocks = model("scanned", rate=0.5).blocks
    blocks.kernel.set_value(jnp.zeros_like(blocks.kernel[...]))

    @jax.jit
    def run(inputs, key):
        return run_blocks(blocks, inputs, 1.0, nnx.Rngs(key), remat="none", train=True)

    found = np.asarray(run(jnp.zeros((1000, WIDTH)), jax.random.key(0)))
    # What a block keeps of 1 counts twice; each of the three keeps it or not by itself.
    values, counts = np.unique(found, return_counts=True)
    assert list(values) == [0, 2, 4, 6]
    np.testing.assert_allclose(counts / found.size, [1 / 8, 3 / 8, 3 / 8, 1 / 8], atol=0.03)


def test_in_evaluation_nothing_is_dropped():
    blocks = model("scanned", rate=0.5).blocks
    blocks.kernel.set_value(jnp.zeros_like(blocks.kernel[...]))
    found = run_blocks(blocks, jnp.zeros((2, WIDTH)), 1.0, None, remat="full", train=False)
    np.testing.assert_array_equal(found, DEPTH)
