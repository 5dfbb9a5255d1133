"""Batch normalisation whose sums are taken slice by slice, for compilers that sum columns slowly.

XLA:CPU reduces activations to one number for each channel by going down one channel after the other: one
element of every cache line that it reads. Adding slices of the image is elementwise work instead, which it
turns into vector instructions; and as sums of sums it rounds less. The last sum, over the samples, is a
product with ones, so that the compiler does not fuse all of it into one reduction again, and can split it
over devices.

Legend: G groups of samples whose statistics are apart, B samples of each, H height, W width, C channels.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from operator import add

import jax
import jax.numpy as jnp
from jax import lax

# The name of the sums in the program: proofs look for it.
SCOPE = "sum_of_slices"

# Slices that are added at a time. XLA:CPU fuses them into one loop that reads as many streams.
SLICES_AT_A_TIME = 16

_HEIGHT, _WIDTH = 2, 3


def normalise(
    inputs: jax.Array, scale: jax.Array, bias: jax.Array, shift: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Inputs with mean 0 and variance 1 over each group's samples and places, times scale plus bias.

    Args:
      inputs: [G, B, H, W, C].
      scale, bias: [C], float32.
      shift: [C], near the mean, where the sum of squares is taken about; it gets no gradient.
      epsilon: added to the variance.

    Returns:
      The outputs [G, B, H, W, C], float32; mean and biased variance [G, C], which give no gradient.
    """
    return _normalise(inputs, scale, bias, lax.stop_gradient(shift), jnp.float32(epsilon))


@jax.custom_vjp
def _normalise(
    inputs: jax.Array, scale: jax.Array, bias: jax.Array, shift: jax.Array, epsilon: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _forward(inputs, scale, bias, shift, epsilon)[0]


Kept = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(
    inputs: jax.Array, scale: jax.Array, bias: jax.Array, shift: jax.Array, epsilon: jax.Array
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], Kept]:
    def shifted(part: jax.Array) -> jax.Array:
        return part.astype(jnp.float32) - shift

    count = prod(inputs.shape[1:-1])
    shifted_mean = _total(shifted, inputs) / count
    squares_mean = _total(lambda part: jnp.square(shifted(part)), inputs) / count
    mean = shift + shifted_mean
    # Rounding can leave a constant channel slightly negative.
    var = jnp.maximum(0.0, squares_mean - jnp.square(shifted_mean))
    inverse = lax.rsqrt(var + epsilon)
    outputs = (inputs.astype(jnp.float32) - _spread(mean)) * _spread(inverse * scale) + bias
    return (outputs, mean, var), (inputs, scale, mean, inverse)


def _backward(kept: Kept, gradients: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
    """Ioffe and Szegedy 2015, section 3, simplified: the gradient less its parts along 1 and the outputs."""
    inputs, scale, mean, inverse = kept
    gradient, _, _ = gradients
    count = prod(inputs.shape[1:-1])

    def centred(part: jax.Array) -> jax.Array:
        return part.astype(jnp.float32) - _spread(mean)

    of_bias = _total(lambda part: part, gradient)
    of_scale = _total(lambda part, of_part: of_part * centred(part), inputs, gradient) * inverse
    along = _spread(of_bias / count) + centred(inputs) * _spread(inverse * of_scale / count)
    of_inputs = _spread(inverse * scale) * (gradient - along)
    nothing = jnp.zeros_like(scale)
    return of_inputs.astype(inputs.dtype), of_scale.sum(0), of_bias.sum(0), nothing, jnp.zeros(())


_normalise.defvjp(_forward, _backward)


def _spread(statistic: jax.Array) -> jax.Array:
    """[G, 1, 1, 1, C] of [G, C]."""
    return statistic[:, None, None, None, :]


def _total(term: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """The sum [G, C] of an elementwise `term` of arrays [G, B, H, W, C]."""
    with jax.named_scope(SCOPE):
        folded = _folded(
            [term(*parts) for parts in zip(*(_cut(one, _HEIGHT) for one in arrays), strict=True)]
        )
        for axis in (_HEIGHT, _WIDTH):
            while folded.shape[axis] > 1:
                folded = _folded(_cut(folded, axis))
        by_sample = folded[:, :, 0, 0]
        ones = jnp.ones(by_sample.shape[1], by_sample.dtype)
        # Full float32 also where products round their operands by default, as on TPUs.
        return lax.dot_general(ones, by_sample, (((0,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)


def _cut(array: jax.Array, axis: int) -> list[jax.Array]:
    """At most `SLICES_AT_A_TIME` slices along an axis, of one length; the last one may be shorter."""
    size = array.shape[axis]
    length = -(-size // SLICES_AT_A_TIME)
    starts = range(0, size, length)
    return [lax.slice_in_dim(array, start, min(start + length, size), axis=axis) for start in starts]


def _folded(parts: Sequence[jax.Array]) -> jax.Array:
    """The sum of slices, the shorter ones as if zeros followed."""
    first = parts[0].shape
    lacking = [[(0, full - has, 0) for full, has in zip(first, one.shape, strict=True)] for one in parts]
    zero = jnp.zeros((), parts[0].dtype)
    return reduce(add, (lax.pad(one, zero, edges) for one, edges in zip(parts, lacking, strict=True)))
