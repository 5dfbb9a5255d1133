"""Held-out accuracy: whether a model that was trained fast has also learned."""

from collections.abc import Mapping

import jax
import numpy as np

from trainbench.training.precision import Precision
from trainbench.training.state import Structure, TrainState
from trainbench.training.step import make_evaluation
from trainbench.training.task import Task

BATCH = 99


def held_out_accuracy(
    task: Task,
    structure: Structure,
    state: TrainState,
    samples: Mapping[str, np.ndarray],
    precision: Precision,
    compiler_options: Mapping[str, str],
) -> tuple[float, int]:
    """(fraction right, samples) over `samples`, in evaluation mode and in the precision of the training."""
    evaluate = jax.jit(make_evaluation(task, structure), compiler_options=dict(compiler_options))
    count = len(next(iter(samples.values())))
    right = 0
    with jax.default_matmul_precision(precision.matmul_precision):
        for start in range(0, count, BATCH):
            batch = {name: array[start : start + BATCH] for name, array in samples.items()}
            right += int(evaluate(state.params, state.statistics, batch))
    return right / count, count
