"""Normalisation and the float32 products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.models.building import BFLOAT16, BFLOAT16_FULL, FLOAT32, find_products
from trainbench.models.batch_norm import BATCH_NORM_EPSILON, BatchNorm
from trainbench.models.dots import float32_einsum
from trainbench.models.layers import Classifier, Policy


def random_activations(mean: float = 3.0) -> np.ndarray:
    return np.random.default_rng(0).normal(mean, 2.0, (4, 5, 5, 3)).astype(np.float32)


def test_batch_norm_normalises_by_the_biased_variance():
    inputs = random_activations()
    outputs = BatchNorm(3, policy=FLOAT32)(jnp.asarray(inputs), train=True)
    expected = (inputs - inputs.mean((0, 1, 2))) / np.sqrt(inputs.var((0, 1, 2)) + BATCH_NORM_EPSILON)
    np.testing.assert_allclose(outputs, expected, atol=2e-6)


def test_batch_norm_records_the_unbiased_variance():
    inputs = random_activations()
    norm = BatchNorm(3, policy=FLOAT32)
    norm(jnp.asarray(inputs), train=True)
    np.testing.assert_allclose(norm.mean[...], 0.1 * inputs.mean((0, 1, 2)), rtol=1e-6)
    expected = 0.9 * 1.0 + 0.1 * inputs.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(norm.var[...], expected, rtol=1e-6)


def test_batch_norm_in_evaluation_uses_and_keeps_the_running_statistics():
    inputs = random_activations()
    norm = BatchNorm(3, policy=FLOAT32)
    norm.mean[...] = jnp.array([1.0, 2.0, 3.0])
    norm.var[...] = jnp.array([4.0, 9.0, 16.0])
    outputs = norm(jnp.asarray(inputs), train=False)
    np.testing.assert_allclose(outputs, (inputs - [1, 2, 3]) / [2, 3, 4], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(norm.mean[...], [1, 2, 3])


def test_batch_norm_variance_survives_a_large_mean_once_it_has_settled():
    inputs = jnp.asarray(random_activations(mean=1e4))
    norm = BatchNorm(3, policy=FLOAT32)
    norm.mean[...] = inputs.mean((0, 1, 2))
    outputs = norm(inputs, train=True)
    np.testing.assert_allclose(outputs.std((0, 1, 2)), 1, rtol=1e-3)


def test_batch_norm_of_a_constant_channel_is_finite():
    outputs = BatchNorm(3, policy=FLOAT32)(jnp.full((2, 2, 2, 3), 0.1), train=True)
    np.testing.assert_allclose(outputs, 0, atol=1e-4)


@pytest.mark.parametrize("policy", [BFLOAT16, BFLOAT16_FULL])
def test_batch_norm_keeps_float32_statistics_of_bfloat16_activations(policy):
    inputs = jnp.asarray(random_activations(), jnp.bfloat16)
    norm = BatchNorm(3, policy=policy)
    outputs = norm(inputs, train=True)
    assert outputs.dtype == jnp.bfloat16
    assert norm.mean[...].dtype == norm.var[...].dtype == jnp.float32
    assert norm.scale[...].dtype == norm.bias[...].dtype == policy.param_dtype
    exact = np.asarray(inputs, np.float64)
    np.testing.assert_allclose(norm.mean[...], 0.1 * exact.mean((0, 1, 2)), rtol=1e-6)


def test_classifier_gives_float32_logits_from_bfloat16_features():
    classifier = Classifier(8, 5, policy=BFLOAT16, rngs=nnx.Rngs(0))
    assert classifier(jnp.ones((2, 8), jnp.bfloat16)).dtype == jnp.float32


def test_float32_einsum_accumulates_in_float32():
    lhs, rhs = jnp.ones((1, 257), jnp.bfloat16), jnp.ones((257, 1), jnp.bfloat16)
    # 257 needs nine bits, and bfloat16 has eight.
    assert float32_einsum("ij,jk->ik", lhs, rhs)[0, 0] == 257


def _loss(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    return jnp.sin(float32_einsum("btnh,bsnh->bnts", lhs, rhs)).sum()


def _reference_loss(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    return jnp.sin(jnp.einsum("btnh,bsnh->bnts", lhs, rhs)).sum()


def test_float32_einsum_has_the_gradient_of_einsum():
    keys = jax.random.split(jax.random.key(0))
    lhs, rhs = (jax.random.normal(key, (2, 3, 2, 4)) for key in keys)
    ours = jax.grad(_loss, (0, 1))(lhs, rhs)
    reference = jax.grad(_reference_loss, (0, 1))(lhs, rhs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, reference)


def test_every_product_of_a_bfloat16_float32_einsum_reads_bfloat16():
    operand = jnp.ones((2, 3, 2, 4), jnp.bfloat16)
    program = jax.make_jaxpr(jax.grad(_loss, (0, 1)))(operand, operand)
    dots = list(find_products(program))
    assert len(dots) == 3
    for dot in dots:
        assert {variable.aval.dtype for variable in dot.invars} == {jnp.dtype(jnp.bfloat16)}


def test_batch_norm_in_groups_is_that_of_each_part_alone():
    inputs = jnp.asarray(random_activations())
    grouped, alone = (BatchNorm(3, policy=Policy(norm_groups=groups)) for groups in (2, 1))
    outputs = grouped(inputs, train=True)
    parts = [BatchNorm(3, policy=FLOAT32) for _ in range(2)]
    expected = [norm(part, train=True) for norm, part in zip(parts, jnp.split(inputs, 2), strict=True)]
    np.testing.assert_allclose(outputs, jnp.concatenate(expected), atol=2e-6)
    assert not np.allclose(outputs, alone(inputs, train=True), atol=1e-3)
    for name in ("mean", "var"):
        mean = (getattr(parts[0], name)[...] + getattr(parts[1], name)[...]) / 2
        np.testing.assert_allclose(getattr(grouped, name)[...], mean, rtol=1e-6)


def test_batch_norm_in_groups_evaluates_like_any_other():
    inputs = jnp.asarray(random_activations())
    for groups in (1, 2):
        norm = BatchNorm(3, policy=Policy(norm_groups=groups))
        outputs = norm(inputs[:3], train=False)
        np.testing.assert_allclose(outputs, inputs[:3] / np.sqrt(1 + BATCH_NORM_EPSILON), rtol=1e-6)
