import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainbench.models.pooling import max_pool_by_slices
from trainbench.models.resnet import max_pool_by_windows


def both_passes(pool, inputs):
    outputs, backward = jax.vjp(pool, inputs)
    return outputs, *backward(jnp.arange(1.0, outputs.size + 1).reshape(outputs.shape))


@pytest.mark.parametrize("size", [(8, 6), (7, 6), (8, 5), (1, 2)])
def test_the_maximum_and_its_gradient_are_those_of_windows_also_among_equals(size):
    # Whole numbers: windows have several largest elements.
    inputs = np.random.default_rng(0).integers(-2, 3, (2, *size, 3)).astype(np.float32)
    for found, expected in zip(
        both_passes(max_pool_by_slices, inputs), both_passes(max_pool_by_windows, inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_is_no_number_is_not_hidden():
    inputs = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1].set(jnp.nan)
    np.testing.assert_array_equal(max_pool_by_slices(inputs), max_pool_by_windows(inputs))
    assert np.isnan(max_pool_by_slices(inputs)).any()
