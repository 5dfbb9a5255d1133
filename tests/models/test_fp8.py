"""Products of 8-bit floats beside the same in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainbench.measure.flops import walk
from trainbench.models import fp8


def arrays(scale=1.0):
    random = np.random.default_rng(0)
    return [
        jnp.asarray(scale * random.normal(size=shape), jnp.float32)
        for shape in ((64, 32), (32, 48), (64, 48))
    ]


def products(matmul, inputs, kernel, cotangent):
    outputs, backward = jax.vjp(matmul, inputs, kernel)
    return outputs, *backward(cotangent)


def error(found, expected):
    return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))


# Numbers that neither format could hold without a scale among them.
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_products_and_gradients_are_those_of_float32_but_for_the_rounding(scale):
    exact = products(jnp.matmul, *arrays(scale))
    outputs, of_inputs, of_kernel = products(fp8.matmul, *arrays(scale))
    # Rounding to 3 bits after the point leaves 2.6 % on average, to 2 bits twice that; two operands each.
    assert 0.01 < error(outputs, exact[0]) < 0.05
    assert 0.01 < error(of_inputs, exact[1]) < 0.08
    assert 0.01 < error(of_kernel, exact[2]) < 0.08


def test_all_three_products_have_operands_of_8_bits():
    counted = walk(jax.make_jaxpr(lambda *given: products(fp8.matmul, *given))(*arrays()))
    one = 2 * 64 * 32 * 48
    assert dict(counted.by_inputs) == {"float8_e4m3fn": one, "float8_e4m3fn*float8_e5m2": 2 * one}


def test_zeros_stay_zeros_and_dtypes_stay():
    zeros = [jnp.zeros(array.shape, jnp.bfloat16) for array in arrays()]
    for found in products(fp8.matmul, *zeros):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_array_equal(found, 0)


def test_leading_dimensions_are_those_of_the_inputs_and_other_products_are_refused():
    inputs, kernel, _ = arrays()
    cube = inputs.reshape(4, 16, 32)
    found = fp8.dot_general(cube, kernel, (((2,), (0,)), ((), ())), precision=None)
    np.testing.assert_array_equal(found, fp8.matmul(inputs, kernel).reshape(4, 16, 48))
    with pytest.raises(ValueError, match="no product of a dense layer"):
        fp8.dot_general(inputs, kernel.T, (((1,), (1,)), ((), ())))
