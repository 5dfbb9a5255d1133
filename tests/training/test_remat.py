"""Rematerialisation: the same training with more arithmetic.

That it takes less memory is shown with the compiler for TPUs (tests/forecast/test_libtpu.py): XLA:CPU orders
operations without regard to memory.
"""

import jax
import numpy as np
import pytest

from tests.building import SHALLOW, TINY, TINY_AND_SLOW, workbench
from trainbench.data.synthetic import host_batch
from trainbench.measure import flops


def bench_of(model, remat, *more):
    return workbench(f"model={model}", "precision=fp32", "optimizer=sgd", f"remat={remat}", *more)


def shallow_bench(model, remat):
    return bench_of(model, remat, *SHALLOW[model][1:])


@pytest.mark.parametrize("remat", ["dots", "full"])
@pytest.mark.parametrize("model", TINY_AND_SLOW)
def test_a_step_is_the_same_whatever_is_computed_again(model, remat):
    plain, again = shallow_bench(model, "none"), shallow_bench(model, remat)
    batch = host_batch(plain.spec, 0)
    expected, metrics = plain.compiled_step(plain.first_state, batch)
    found, others = again.compiled_step(again.first_state, batch)
    assert float(others["loss"]) == pytest.approx(float(metrics["loss"]), rel=1e-6)
    for name, array in expected.params.items():
        np.testing.assert_allclose(found.params[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    for name, array in expected.statistics.items():
        np.testing.assert_allclose(found.statistics[name], array, rtol=1e-5, err_msg=name)


def flops_of(bench):
    traced = jax.jit(bench.step).trace(bench.abstract_state, bench.abstract_batch)
    return flops.walk(traced.jaxpr).total


@pytest.mark.parametrize("model", TINY)
def test_full_computes_the_blocks_forward_pass_twice_and_dots_at_most_attention(model):
    plain, dots, full = (flops_of(bench_of(model, remat)) for remat in ("none", "dots", "full"))
    assert 1.15 * plain < full < 1.34 * plain, "a forward pass is a third of a step"
    if model == "resnet_tiny":
        assert dots == plain, "convolutions are kept"
    else:
        assert plain < dots < 1.1 * plain, "products of activations are not"
