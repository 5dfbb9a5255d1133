import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

from trainbench.hardware.flags import YNN_FUSION, compiler_options

RESIDUAL_MEAN = """
import sys
import jax, jax.numpy as jnp, numpy as np

def conv(x, k):
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=dims)

def pooled_block(x, k):
    branch = conv(jax.nn.relu(conv(x, k)), k)
    return jax.nn.relu(x + branch).astype(jnp.float32).mean((1, 2))

random = np.random.default_rng(0)
x = jnp.asarray(random.normal(size=(2, 8, 8, 64)), jnp.bfloat16)
k = jnp.asarray(random.normal(size=(3, 3, 64, 64)) / 24, jnp.bfloat16)
options = eval(sys.argv[1])
compiled = np.asarray(jax.jit(pooled_block, compiler_options=options)(x, k))
with jax.disable_jit():
    expected = np.asarray(pooled_block(x, k))
np.testing.assert_allclose(compiled, expected, atol=0.05)
"""


def test_a_pooled_residual_block_is_right_with_our_options():
    options, reason = compiler_options("cpu", {})
    assert "jax#39103" in reason
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    command = [sys.executable, "-c", RESIDUAL_MEAN, repr(options)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_option_is_known_to_this_compiler():
    options, _ = compiler_options("cpu", {})
    doubled = jax.jit(lambda x: 2 * x, compiler_options=options)(jnp.ones(3))
    np.testing.assert_array_equal(doubled, [2, 2, 2])


def test_the_users_own_flag_wins():
    assert compiler_options("cpu", {"XLA_FLAGS": f"--{YNN_FUSION}=+dot"}) == ({}, "")


def test_accelerators_get_no_option():
    assert compiler_options("gpu", {}) == compiler_options("tpu", {}) == ({}, "")
