"""The like blocks of a transformer, one after the other: written out, or as one block in a loop.

In a loop the compiler sees one block, however deep the model is. Its parameters then lie stacked, so that a
path such as blocks/attention/query/kernel names an array [depth, ...], in place of one for each block.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from trainbench.models.layers import REMAT_POLICIES, Policy, run_block

SCANNED = "scanned"
_STACKED = re.compile(r"(^|/)blocks/(?!\d)")


def is_stacked(path: str) -> bool:
    """Whether the parameter of this path has the blocks along its first axis.

    >>> [is_stacked(path) for path in ("blocks/mlp/up/bias", "encoder/blocks/0/mlp/up/bias", "token")]
    [True, False, False]
    """
    return _STACKED.search(path) is not None


def make_blocks(build: Callable[[], nnx.Module], depth: int, policy: Policy) -> Any:
    """So many blocks, one after the other: a list; or a single one that holds the parameters of all.

    Args:
      build: makes the next block. It is called as often either way, so parameters begin alike.
    """
    blocks = [build() for _ in range(depth)]
    if policy.levers.layers != SCANNED:
        return nnx.List(blocks)
    graphdef, _ = nnx.split(blocks[0])
    stacked = jax.tree.map(_stack, *(nnx.state(block) for block in blocks))
    return nnx.merge(graphdef, stacked)


def _stack(*arrays: jax.Array) -> jax.Array:
    return jnp.stack(arrays)


def run_blocks(blocks: Any, inputs: jax.Array, *arrays: Any, remat: str, train: bool) -> jax.Array:
    """What comes out of the last block, each fed with what the one before returned.

    Args:
      blocks: as `make_blocks` returns them.
      arrays: what every block takes beside its inputs. An `nnx.Rngs` gives each block random numbers of its
        own, which in a loop are others than in blocks that are written out.
      remat: as `Policy.remat`, for each block.
    """
    if isinstance(blocks, nnx.List):
        for block in blocks:
            inputs = run_block(block, inputs, *arrays, remat=remat, train=train)
        return inputs
    graphdef, parameters = nnx.split(blocks)
    depth = jax.tree.leaves(parameters)[0].shape[0]
    keys = {place: _keys(one, depth) for place, one in enumerate(arrays) if isinstance(one, nnx.Rngs)}

    def one_block(inputs: jax.Array, of_block: tuple[Any, dict[int, jax.Array]]) -> tuple[jax.Array, None]:
        own, keys = of_block
        given = [nnx.Rngs(keys[place]) if place in keys else one for place, one in enumerate(arrays)]
        return nnx.merge(graphdef, own)(inputs, *given, train=train), None

    if train and remat != "none":
        # A loop's body is compiled apart, so that nothing merges what it computes twice.
        one_block = jax.checkpoint(one_block, policy=REMAT_POLICIES[remat], prevent_cse=False)
    outputs, _ = jax.lax.scan(one_block, inputs, (parameters, keys))
    return outputs


def _keys(rngs: nnx.Rngs, depth: int) -> jax.Array:
    return jax.random.split(rngs.dropout(), depth)
