"""Ways of taking batch statistics, against the one pass that is the default."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainbench.levers.values import Levers
from trainbench.models.batch_norm import ONE_PASS, SLICES, TWO_PASS, BatchNorm
from trainbench.models.layers import Policy


def both_passes(statistics, inputs, groups=1):
    """Outputs, gradients of inputs, scale and bias, and the running statistics after it."""
    policy = Policy(norm_groups=groups, levers=Levers(batch_statistics=statistics))

    def call(inputs, scale, bias):
        norm = BatchNorm(3, policy=policy)
        norm.scale[...], norm.bias[...] = scale, bias
        return norm(inputs, train=True), (norm.mean[...], norm.var[...])

    affine = jnp.array([1.0, 2.0, -0.5]), jnp.array([0.0, 1.0, 3.0])
    outputs, backward, running = jax.vjp(call, inputs, *affine, has_aux=True)
    gradient = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
    return (outputs, *backward(gradient), *running)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("size", [(5, 7), (1, 2), (40, 33)])
@pytest.mark.parametrize("statistics", [TWO_PASS, SLICES])
def test_outputs_gradients_and_running_statistics_are_those_of_one_pass(statistics, size, groups):
    inputs = np.random.default_rng(0).normal(3.0, 2.0, (6, *size, 3)).astype(np.float32)
    found, expected = (both_passes(each, inputs, groups) for each in (statistics, ONE_PASS))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("statistics", [TWO_PASS, SLICES])
def test_a_constant_channel_is_finite_in_both_passes(statistics):
    for array in both_passes(statistics, jnp.full((2, 3, 3, 3), 0.1)):
        assert np.isfinite(array).all()


def test_slices_keep_float32_statistics_of_bfloat16_activations():
    inputs = jnp.asarray(np.random.default_rng(0).normal(3.0, 2.0, (4, 9, 9, 3)), jnp.bfloat16)
    policy = Policy(compute_dtype=jnp.bfloat16, levers=Levers(batch_statistics=SLICES))
    norm = BatchNorm(3, policy=policy)
    assert norm(inputs, train=True).dtype == jnp.bfloat16
    exact = np.asarray(inputs, np.float64)
    np.testing.assert_allclose(norm.mean[...], 0.1 * exact.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * exact.var((0, 1, 2), ddof=1), rtol=1e-5)
