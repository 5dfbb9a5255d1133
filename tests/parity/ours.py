"""Our side: the model filled with the twin's weights, one pass, optimizer steps."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from tests.parity.hugging_face import Outcome
from tests.parity.weights import Arrays, fill, flatten
from trainbench.models.layers import Policy

# The loss and the logits that Hugging Face returns for the same inputs.
Loss = Callable[[nnx.Module, Any, bool], tuple[jax.Array, jax.Array]]


def filled(family: ModuleType, config: Any, arrays: Arrays) -> nnx.Module:
    """Our model in float32 with the given weights; its own initialisation is never run."""
    model = nnx.eval_shape(lambda: family.Model(config, policy=Policy(), rngs=nnx.Rngs(0)))
    graph, state = nnx.split(model)
    return nnx.merge(graph, fill(state, arrays))


def image_loss(model: nnx.Module, batch: Arrays, train: bool) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy and logits of a batch of images and labels."""
    logits = model(batch["images"], train=train)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
    return losses.mean(), logits


def text_loss(model: nnx.Module, batch: Arrays, train: bool) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy over the labels that are not negative, and logits."""
    inputs = {name: batch[name] for name in ("token_ids", "segment_ids", "padding_mask")}
    logits = model(**inputs, masked_positions=batch.get("masked_positions"), train=train)
    counted = batch["labels"] >= 0
    labels = jnp.maximum(batch["labels"], 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where(counted, losses, 0).sum() / counted.sum(), logits


def next_token_loss(model: nnx.Module, batch: Arrays, train: bool) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy of each token after the first, and logits."""
    logits = model(batch["token_ids"], train=train)
    targets = batch["token_ids"][:, 1:]
    return optax.softmax_cross_entropy_with_integer_labels(logits[:, :-1], targets).mean(), logits


def pair_loss(model: nnx.Module, batch: Arrays, train: bool) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy over the labels that are not negative, and logits, of an encoder and decoder."""
    inputs = {name: batch[name] for name in ("token_ids", "padding_mask", "decoder_ids")}
    logits = model(**inputs, train=train)
    counted = batch["labels"] >= 0
    labels = jnp.maximum(batch["labels"], 0)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where(counted, losses, 0).sum() / counted.sum(), logits


def run_pass(model: nnx.Module, loss: Loss, batch: Arrays, *, train: bool) -> Outcome:
    """One forward and backward pass."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def both_passes(params: nnx.State, rest: nnx.State, batch: Arrays) -> Any:
        return jax.value_and_grad(_with_state(graph, loss, train), has_aux=True)(params, rest, batch)

    (value, (logits, rest)), gradients = both_passes(params, rest, batch)
    return Outcome(
        logits=np.asarray(logits),
        loss=float(value),
        gradients=flatten(gradients),
        state=flatten(params) | flatten(rest),
    )


def run_steps(
    model: nnx.Module, loss: Loss, optimizer: optax.GradientTransformation, batches: list[Arrays]
) -> Arrays:
    """The state after one training step on each batch."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def step(params: nnx.State, rest: nnx.State, memory: Any, batch: Arrays) -> Any:
        gradient = jax.grad(_with_state(graph, loss, train=True), has_aux=True)
        gradients, (_, rest) = gradient(params, rest, batch)
        updates, memory = optimizer.update(gradients, memory, params)
        return optax.apply_updates(params, updates), rest, memory

    memory = optimizer.init(params)
    for batch in batches:
        params, rest, memory = step(params, rest, memory, batch)
    return flatten(params) | flatten(rest)


def _with_state(graph: Any, loss: Loss, train: bool) -> Callable[..., Any]:
    """The loss as a pure function that also returns the logits and the moved-on running statistics."""

    def pure(params: nnx.State, rest: nnx.State, batch: Arrays) -> Any:
        model = nnx.merge(graph, params, rest, copy=True)
        value, logits = loss(model, batch, train)
        return value, (logits, nnx.state(model, nnx.Not(nnx.Param)))

    return pure
