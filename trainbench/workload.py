"""What is trained: from a request to the task, the model's structure, the optimizer and the step."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np
import optax
from flax import nnx

from trainbench import models
from trainbench.autos import RunConfig
from trainbench.config import Request
from trainbench.data.spec import ArraySpec, ImageWire, synthetic_wire
from trainbench.errors import UserError
from trainbench.levers import first_moment
from trainbench.levers.values import PLAIN, Levers
from trainbench.models.layers import Policy
from trainbench.models.vocabulary import added_rows
from trainbench.training import optimizer as optimizers
from trainbench.training.precision import FP8
from trainbench.training.state import BuildModel, Structure, TrainState, init, parameter_count
from trainbench.training.step import THREEFRY, StepFunction, make_step
from trainbench.training.task import (
    CausalLanguageModel,
    ImageClassification,
    MaskedLanguageModel,
    SpanCorruption,
    Task,
)


@dataclass(frozen=True)
class Workload:
    """Everything about a training step that can be known without a device; nothing is compiled yet.

    `spec` describes the global batch; `make_state` is to be called under `jax.jit` or `jax.eval_shape`.
    """

    task: Task
    structure: Structure
    optimizer: optax.GradientTransformation
    make_state: Callable[[], TrainState]
    global_batch_size: int
    gradient_accumulation: int = 1
    prng: str = THREEFRY

    @property
    def spec(self) -> Mapping[str, ArraySpec]:
        return self.task.batch_spec(self.global_batch_size)

    @property
    def step(self) -> StepFunction:
        return make_step(self.task, self.structure, self.optimizer, self.gradient_accumulation, self.prng)

    @property
    def abstract_state(self) -> TrainState:
        return jax.eval_shape(self.make_state)

    @property
    def parameters(self) -> int:
        """The number of the model's parameters; rows that were added to its tables are not among them."""
        state = self.abstract_state
        vocabulary = getattr(self.task.architecture, "vocabulary", None)
        added = 0 if vocabulary is None else added_rows(state.params, vocabulary)
        return parameter_count(state) - added


def build(config: RunConfig, task: Task) -> Workload:
    """The workload of a resolved request."""
    return build_at(
        config.request, task, config.global_batch_size, config.prng, config.norm_groups, config.levers
    )


def build_at(
    request: Request,
    task: Task,
    global_batch_size: int,
    prng: str = THREEFRY,
    norm_groups: int = 1,
    levers: Levers = PLAIN,
) -> Workload:
    """The workload of a request at a global batch size, with this random bit generator for dropout.

    Args:
      norm_groups: parts of the batch whose batch statistics are apart.
    """
    build_model = model_builder(request, norm_groups, levers)
    structure = Structure.of(build_model)
    optimizer = optimizers.build(
        request.optimizer, global_batch_size, first_moment.dtype_of(levers.first_moment)
    )
    make_state = functools.partial(init, structure, build_model, optimizer, request.seed)
    accumulation = request.gradient_accumulation
    return Workload(task, structure, optimizer, make_state, global_batch_size, accumulation, prng)


def make_task(request: Request, wire: ImageWire | None = None) -> Task:
    """The task of the requested model; `wire` is that of a real image set."""
    model = request.model
    if model.task == "masked_language_model":
        assert model.sequence_length is not None
        return MaskedLanguageModel(model.architecture, model.sequence_length)
    if model.task == "causal_language_model":
        assert model.sequence_length is not None
        return CausalLanguageModel(model.architecture, model.family, model.sequence_length)
    if model.task == "span_corruption":
        assert model.sequence_length is not None
        return SpanCorruption(model.architecture, model.sequence_length)
    assert model.image_size is not None
    wire = wire or synthetic_wire(model.image_size, model.architecture.classes)
    if wire.classes > model.architecture.classes:
        raise UserError(
            f"data={request.data.name} has {wire.classes} classes, model={model.name} only "
            f"{model.architecture.classes}",
            allowed=f"at least {wire.classes} classes",
            fix=f"model.architecture.classes={wire.classes}",
        )
    dtype = np.dtype(request.precision.compute_dtype)
    return ImageClassification(model.architecture, model.family, model.image_size, dtype, wire)


def model_builder(request: Request, norm_groups: int = 1, levers: Levers = PLAIN) -> BuildModel:
    """A function from random streams to the requested model."""
    family = models.FAMILIES[request.model.family]
    precision = request.precision
    policy = Policy(
        precision.param_dtype,
        precision.compute_dtype,
        request.remat,
        norm_groups,
        levers,
        fp8=precision.dense == FP8,
    )

    def build_model(rngs: nnx.Rngs) -> nnx.Module:
        model: nnx.Module = family.Model(request.model.architecture, policy=policy, rngs=rngs)
        return model

    return build_model
