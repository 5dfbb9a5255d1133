"""A step in PyTorch against ours: the same weights, the same batches, the same losses."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.building import request, workbench
from tests.pytorch.making import TINY, as_tensors, batches, overrides, torch, torch_step, weights_of
from trainbench.pytorch import models
from trainbench.pytorch.optimizers import build
from trainbench.training.optimizer import OptimizerConfig
from trainbench.training.state import parameter_count

pytestmark = pytest.mark.torch

# Optimizers that divide a gradient by its own size turn rounding into steps.
TOLERANCE = {"sgd": 2e-5, "adamw": 2e-3, "lamb": 2e-3}
# Rates at which the loss of one batch moves visibly within two steps.
RATES = {"sgd": 0.05, "adamw": 0.003, "lamb": 0.03}


def family_of(model):
    return model.partition("_")[0]


# One of each family's shapes is enough: the others differ in numbers that are read in the same place.
@pytest.mark.parametrize(
    "model",
    ["resnet18", "resnet50", "vit_b16", "bert_base", "bert_large", "gpt2_124m", "llama_1b", "t5_small"],
)
def test_a_model_has_as_many_parameters_in_pytorch(model):
    asked = request(f"model={model}").model
    with torch.device("meta"):
        theirs = models.parameter_count(models.build(asked, "sdpa"))
    assert theirs == parameter_count(workbench(f"model={model}").abstract_state)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model", TINY)
def test_with_our_weights_the_first_loss_and_the_next_steps_are_ours(model, attention):
    compare(model, "sgd", f"torch.attention={attention}")


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("model", ["bert_tiny", "t5_tiny"])
def test_nothing_looks_at_padding(model, attention):
    step = torch_step(*overrides(model), f"torch.attention={attention}")
    batch = batches(workbench(*overrides(model)), 1)[0]
    batch["padding_mask"][:, 32:] = False
    if model == "bert_tiny":
        batch["masked_positions"] %= 32
    other = dict(batch, token_ids=np.where(batch["padding_mask"], batch["token_ids"], 1).astype(np.int32))
    first, second = (step._compute(as_tensors(one)).item() for one in (batch, other))
    assert first == pytest.approx(second, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_adaptive_optimizers_take_our_steps(optimizer):
    compare("gpt2_tiny", optimizer)


@pytest.mark.parametrize("layout", ["true", "false"])
def test_the_layout_changes_no_loss(layout):
    compare("resnet_tiny", "sgd", f"torch.channels_last={layout}")


def compare(model, optimizer, *more):
    """Three steps of both from PyTorch's initial weights."""
    rate = RATES[optimizer] * (
        10 if optimizer == "sgd" and model.startswith(("bert", "gpt2", "llama", "t5")) else 1
    )
    constant = ("optimizer.reference_batch=null", f"optimizer.learning_rate={rate}")
    plain = overrides(model, f"optimizer={optimizer}", *constant)
    bench = workbench(*plain)
    step = torch_step(*plain, *more)
    weights = weights_of(step, family_of(model))
    state = bench.first_state
    state = state._replace(
        params={name: jnp.asarray(weights.pop(name)) for name in state.params},
        statistics={name: jnp.asarray(weights.pop(name)) for name in state.statistics},
    )
    assert not weights
    ours, theirs = [], []
    for batch in batches(bench, 1) * 3:
        state, metrics = bench.compiled_step(state, {name: jnp.asarray(one) for name, one in batch.items()})
        ours.append(float(metrics["loss"]))
        theirs.append(float(step(as_tensors(batch))))
    assert np.allclose(ours, theirs, rtol=TOLERANCE[optimizer]), (ours, theirs)
    assert max(ours) / min(ours) > 1.01, "nothing moved, so nothing was compared"


@pytest.mark.parametrize("precision", ["bf16", "bf16_full"])
@pytest.mark.parametrize("model", ["resnet_tiny", "bert_tiny"])
def test_parameters_have_the_dtype_of_the_policy_and_the_loss_is_float32(model, precision):
    step = torch_step(f"model={model}", f"precision={precision}", "batch_size=2")
    bench = workbench(f"model={model}", batch_size=2)
    loss = step(as_tensors(batches(bench, 1)[0]))
    kernels = {one.dtype for one in step.model.parameters() if one.ndim > 1}
    assert kernels == {torch.bfloat16 if precision == "bf16_full" else torch.float32}
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["sgd", "adamw", "lamb"])
def test_vectors_do_not_decay_and_matrices_do(name, fused):
    constants = (
        {"momentum": 0.9, "nesterov": True} if name == "sgd" else {"b1": 0.9, "b2": 0.999, "eps": 1e-8}
    )
    config = OptimizerConfig(name, 0.1, 0.5, **constants)
    model = torch.nn.Linear(2, 2)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.ones_(model.bias)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    build(config, model, 4, fused=fused, compiled=False)()
    assert torch.equal(model.bias, torch.ones(2))
    assert (model.weight < 1).all()
