"""One optimizer step as a pure function over plain pytrees: (state, batch) -> (state, metrics)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from trainbench.training.state import Arrays, Structure, TrainState
from trainbench.training.task import Batch, Metrics, Score, Task

# JAX's own generator: counter-based, the same bits on every platform.
THREEFRY = "threefry2x32"

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
# (params, statistics, batch, key) -> (gradients, statistics afterwards, metrics)
GradientFunction = Callable[[Arrays, Arrays, Batch, jax.Array], tuple[Arrays, Arrays, Metrics]]


def make_step(
    task: Task,
    structure: Structure,
    optimizer: optax.GradientTransformation,
    accumulation: int = 1,
    prng: str = THREEFRY,
) -> StepFunction:
    """The training step of `task`; forward, backward, optimizer update.

    Args:
      accumulation: micro-batches of a step, one after the other; the batch holds the samples of all.
      prng: the random bit generator of dropout, by JAX's name.
    """

    def loss_of(
        params: Arrays, statistics: Arrays, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Arrays, Metrics]]:
        model = structure.merge(params, statistics)
        loss, metrics = task.loss(model, batch, nnx.Rngs(key))
        return loss, (structure.split(model)[1], metrics)

    def of_one_batch(
        params: Arrays, statistics: Arrays, batch: Batch, key: jax.Array
    ) -> tuple[Arrays, Arrays, Metrics]:
        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (_, (statistics, metrics)), gradients = gradient_of(params, statistics, batch, key)
        return gradients, statistics, metrics

    gradients_of = accumulate(of_one_batch, accumulation)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key_of(state.rng, prng), state.step)
        gradients, statistics, metrics = gradients_of(state.params, state.statistics, batch, key)
        with jax.named_scope("optimizer"):
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
        return TrainState(params, statistics, optimizer_state, state.step + 1, state.rng), metrics

    return step


def key_of(words: jax.Array, prng: str) -> jax.Array:
    """The key of a generator from the two 32-bit words that the state holds, whichever generator it is.

    "rbg" has keys of four words, and repeats a seed of two in the same way.
    """
    return jax.random.wrap_key_data(words if prng == THREEFRY else jnp.tile(words, 2), impl=prng)


def accumulate(gradients_of: GradientFunction, micro_batches: int) -> GradientFunction:
    """The same for a batch worked off in `micro_batches` equal parts: their mean gradients and mean metrics.

    As in published training code, each micro-batch has a mean loss of its own and these count alike. For
    masked language modelling that differs from the mean over all predicted tokens where the micro-batches
    predict unequally many. Batch normalisation sees one micro-batch at a time and moves its running averages
    on with each, as PyTorch does; dropout has a key for each.

    Gradients add up in their own dtype, the parameters', as PyTorch's do: in float32 also where the
    arithmetic is bfloat16, whose 8 significant bits would lose most of a small gradient added to a large sum.
    Over devices that sum is reduced as the compiler sees fit: XLA for GPUs casts it to bfloat16 for the way
    (docs/communication.md).

    A gradient enters its sum unscaled: XLA for GPU and TPU (while-loop-all-reduce-code-motion) then takes its
    reduction over devices out of the loop, one for each optimizer step. Programs compiled for TPU v5e (libtpu
    0.0.52) show that, except for embeddings, whose gradients are scattered. XLA:CPU has no such pass and
    reduces once for each micro-batch.
    """
    if micro_batches == 1:
        return gradients_of

    def run(
        params: Arrays, statistics: Arrays, batch: Batch, key: jax.Array
    ) -> tuple[Arrays, Arrays, Metrics]:
        cut = {name: _cut(array, micro_batches) for name, array in batch.items()}

        def body(carry: tuple[Arrays, Arrays], index: jax.Array) -> tuple[tuple[Arrays, Arrays], Metrics]:
            total, statistics = carry
            part = {name: _micro_batch(array, index) for name, array in cut.items()}
            gradients, statistics, metrics = gradients_of(
                params, statistics, part, jax.random.fold_in(key, index)
            )
            return (jax.tree.map(jnp.add, total, gradients), statistics), metrics

        start = (jax.tree.map(jnp.zeros_like, params), statistics)
        (total, statistics), series = jax.lax.scan(body, start, jnp.arange(micro_batches))
        gradients = jax.tree.map(lambda summed: summed / micro_batches, total)
        return gradients, statistics, jax.tree.map(lambda values: values.mean(0), series)

    return run


def _cut(array: jax.Array, micro_batches: int) -> jax.Array:
    """[B, ...] as [B/N, N, ...], N micro-batches along the second axis.

    Along the first they would each lie on few devices, and every device would wait for samples of others.
    """
    return array.reshape(array.shape[0] // micro_batches, micro_batches, *array.shape[1:])


def _micro_batch(cut: jax.Array, index: jax.Array) -> jax.Array:
    """Samples [B/N, ...] of one micro-batch; `scan` would transpose, and so copy, all of them at once."""
    return jax.lax.dynamic_index_in_dim(cut, index, axis=1, keepdims=False)


def make_evaluation(task: Task, structure: Structure) -> Callable[[Arrays, Arrays, Batch], Score]:
    """(params, statistics, batch) -> how good the predictions for the batch are."""

    def evaluate(params: Arrays, statistics: Arrays, batch: Batch) -> Score:
        return task.evaluate(structure.merge(params, statistics), batch)

    return evaluate


def repeat(step: StepFunction, steps_per_call: int, *, stacked: bool) -> StepFunction:
    """A function that runs `steps_per_call` steps in one device call and returns the last step's metrics.

    With `stacked`, each array of the batch has a leading axis of that length and every step gets its own
    slice (host-fed data); without, all steps see the same batch (resident data).
    """
    if steps_per_call == 1:
        return step

    def run(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        def body(state: TrainState, slice_: Batch | None) -> tuple[TrainState, Metrics]:
            return step(state, batch if slice_ is None else slice_)

        length = None if stacked else steps_per_call
        state, metrics = jax.lax.scan(body, state, batch if stacked else None, length=length)
        return state, jax.tree.map(lambda series: series[-1], metrics)

    return run
