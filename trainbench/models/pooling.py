"""Max-pooling by slices, where XLA's own is slow.

Legend: B batch, H height, W width, C channels.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from jax import lax

# Ways of taking the maximum over windows.
WINDOWS, SLICES = "windows", "slices"
# The name in the program of what is computed by slices: proofs look for it.
SCOPE = "max_pool_by_slices"


@jax.custom_vjp
def max_pool_by_slices(inputs: jax.Array) -> jax.Array:
    """The largest of each 3x3 window of stride 2, with one pixel of padding: the pool of ResNet's stem.

    Equal to `nnx.max_pool` in both passes: of equal elements in a window, the first one takes the gradient.
    XLA:CPU has no kernel for that gradient. It pairs every element with its index, reduces windows of pairs
    and scatters; here the forward pass keeps which tap was largest, 1 byte for each output, and the backward
    pass asks each pixel's one, two or four windows.

    Args:
      inputs: [B, H, W, C].

    Returns:
      [B, ceil(H / 2), ceil(W / 2), C].
    """
    with jax.named_scope(SCOPE):
        return reduce(jnp.maximum, _taps(inputs))


def _taps(inputs: jax.Array) -> list[jax.Array]:
    """For each of the nine taps, row by row, what it meets in every window."""
    batch, height, width, channels = inputs.shape
    lowest = jnp.array(-jnp.inf, inputs.dtype)
    edges = [(0, 0, 0), (1, height % 2, 0), (1, width % 2, 0), (0, 0, 0)]
    padded = lax.pad(inputs, lowest, edges)
    rows, columns = (size - 2 for size in padded.shape[1:3])
    return [
        lax.slice(padded, (0, y, x, 0), (batch, y + rows, x + columns, channels), (1, 2, 2, 1))
        for y in range(3)
        for x in range(3)
    ]


def _forward(inputs: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    with jax.named_scope(SCOPE):
        largest, *others = _taps(inputs)
        which = jnp.zeros(largest.shape, jnp.int8)
        for number, tap in enumerate(others, start=1):
            which = jnp.where(tap > largest, jnp.int8(number), which)
            largest = jnp.maximum(largest, tap)
    # Nothing but its sizes: the backward pass needs to know whether they were odd.
    return largest, (which, jnp.zeros((0, *inputs.shape[1:3]), jnp.int8))


def _backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
    which, sizes = kept
    _, height, width = sizes.shape

    def of_tap(row: int, column: int) -> jax.Array:
        """The gradient of the windows whose largest is at this tap, moved to where the pixel looks for it."""
        taken = jnp.where(which == 3 * row + column, gradient, 0)
        # The first row of a window is the last of the one before: its pixel looks at the window below.
        down, right = int(row == 0), int(column == 0)
        moves = [(0, 0, 0), (-down, down, 0), (-right, right, 0), (0, 0, 0)]
        return lax.pad(taken, jnp.array(0, taken.dtype), moves)

    with jax.named_scope(SCOPE):
        # Even pixels lie in the middle of one window, odd ones at the edges of two.
        even_rows = _alternating(of_tap(1, 1), of_tap(1, 2) + of_tap(1, 0), axis=2)
        corners = of_tap(2, 2) + of_tap(2, 0) + of_tap(0, 2) + of_tap(0, 0)
        odd_rows = _alternating(of_tap(2, 1) + of_tap(0, 1), corners, axis=2)
        pixels = _alternating(even_rows, odd_rows, axis=1)
        return (pixels[:, :height, :width],)


def _alternating(even: jax.Array, odd: jax.Array, axis: int) -> jax.Array:
    """Both along `axis`, in turns; twice as long."""
    shape = list(even.shape)
    shape[axis] *= 2
    return jnp.stack([even, odd], axis + 1).reshape(shape)


max_pool_by_slices.defvjp(_forward, _backward)
