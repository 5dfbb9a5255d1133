import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trainbench.errors import UserError
from trainbench.training.optimizer import OptimizerConfig, build, decayed

PARAMS = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((2,))}
ZEROS = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros((2,))}
GRADS = {"kernel": jnp.full((2, 2), 0.5), "bias": jnp.full((2,), 0.5)}
SGD = OptimizerConfig("sgd", learning_rate=0.1, weight_decay=0.01, momentum=0.9, nesterov=True)


def update(config, grads=GRADS, batch=256, steps=1):
    optimizer = build(config, batch)
    params, state = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_nesterov_momentum_by_hand():
    """Two steps of Sutskever et al. 2013 in the form that PyTorch and Optax use."""
    gradient, velocity, value = 0.5, 0.0, 1.0
    for _ in range(2):
        velocity = 0.9 * velocity + gradient
        value -= 0.1 * (gradient + 0.9 * velocity)
    np.testing.assert_allclose(update(SGD, steps=2)["bias"], value, rtol=1e-6)


def test_weight_decay_leaves_biases_alone():
    assert decayed(PARAMS) == {"kernel": True, "bias": False}
    after = update(SGD, ZEROS)
    np.testing.assert_array_equal(after["bias"], PARAMS["bias"])
    np.testing.assert_allclose(after["kernel"], 1 - 0.1 * 0.01 * 1.9, rtol=1e-6)


def test_rate_scales_with_the_global_batch():
    scaled = OptimizerConfig("sgd", 0.1, 0.0, reference_batch=256, momentum=0.0, nesterov=False)
    step = 1 - update(scaled, batch=256)["bias"]
    doubled = 1 - update(scaled, batch=512)["bias"]
    np.testing.assert_allclose(doubled, 2 * step, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_adaptive_optimizers_need_their_constants(name):
    with pytest.raises(UserError, match=r"optimizer\.b1"):
        build(OptimizerConfig(name, 1e-3, 0.0), 8)


def test_first_adamw_step_is_the_learning_rate():
    config = OptimizerConfig("adamw", 1e-3, 0.0, b1=0.9, b2=0.999, eps=1e-8)
    np.testing.assert_allclose(1 - update(config)["bias"], 1e-3, rtol=1e-3)


def test_lars_trust_ratio():
    """You et al. 2017 (arXiv:1708.03888), equation 6: rate * trust * |w| / (|g| + decay * |w|)."""
    config = OptimizerConfig("lars", 0.1, 0.0, momentum=0.0, nesterov=False, trust_coefficient=0.001)
    np.testing.assert_allclose(1 - update(config)["kernel"], 0.1 * 0.001 * (2 / 1) * 0.5, rtol=1e-3)


def test_unknown_optimizer_names_the_nearest():
    with pytest.raises(UserError) as caught:
        build(OptimizerConfig("adamW2", 1e-3, 0.0), 8)
    assert caught.value.fix == "optimizer=adamw"


@pytest.mark.parametrize(
    ("config", "constant"),
    [
        (OptimizerConfig("sgd", 0.1, 0.0, nesterov=True), "momentum"),
        (OptimizerConfig("sgd", 0.1, 0.0, momentum=0.9), "nesterov"),
        (OptimizerConfig("lars", 0.1, 0.0, momentum=0.9, nesterov=False), "trust_coefficient"),
        (OptimizerConfig("sgd", 0.1, 0.0, momentum=0.9, nesterov=True, b1=0.9), "b1"),
    ],
)
def test_constants_that_are_missing_or_without_effect_are_named(config, constant):
    with pytest.raises(UserError, match=rf"optimizer\.{constant} ") as caught:
        build(config, 8)
    assert caught.value.fix
    assert caught.value.allowed
