"""Held-out data: whether a model that was trained fast has also learned."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax

from trainbench.data.spec import HostBatch
from trainbench.training.precision import Precision
from trainbench.training.state import Structure, TrainState
from trainbench.training.step import make_evaluation
from trainbench.training.task import Task

# Divides the 297 held-out digits, so that one program evaluates them.
BATCH = 99


@dataclass(frozen=True)
class Evaluation:
    """Over all predictions: the share of right ones, their mean loss, and how many there are."""

    accuracy: float
    loss: float
    predictions: int


def evaluate(
    task: Task,
    structure: Structure,
    state: TrainState,
    batches: Iterable[HostBatch],
    precision: Precision,
    compiler_options: Mapping[str, str],
) -> Evaluation | None:
    """How good the predictions are in evaluation mode, in the precision of the training; None without any."""
    score = jax.jit(make_evaluation(task, structure), compiler_options=dict(compiler_options))
    right, count, loss = 0, 0, 0.0
    with jax.default_matmul_precision(precision.matmul_precision):
        for batch in batches:
            found = score(state.params, state.statistics, batch)
            right, count, loss = (
                right + int(found.right),
                count + int(found.predictions),
                loss + float(found.loss),
            )
    return Evaluation(right / count, loss / count, count) if count else None
