"""Held-out data: whether a model that was trained fast has also learned."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import jax

from trainbench.data.spec import HostBatch
from trainbench.measure.clock import Clock, wall_clock
from trainbench.training.precision import Precision
from trainbench.training.state import Structure, TrainState
from trainbench.training.step import make_evaluation
from trainbench.training.task import Task

# Divides the 297 held-out digits, so that one program evaluates them.
BATCH = 99
# Where steps are slow, the training batch is small; a batch without gradients may be so many times larger.
BATCH_FACTOR = 16
# Held-out data tells whether a model learns at all; the benchmark is not to wait for its last sample.
LIMIT_S = 30.0


@dataclass(frozen=True)
class Evaluation:
    """Over all predictions: the share of right ones, their mean loss, and how many there are.

    `complete` is False when time ran out before the held-out data.
    """

    accuracy: float
    loss: float
    predictions: int
    complete: bool


def batch_size(training_batch_size: int) -> int:
    """Samples in one evaluation batch."""
    return min(BATCH, BATCH_FACTOR * training_batch_size)


def evaluate(
    task: Task,
    structure: Structure,
    state: TrainState,
    batches: Iterable[HostBatch],
    precision: Precision,
    compiler_options: Mapping[str, str],
    clock: Clock = wall_clock,
    agree: Callable[[bool], bool] = bool,
) -> Evaluation | None:
    """How good the predictions are in evaluation mode, in the precision of the training; None without any.

    Args:
      batches: the same in every process.
      agree: from whether this process has had enough to whether any has.
    """
    score = jax.jit(make_evaluation(task, structure), compiler_options=dict(compiler_options))
    right, count, loss, complete = 0, 0, 0.0, True
    deadline = clock() + LIMIT_S
    with jax.default_matmul_precision(precision.matmul_precision):
        for batch in batches:
            if agree(clock() > deadline):
                complete = False
                break
            found = score(state.params, state.statistics, batch)
            right, count, loss = (
                right + int(found.right),
                count + int(found.predictions),
                loss + float(found.loss),
            )
    return Evaluation(right / count, loss / count, count, complete) if count else None
