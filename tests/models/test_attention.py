"""Attention against a float64 computation by hand, and its mask and dropout."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tests.models.building import find_products
from trainbench.models.attention import attend


def random_heads(length: int = 5, dtype: type = jnp.float32) -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (2, length, 2, 4), dtype) for key in keys]


def attend_in_evaluation(heads: list[jax.Array], **options) -> jax.Array:
    return attend(*heads, dropout_rate=0.5, train=False, **options)


def test_attention_is_the_softmax_weighted_sum():
    query, key, value = (np.asarray(heads, np.float64) for heads in random_heads())
    logits = np.einsum("btnh,bsnh->bnts", query, key) / 2
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.einsum("bnts,bsnh->btnh", weights, value)
    np.testing.assert_allclose(attend_in_evaluation(random_heads()), expected, rtol=1e-5, atol=1e-6)


def test_heads_that_share_keys_give_what_they_give_with_keys_of_their_own():
    random = np.random.default_rng(0)
    query, bias = (random.normal(size=shape).astype(np.float32) for shape in ((2, 5, 6, 4), (6, 5, 7)))
    key, value = random.normal(size=(2, 2, 7, 2, 4)).astype(np.float32)
    options = {"padding": np.tile(np.arange(7) < 6, (2, 1)), "bias": bias, "train": False}
    attended = jax.jit(partial(attend, **options))
    repeated = (np.repeat(each, 3, axis=2) for each in (key, value))
    np.testing.assert_allclose(attended(query, key, value), attended(query, *repeated), rtol=1e-5, atol=1e-6)


def test_shared_keys_are_not_repeated_in_the_program():
    query, key = jnp.ones((2, 5, 6, 4)), jnp.ones((2, 7, 2, 4))
    program = jax.make_jaxpr(lambda *heads: attend(*heads, train=False))(query, key, key)
    for product in find_products(program):
        assert (2, 7, 2, 4) in [variable.aval.shape for variable in product.invars]


def test_a_bias_is_added_to_the_scaled_logits():
    query, key, value = random_heads()
    bias = jax.random.normal(jax.random.key(3), (2, 5, 5))
    logits = jnp.einsum("btnh,bsnh->bnts", query, key) * 0.25 + bias
    expected = jnp.einsum("bnts,bsnh->btnh", jax.nn.softmax(logits), value)
    found = attend(query, key, value, train=False, bias=bias, scale=0.25)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_masked_keys_have_no_influence():
    query, key, value = random_heads()
    padding = jnp.tile(jnp.array([True, True, True, False, False]), (2, 1))
    masked = attend_in_evaluation([query, key, value], padding=padding)
    changed = [query, key.at[:, 3:].set(9.0), value.at[:, 3:].set(9.0)]
    changed = attend_in_evaluation(changed, padding=padding)
    np.testing.assert_array_equal(masked, changed)


def test_under_the_causal_mask_a_token_sees_itself_and_what_was_before():
    heads = random_heads()
    masked = attend_in_evaluation(heads, causal=True)
    for end in range(1, 6):
        alone = attend_in_evaluation([head[:, :end] for head in heads])
        np.testing.assert_allclose(masked[:, end - 1], alone[:, -1], rtol=1e-5, atol=1e-6)


def test_a_row_without_keys_is_finite():
    assert np.isfinite(attend_in_evaluation(random_heads(), padding=jnp.zeros((2, 5), bool))).all()


def test_bfloat16_inputs_give_bfloat16_outputs_close_to_float32():
    heads = random_heads(dtype=jnp.bfloat16)
    rounded = attend_in_evaluation(heads)
    exact = attend_in_evaluation([head.astype(jnp.float32) for head in heads])
    assert rounded.dtype == jnp.bfloat16
    np.testing.assert_allclose(rounded.astype(jnp.float32), exact, atol=0.03)


def test_dropout_follows_its_key_and_keeps_the_mean():
    query, key, value = random_heads(length=400)
    value = jnp.ones_like(value)
    dropped = [
        attend(query, key, value, dropout_rate=0.25, rngs=nnx.Rngs(dropout=seed), train=True)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.array_equal(dropped[0], dropped[2])
    np.testing.assert_allclose(dropped[0].mean(), 1, atol=0.02)
