"""One optimizer step as a pure function over plain pytrees: (state, batch) -> (state, metrics)."""

from collections.abc import Callable

import jax
import optax
from flax import nnx

from trainbench.training.state import Arrays, Structure, TrainState
from trainbench.training.task import Batch, Metrics, Score, Task

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(task: Task, structure: Structure, optimizer: optax.GradientTransformation) -> StepFunction:
    """The training step of `task`; forward, backward, optimizer update."""

    def loss_of(
        params: Arrays, statistics: Arrays, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Arrays, Metrics]]:
        model = structure.merge(params, statistics)
        loss, metrics = task.loss(model, batch, nnx.Rngs(key))
        return loss, (structure.split(model)[1], metrics)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (_, (statistics, metrics)), gradients = gradient_of(state.params, state.statistics, batch, key)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, statistics, optimizer_state, state.step + 1, state.rng), metrics

    return step


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
