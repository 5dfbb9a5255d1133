"""Matrix products that accumulate and return float32 while both passes read compute-dtype operands."""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def float32_einsum(spec: str, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    """The float32 einsum of two arrays of one compute dtype; used where a softmax or a loss comes next.

    `preferred_element_type` alone keeps the forward product in the compute dtype, but its transpose would
    multiply a float32 cotangent by a bfloat16 operand, which jax widens to a float32 product on CPU and GPU.
    The backward pass here rounds the cotangent to the compute dtype first, as PyTorch's autocast does at the
    same place, so that all three products run on the fast units. With float32 operands this is the ordinary
    einsum.

    Args:
      spec: einsum letters, as of `jnp.einsum`.
      lhs, rhs: operands of equal dtype.
    """
    return jnp.einsum(spec, lhs, rhs, preferred_element_type=jnp.float32)


def _forward(spec: str, lhs: jax.Array, rhs: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return float32_einsum(spec, lhs, rhs), (lhs, rhs)


def _backward(
    spec: str, operands: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    lhs, rhs = operands
    cotangent = cotangent.astype(lhs.dtype)
    # linear_transpose, not vjp: vjp would trace the forward product again and leave it dead in the program.
    (d_lhs,) = jax.linear_transpose(partial(_einsum_by_lhs, spec, rhs), lhs)(cotangent)
    (d_rhs,) = jax.linear_transpose(partial(jnp.einsum, spec, lhs), rhs)(cotangent)
    return d_lhs, d_rhs


def _einsum_by_lhs(spec: str, rhs: jax.Array, lhs: jax.Array) -> jax.Array:
    return jnp.einsum(spec, lhs, rhs)


float32_einsum.defvjp(_forward, _backward)
