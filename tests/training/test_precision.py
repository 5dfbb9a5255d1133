import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.building import SHALLOW, TINY, shallow, workbench
from trainbench.errors import UserError
from trainbench.hardware import chips
from trainbench.measure.flops import walk
from trainbench.training.device import Devices
from trainbench.training.precision import check_supported


@functools.cache
def traced_step(model, precision):
    bench = workbench(f"model={model}", f"precision={precision}")
    with jax.default_matmul_precision(bench.request.precision.matmul_precision):
        return bench.compiled_step.trace(bench.abstract_state, bench.abstract_batch).jaxpr


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16", "bfloat16"), ("bf16_full", "bfloat16"), ("fp32", "float32"), ("tf32", "float32")],
)
def test_every_product_has_inputs_of_the_policys_dtype(model, precision, dtype):
    count = walk(traced_step(model, precision))
    assert count.complete
    assert count.share(dtype) == 1.0


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize(("precision", "level"), [("fp32", "HIGHEST"), ("tf32", "HIGH")])
def test_float32_products_ask_for_their_precision(model, precision, level):
    asked = set(_product_precisions(traced_step(model, precision).jaxpr))
    assert asked == {level}


def _product_precisions(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            precision = equation.params["precision"]
            yield precision[0].name if isinstance(precision, tuple) else precision.name
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _product_precisions(inner)


# Every model with one optimizer, and every optimizer with one model: it sees arrays only.
@pytest.mark.parametrize(
    ("model", "optimizer"),
    [(model, "adamw") for model in TINY] + [("resnet_tiny", name) for name in ("sgd", "lamb", "lars")],
)
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "float32"), ("bf16_full", "bfloat16")])
def test_parameters_and_optimizer_state_are_stored_in_the_policys_dtype(model, optimizer, precision, dtype):
    bench = workbench(f"model={model}", f"precision={precision}", f"optimizer={optimizer}")
    before = bench.abstract_state
    after, metrics = jax.eval_shape(bench.step, before, bench.abstract_batch)
    assert jax.tree.map(_kind, after) == jax.tree.map(_kind, before), "the state must keep its dtypes"
    floats = [leaf for leaf in jax.tree.leaves((after.params, after.optimizer)) if _is_float(leaf)]
    assert {str(leaf.dtype) for leaf in floats} == {dtype}
    assert {str(leaf.dtype) for leaf in after.statistics.values()} <= {"float32"}
    assert metrics["loss"].dtype == jnp.float32


def _kind(leaf):
    return leaf.shape, str(leaf.dtype)


def _is_float(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.floating)


@pytest.mark.parametrize(
    ("precision", "platform", "device_kind", "capability", "supported"),
    [
        ("bf16", "cpu", None, None, True),
        ("fp32", "cpu", None, None, True),
        ("tf32", "cpu", None, None, False),
        ("tf32", "tpu", "TPU v4", None, False),
        ("tf32", "gpu", "NVIDIA A100-SXM4-80GB", None, True),
        ("tf32", "gpu", "Tesla V100-SXM2-16GB", None, False),
        ("bf16", "gpu", "Tesla V100-SXM2-16GB", None, False),
        ("bf16_full", "gpu", "Tesla T4", None, False),
        ("bf16", "gpu", "NVIDIA H100 80GB HBM3", None, True),
        ("bf16", "tpu", "TPU v5 lite", None, True),
        ("fp32", "gpu", "Tesla V100-SXM2-16GB", None, True),
        ("tf32", "gpu", "NVIDIA B9000", 12.0, True),
        ("bf16", "gpu", "NVIDIA B9000", 12.0, True),
        ("tf32", "gpu", "Quadro RTX 8000", 7.5, False),
        ("bf16", "gpu", "Quadro RTX 8000", 7.5, False),
        ("tf32", "gpu", "AMD Instinct MI999", None, False),
        ("bf16", "gpu", "AMD Instinct MI999", None, True),
        ("fp8", "cpu", None, None, True),
        ("fp8", "gpu", "NVIDIA H100 80GB HBM3", 9.0, True),
        ("fp8", "gpu", "NVIDIA L4", 8.9, True),
        ("fp8", "gpu", "NVIDIA A100-SXM4-80GB", 8.0, False),
        ("fp8", "gpu", "AMD Instinct MI300X", None, False),
        ("fp8", "tpu", "TPU v5", None, False),
        ("fp8", "tpu", "TPU7x", None, True),
    ],
)
def test_precisions_that_the_device_lacks_are_refused(
    precision, platform, device_kind, capability, supported
):
    policy = workbench("model=vit_tiny", f"precision={precision}").request.precision
    kind = device_kind or platform
    devices = Devices((), platform, kind, chips.lookup(kind), capability)
    if supported:
        check_supported(policy, devices)
        return
    with pytest.raises(UserError) as caught:
        check_supported(policy, devices)
    assert precision in caught.value.problem
    assert "fp32" in caught.value.allowed
    assert "precision=" in caught.value.fix


def test_bf16_computes_coarser_than_fp32():
    state, losses = shallow("vit_tiny").first_state, {}
    for precision in ("bf16", "fp32"):
        bench = workbench(*SHALLOW["vit_tiny"], f"precision={precision}")
        batch = {name: np.zeros(array.shape, array.dtype) for name, array in bench.spec.items()}
        losses[precision] = float(jax.jit(loss_of(bench))(state.params, batch))
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def loss_of(bench):
    return lambda params, batch: bench.task.loss(bench.structure.merge(params, {}), batch, nnx.Rngs(0))[0]
