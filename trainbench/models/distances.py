"""Ranges of distances between tokens, for what T5 learns of positions."""

from math import log

import jax
import jax.numpy as jnp

# Mesh TensorFlow and t5x: how many there are, and from where on all distances are alike.
RANGES = 32
FARTHEST = 128


def distance_range(distance: jax.Array, *, both_ways: bool) -> jax.Array:
    """The range, 0 to 31, of each distance in tokens from query to key (Raffel et al. 2020, section 2.1).

    The nearest 16 distances (8 where it looks both ways) have a range each, farther ones share ranges that
    grow as their logarithm up to 128 tokens, from where on all have the last one.

    >>> [int(distance_range(jnp.asarray(d), both_ways=False)) for d in (0, -1, -15, -16, -20, -127, -500, 3)]
    [0, 1, 15, 16, 17, 31, 31, 0]
    >>> [int(distance_range(jnp.asarray(d), both_ways=True)) for d in (0, -7, -8, -127, 1, 8, 500)]
    [0, 7, 8, 15, 17, 24, 31]
    """
    ranges = RANGES // 2 if both_ways else RANGES
    behind = jnp.zeros_like(distance)
    if both_ways:
        behind = (distance > 0) * ranges
        distance = jnp.abs(distance)
    else:
        distance = jnp.maximum(-distance, 0)
    exact = ranges // 2
    share = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / exact) / log(FARTHEST / exact)
    shared = jnp.minimum(exact + (share * (ranges - exact)).astype(jnp.int32), ranges - 1)
    return behind + jnp.where(distance < exact, distance, shared)
