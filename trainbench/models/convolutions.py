"""Convolutions computed in other ways than by XLA's convolution, with the same kernels and the same results.

Each takes the arguments of `jax.lax.conv_general_dilated` that Flax hands to it, exact but for rounding.

Legend: B batch, H height, W width, C channels in, D channels out.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Ways of computing a convolution, and the names in the program of what they compute: proofs look for these.
CONVOLUTION, POINTWISE_DOT, SPACE_TO_DEPTH = "convolution", "pointwise_dot", "space_to_depth"

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# Of activations [B, H, W, C] and a matrix [C, D].
_OVER_CHANNELS = (((3,), (0,)), ((), ()))


def pointwise_product(
    inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **others: Any
) -> jax.Array:
    """A 1x1 convolution as a matrix product over the channels, in both passes.

    Args:
      inputs: [B, H, W, C].
      kernel: [1, 1, C, D].
      strides: of height and width; what they skip is left out before the product.
      padding, others: what else Flax states of an unpadded, undilated convolution of one group; not used.

    Returns:
      [B, ceil(H / stride), ceil(W / stride), D].
    """
    del padding, others
    rows, columns = strides
    with jax.named_scope(POINTWISE_DOT):
        return _product(inputs[:, ::rows, ::columns], kernel[0, 0])


@jax.custom_vjp
def _product(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """Inputs [B, H, W, C] times a kernel [C, D].

    The backward pass is written out for the sake of the kernel's gradient. JAX's own multiplies the gradient
    by the inputs over three dimensions and transposes the small result. XLA:CPU then writes out one large
    operand for a second time, transposed, element by element; matrices it multiplies as they are.
    """
    return lax.dot_general(inputs, kernel, _OVER_CHANNELS)


def _forward(inputs: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # Not by `_product`: what rematerialisation may keep has to see the product itself.
    return lax.dot_general(inputs, kernel, _OVER_CHANNELS), (inputs, kernel)


def _backward(operands: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    inputs, kernel = operands
    with jax.named_scope(POINTWISE_DOT):
        of_inputs = lax.dot_general(gradient, kernel, (((3,), (1,)), ((), ())))
        rows, row_gradients = (one.reshape(-1, one.shape[3]) for one in (inputs, gradient))
        of_kernel = lax.dot_general(rows, row_gradients, (((0,), (0,)), ((), ())))
    return of_inputs, of_kernel


_product.defvjp(_forward, _backward)


def space_to_depth_stem(
    inputs: jax.Array, kernel: jax.Array, strides: Sequence[int], padding: Any, **others: Any
) -> jax.Array:
    """A 7x7 convolution of stride 2 as one of 4x4 and stride 1, on squares of 2x2 pixels side by side.

    Three channels fill few lanes of a matrix unit, twelve four times as many. The kernel gets a row and a
    column of zeros in front, so that its squares fall on those of the image, as in `conv0_space_to_depth` of
    TensorFlow's TPU models. It multiplies 64 x 3 elements for each output in place of 49 x 3.

    Args:
      inputs: [B, H, W, C].
      kernel: [7, 7, C, D].
      strides, padding, others: what Flax states of stride 2 and padding by 3; not used.

    Returns:
      [B, ceil(H / 2), ceil(W / 2), D].
    """
    del strides, padding, others
    with jax.named_scope(SPACE_TO_DEPTH):
        height, width = inputs.shape[1:3]
        squares = _in_squares(jnp.pad(inputs, ((0, 0), (0, height % 2), (0, width % 2), (0, 0))))
        # Kernel [8, 8, C, D] in squares: [4, 4, 4 C, D].
        padded = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
        taps = jnp.moveaxis(_in_squares(jnp.moveaxis(padded, 3, 0)), 0, 3)
        # The first output needs pixels from -4 on, two squares; the last one's square and the one after it.
        return lax.conv_general_dilated(
            squares, taps, (1, 1), ((2, 1), (2, 1)), dimension_numbers=_DIMENSIONS
        )


def _in_squares(images: jax.Array) -> jax.Array:
    """[B, H / 2, W / 2, 4 C] of images [B, H, W, C]: the channels of 2x2 neighbours one after the other."""
    batch, height, width, channels = images.shape
    squares = images.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // 2, width // 2, 4 * channels)
