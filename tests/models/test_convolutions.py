"""Convolutions computed in other ways, against XLA's own."""

import jax
import numpy as np
import pytest

from trainbench.models.convolutions import pointwise_product, space_to_depth_stem

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def both_passes(convolution, inputs, kernel, stride, padding):
    """Outputs and both gradients, for the same random gradient of the outputs."""

    def call(inputs, kernel):
        edges = [(padding, padding)] * 2
        return convolution(inputs, kernel, (stride, stride), edges, dimension_numbers=DIMENSIONS)

    outputs, backward = jax.vjp(call, inputs, kernel)
    gradient = np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
    return (outputs, *backward(gradient))


def assert_same(convolution, image, kernel, stride, padding):
    random = np.random.default_rng(0)
    inputs, weights = (random.normal(size=shape).astype(np.float32) for shape in (image, kernel))
    found = both_passes(convolution, inputs, weights, stride, padding)
    expected = both_passes(jax.lax.conv_general_dilated, inputs, weights, stride, padding)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(("size", "stride"), [(6, 1), (6, 2), (7, 2)])
def test_a_product_is_the_1x1_convolution_and_so_are_its_gradients(size, stride):
    assert_same(pointwise_product, (2, size, size + 2, 5), (1, 1, 5, 4), stride, 0)


@pytest.mark.parametrize("size", [(16, 18), (15, 17), (16, 13), (2, 1)])
def test_squares_of_pixels_give_the_stem_and_its_gradients_at_even_and_odd_sizes(size):
    assert_same(space_to_depth_stem, (2, *size, 3), (7, 7, 3, 4), 2, 3)
