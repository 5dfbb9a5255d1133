"""Dense layers in 8-bit floating point (Micikevicius et al. 2022, arXiv:2209.05433).

Inputs and kernels are rounded to e4m3, gradients of outputs, whose range is wider, to e5m2, as there. Each
array is scaled so that its largest number is the largest that its format has, by its own maximum at this
step: current scaling, as NVIDIA's Transformer Engine calls it, against delayed scaling, which Flax's Fp8
modules keep a history for. Rounding and scales are Flax's; sums are float32, results in the dtype of the
inputs.

Legend: X any leading dimensions, D input features, F output features.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import fp8_ops

FORWARD, BACKWARD = jnp.float8_e4m3fn, jnp.float8_e5m2


def dot_general(
    inputs: jax.Array, kernel: jax.Array, dimension_numbers: Any, *args: Any, **options: Any
) -> jax.Array:
    """The product [X, F] of inputs [X, D] and a kernel [D, F], for `nnx.Linear`.

    Raises:
      ValueError: another product is asked for.
    """
    del args, options
    if dimension_numbers != (((inputs.ndim - 1,), (0,)), ((), ())) or kernel.ndim != 2:
        raise ValueError(f"no product of a dense layer: {dimension_numbers}")
    flat = inputs.reshape(-1, inputs.shape[-1])
    return matmul(flat, kernel).reshape(*inputs.shape[:-1], kernel.shape[1])


@jax.custom_vjp
def matmul(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """The product [X, F] of inputs [X, D] and a kernel [D, F] of one dtype, which the result has too."""
    return _forward(inputs, kernel)[0]


def _forward(inputs: jax.Array, kernel: jax.Array) -> tuple[jax.Array, Any]:
    left, right = _rounded(inputs, FORWARD), _rounded(kernel, FORWARD)
    return _product(left, right, ((1,), (0,)), inputs.dtype), (left, right)


def _backward(kept: Any, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    inputs, kernel = kept
    gradient = _rounded(cotangent, BACKWARD)
    of_inputs = _product(gradient, kernel, ((1,), (1,)), cotangent.dtype)
    return of_inputs, _product(inputs, gradient, ((0,), (0,)), cotangent.dtype)


matmul.defvjp(_forward, _backward)


def _rounded(array: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """The array in 8 bits, and the float32 number that it has to be multiplied by."""
    largest = jnp.max(jnp.abs(array)).astype(jnp.float32)
    highest = fp8_ops.get_fp8_max(dtype, jnp.float32)
    scale = fp8_ops.compute_scale(largest, jnp.ones((), jnp.float32), highest)
    return fp8_ops.quantize(array, dtype, scale, jnp.float32), scale


def _product(
    left: tuple[jax.Array, jax.Array], right: tuple[jax.Array, jax.Array], contracting: Any, dtype: Any
) -> jax.Array:
    product = jax.lax.dot_general(
        left[0], right[0], (contracting, ((), ())), preferred_element_type=jnp.float32
    )
    return (product * (left[1] * right[1])).astype(dtype)
