"""Gradient accumulation: micro-batches of a step, one after the other, and what they leave unchanged."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.building import TINY, request
from trainbench import shipped, workload
from trainbench.data.synthetic import host_batch
from trainbench.measure.flops import walk
from trainbench.models.batch_norm import BatchNorm
from trainbench.models.layers import Policy
from trainbench.training import compile as aot
from trainbench.training import parallel
from trainbench.training.parallel import Axes
from trainbench.training.state import Structure, init
from trainbench.training.step import accumulate, make_step, repeat

MOVES_DATA = re.compile(
    r" (all-to-all|all-gather|collective-permute|reduce-scatter|ragged-all-to-all)[-a-z]*\("
)
SMALL = {
    "bert_tiny": ["model.architecture.dropout_rate=0", "model.architecture.depth=1"],
    "resnet_tiny": ["model.architecture.depths=[1]"],
    "vit_tiny": ["model.architecture.depth=1"],
}


def work_of(model, *overrides, accumulation=1, global_batch_size=8):
    """A workload in float32; `SMALL` ones have no dropout, and few layers, which compile fast."""
    fixed = [
        f"model={model}",
        *SMALL.get(model, []),
        "precision=fp32",
        f"gradient_accumulation={accumulation}",
    ]
    asked = request(*fixed, *overrides)
    return workload.build_at(asked, workload.make_task(asked), global_batch_size)


def abstract_batch(work):
    return {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in work.spec.items()}


def trained(work, steps=10):
    """(losses, state) of steps on one batch."""
    step, state, batch, losses = jax.jit(work.step), jax.jit(work.make_state)(), host_batch(work.spec, 0), []
    for _ in range(steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return losses, state


@pytest.mark.parametrize(("model", "optimizer"), [("bert_tiny", "adamw"), ("vit_tiny", "sgd")])
def test_losses_are_those_of_the_whole_batch_at_once(model, optimizer):
    """Sums in another order round otherwise, by 6e-8 each; after ten steps that was 5e-6 at most."""
    overrides = [f"optimizer={optimizer}", "optimizer.reference_batch=null"]
    whole, _ = trained(work_of(model, *overrides))
    parts, _ = trained(work_of(model, *overrides, accumulation=4))
    np.testing.assert_allclose(parts, whole, rtol=5e-5)
    assert whole[-1] < 0.8 * whole[0], "steps that change nothing would prove nothing"


def test_no_accumulation_adds_no_loop():
    def gradients_of(params, statistics, batch, key):
        raise AssertionError

    assert accumulate(gradients_of, 1) is gradients_of


class Normalised(nnx.Module):
    """Batch normalisation, then the mean of the squares."""

    def __init__(self, rngs):
        del rngs
        self.norm = BatchNorm(3, policy=Policy())

    def __call__(self, inputs):
        return jnp.square(self.norm(inputs, train=True) - 1.0).mean()


class Squares:
    def loss(self, model, batch, rngs):
        del rngs
        loss = model(batch["x"])
        return loss, {"loss": loss}


def test_running_statistics_move_on_with_each_micro_batch_in_turn():
    """Against NumPy: r <- 0.9 r + 0.1 b, for the micro-batches of samples 0 4 8, 1 5 9, 2 6 10, 3 7 11."""
    structure, optimizer = Structure.of(Normalised), optax.sgd(0.0)
    inputs = np.random.default_rng(0).normal(2.0, 3.0, (12, 3)).astype(np.float32)
    step = make_step(Squares(), structure, optimizer, accumulation=4)
    after, _ = jax.jit(step)(init(structure, Normalised, optimizer, 0), {"x": inputs})
    mean, var = np.zeros(3), np.ones(3)
    for part in (inputs[first::4].astype(np.float64) for first in range(4)):
        mean = 0.9 * mean + 0.1 * part.mean(0)
        var = 0.9 * var + 0.1 * part.var(0, ddof=1)
    np.testing.assert_allclose(after.statistics["norm/mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(after.statistics["norm/var"], var, rtol=1e-5)


def test_a_masked_language_models_loss_is_the_mean_of_the_micro_batches_own_means():
    work = work_of("bert_tiny", accumulation=2)
    batch = dict(host_batch(work.spec, 0))
    weights = np.zeros_like(batch["masked_weights"])
    weights[0::2, :1], weights[1::2, :] = 1, 1  # the first micro-batch predicts little, the second all
    batch["masked_weights"] = weights
    state = jax.jit(work.make_state)()

    def loss(batch):
        model = work.structure.merge(state.params, state.statistics)
        return work.task.loss(model, batch, nnx.Rngs(0))[0]

    _, metrics = jax.jit(work.step)(state, batch)
    halves = [jax.jit(loss)({name: array[half::2] for name, array in batch.items()}) for half in range(2)]
    assert float(metrics["loss"]) == pytest.approx(np.mean(halves), rel=1e-5)
    assert float(metrics["loss"]) != pytest.approx(float(jax.jit(loss)(batch)), rel=1e-4)


def test_each_micro_batch_drops_other_units():
    def drawn(params, statistics, batch, key):
        value = jax.random.uniform(key)
        return params, statistics, {"value": value, "square": value**2}

    batch = {"x": jnp.zeros(8)}
    _, _, metrics = accumulate(drawn, 4)({"w": jnp.zeros(2)}, {}, batch, jax.random.key(0))
    assert float(metrics["square"] - metrics["value"] ** 2) > 0.01, "the variance of four equal draws is 0"


@pytest.mark.parametrize("precision", shipped.names("precision"))
def test_the_state_keeps_its_dtypes(precision):
    work = work_of("bert_tiny", f"precision={precision}", accumulation=2)
    after, metrics = jax.eval_shape(work.step, work.abstract_state, abstract_batch(work))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), work.abstract_state
    )
    assert (metrics["loss"].shape, metrics["loss"].dtype) == ((), jnp.float32)


def test_small_gradients_are_not_lost_in_a_large_sum():
    """1 + 8 x 2^-12 needs 12 bits: exact in float32, and 1 in bfloat16."""

    def gradients_of(params, statistics, batch, key):
        return {"w": batch["x"].astype(jnp.float32).sum(keepdims=True)}, statistics, {}

    batch = {"x": jnp.asarray([1.0] + [2.0**-12] * 8, jnp.bfloat16)}
    mean, _, _ = accumulate(gradients_of, 9)({"w": jnp.zeros(1)}, {}, batch, jax.random.key(0))
    assert float(mean["w"][0]) == pytest.approx((1 + 8 * 2.0**-12) / 9, rel=1e-7)


# T5 looks the ranges of distance of 64 x 64 and 14 x 14 tokens up by a product with its 32 x 4 numbers, and
# the gradient is another. They are of no sample, so that each micro-batch does them all.
POSITIONS = {"t5_tiny": 2 * 2 * (64**2 + 14**2) * 32 * 4}


@pytest.mark.parametrize("model", TINY)
def test_flops_are_those_of_the_whole_batch_at_once(model):
    whole, parts = (work_of(model, accumulation=count) for count in (1, 4))
    counts = [
        walk(jax.jit(work.step).trace(work.abstract_state, abstract_batch(work)).jaxpr)
        for work in (whole, parts)
    ]
    assert counts[1].total == counts[0].total + 3 * POSITIONS.get(model, 0)
    assert counts[1].complete


def test_several_steps_in_one_call_accumulate_each():
    work = work_of("vit_tiny", "optimizer=sgd", accumulation=2)
    _, alone = trained(work, steps=3)
    fed = {name: np.stack([array] * 3) for name, array in host_batch(work.spec, 0).items()}
    together, _ = jax.jit(repeat(work.step, 3, stacked=True))(jax.jit(work.make_state)(), fed)
    assert int(together.step) == 3
    for name, array in alone.params.items():
        np.testing.assert_allclose(together.params[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def compiled_for(devices, work):
    mesh = parallel.mesh(jax.devices()[:devices], Axes(data=devices))
    replicated, split = parallel.replicated(mesh), parallel.batch_sharding(mesh, stacked=False)
    lowered = aot.lower_function(
        work.step,
        aot.placed(work.abstract_state, jax.tree.map(lambda leaf: replicated, work.abstract_state)),
        aot.abstract_batch(work.spec, split, None),
        donate=(0,),
        out_shardings=(replicated, replicated),
    )
    return aot.compile_lowered(lowered), replicated, split


@pytest.mark.parametrize("model", ["bert_tiny", "resnet_tiny"])
def test_two_devices_keep_their_samples_and_do_what_one_does(model):
    """Only gradients, losses and batch statistics cross between devices, each by an all-reduce."""
    work = work_of(model, "optimizer=sgd", accumulation=2)
    losses = []
    for devices in (1, 2):
        executable, replicated, split = compiled_for(devices, work)
        state = jax.jit(work.make_state, out_shardings=replicated)()
        for seed in range(2):
            batch = jax.device_put(host_batch(work.spec, seed), split)
            state, metrics = executable.call(state, batch)
        losses.append(float(metrics["loss"]))
        program = executable.call.as_text()
        assert not MOVES_DATA.search(program)
        assert (" all-reduce(" in program) == (devices == 2)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_micro_batches_along_the_first_axis_would_move_samples():
    """The check above can fail: cut the other way, each micro-batch lies on one of the two devices."""
    mesh = parallel.mesh(jax.devices()[:2], Axes(data=2))

    def blocks(x):
        return jax.lax.map(lambda part: jnp.tanh(part).sum(), x.reshape(4, 2, 3))

    split = parallel.batch_sharding(mesh, stacked=False)
    moved = jax.jit(blocks).lower(jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=split)).compile()
    assert MOVES_DATA.search(moved.as_text())


def test_accumulation_needs_less_memory():
    whole, parts = (work_of("vit_tiny", accumulation=count, global_batch_size=64) for count in (1, 8))
    assert compiled_for(1, parts)[0].peak_bytes < 0.5 * compiled_for(1, whole)[0].peak_bytes
