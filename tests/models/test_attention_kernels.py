"""Splash attention, interpreted, against plain operations; of cuDNN's kernels only what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainbench.measure.flops import walk
from trainbench.models import attention_kernels
from trainbench.models.attention import attend

BATCH, WIDTH = 2, 16


def heads(length: int, keys: int, count: int, key_heads: int) -> list[jax.Array]:
    """Queries, keys and values, and a cotangent of the outputs."""
    shapes = [(length, count), (keys, key_heads), (keys, key_heads), (length, count)]
    seeds = jax.random.split(jax.random.key(0), len(shapes))
    return [
        jax.random.normal(seed, (BATCH, *shape, WIDTH)) for seed, shape in zip(seeds, shapes, strict=True)
    ]


@pytest.mark.parametrize(
    ("length", "keys", "key_heads", "causal", "padded"),
    [
        # Grouped heads, causal, several blocks.
        pytest.param(256, 256, 1, True, False, id="causal"),
        # Lengths that are no multiple of the blocks', padding, and another length of keys.
        pytest.param(65, 130, 2, False, True, id="padded"),
    ],
)
def test_splash_attention_has_the_outputs_and_gradients_of_plain_operations(
    length, keys, key_heads, causal, padded
):
    *arrays, cotangent = heads(length, keys, 2, key_heads)
    padding = jnp.arange(keys) < jnp.array([[keys], [keys - 37]]) if padded else None

    def both(attention):
        outputs, backward = jax.vjp(attention, *arrays)
        return outputs, *backward(cotangent)

    common = {"causal": causal, "padding": padding}
    plain = jax.jit(lambda *qkv: attend(*qkv, train=True, **common))
    splash = functools.partial(attention_kernels.splash, scale=WIDTH**-0.5, interpret=True, **common)
    for found, expected in zip(both(jax.jit(splash)), both(plain), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("causal", "share"), [(False, 1), (True, 0.5)])
@pytest.mark.parametrize("padded", [False, True])
def test_the_walk_counts_the_products_of_the_kernels(causal, share, padded):
    *arrays, _ = heads(128, 256 if not causal else 128, 2, 1)
    padding = jnp.ones(arrays[1].shape[:2], bool) if padded else None

    def loss(*arrays):
        return attention_kernels.splash(*arrays, causal=causal, padding=padding, scale=1.0).sum()

    counted = walk(jax.make_jaxpr(jax.grad(loss, (0, 1, 2)))(*arrays))
    product = 2 * BATCH * 2 * 128 * arrays[1].shape[1] * WIDTH
    # Row sums of outputs times their gradients are a product as well.
    sums = 2 * BATCH * 2 * 128 * WIDTH
    assert counted.complete
    assert counted.total == (2 + 3 + 4) * product * share + sums


def test_kernels_refuse_what_they_would_leave_out():
    *arrays, _ = heads(8, 8, 2, 2)
    with pytest.raises(ValueError, match="cudnn drops no probabilities"):
        attend(*arrays, train=True, dropout_rate=0.1, backend="cudnn")
    with pytest.raises(ValueError, match="splash takes no bias"):
        attend(*arrays, train=True, bias=jnp.zeros((2, 8, 8)), backend="splash")


def test_evaluation_is_by_plain_operations():
    *arrays, _ = heads(8, 8, 2, 2)
    found = attend(*arrays, train=False, dropout_rate=0.1, backend="cudnn")
    np.testing.assert_array_equal(found, attend(*arrays, train=False))
