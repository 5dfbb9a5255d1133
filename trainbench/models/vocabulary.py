"""Tables of tokens with more rows than tokens, so that their size is a multiple of what hardware likes.

The rows beyond the vocabulary begin at zero, are never looked up, and their logits are masked out of every
loss, so they get no gradient and stay at zero: what is learned is what it would be without them.
"""

import re
from collections.abc import Mapping
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer

from trainbench.models.dots import float32_einsum
from trainbench.models.layers import Policy

# The dimension of each parameter that has the tokens, by the end of its path.
_TOKEN_DIMENSIONS = {
    re.compile(r"(^|/)token$"): 0,
    re.compile(r"(^|/)head/kernel$"): 1,
    re.compile(r"(^|/)head/bias$"): 0,
}


def lengthened(array: jax.Array, axis: int, policy: Policy) -> jax.Array:
    """A new parameter, with as many zeros after the tokens as `vocabulary_multiple` asks for."""
    missing = -array.shape[axis] % policy.levers.vocabulary_multiple
    widths = [(0, missing if each == axis else 0) for each in range(array.ndim)]
    return jnp.pad(array, widths) if missing else array


def of_tokens(logits: jax.Array, vocabulary: int) -> jax.Array:
    """The same logits [..., rows]; those of rows that are no token are as low as can be.

    They are masked and not cut off, since a cut would leave arrays of an awkward size in every later step.
    """
    if logits.shape[-1] == vocabulary:
        return logits
    is_token = jnp.arange(logits.shape[-1]) < vocabulary
    return jnp.where(is_token, logits, jnp.finfo(logits.dtype).min)


def added_rows(params: Mapping[str, Any], vocabulary: int) -> int:
    """Numbers among these parameters, by path, that belong to no token."""
    return sum(
        prod(array.shape) // array.shape[axis] * (array.shape[axis] - vocabulary)
        for path, array in params.items()
        for ending, axis in _TOKEN_DIMENSIONS.items()
        if ending.search(path)
    )


class TokenHead(nnx.Module):
    """The output projection of a language model that has one of its own: no bias, float32 logits."""

    def __init__(
        self, width: int, vocabulary: int, *, kernel_init: Initializer, policy: Policy, rngs: nnx.Rngs
    ) -> None:
        kernel = kernel_init(rngs.params(), (width, vocabulary), policy.param_dtype)
        self.kernel = nnx.Param(lengthened(kernel, 1, policy))
        self.vocabulary = vocabulary

    @jax.named_scope("head")
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Float32 logits [B, T, V] of tokens [B, T, D] in the compute dtype."""
        logits = float32_einsum("btd,dv->btv", tokens, self.kernel[...].astype(tokens.dtype))
        return of_tokens(logits, self.vocabulary)
