"""Requests, tasks and steps of the shipped models, for tests."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import jax
import pytest
from omegaconf import OmegaConf

import trainbench
from trainbench import config, workload
from trainbench.config import Request
from trainbench.training import optimizer as optimizers
from trainbench.training.state import Structure, TrainState, init
from trainbench.training.step import StepFunction, make_step
from trainbench.training.task import Task

CONFIGS = Path(trainbench.__file__).parent / "configs"
ALIASES = ("vit", "bert", "gpt2")
MODELS = sorted({path.stem for path in (CONFIGS / "model").glob("*.yaml")} - set(ALIASES))
TINY = [name for name in MODELS if name.endswith("tiny")]
# For tests that compile for long: those whose parts other tests see are left to `make test-slow`.
TINY_AND_SLOW = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("llama_tiny", "t5_tiny") else name for name in TINY
]
# The tiny models with a single block, which compile fast: for what no depth changes.
SHALLOW = {
    name: (f"model={name}", f"model.architecture.{'depths=[1]' if name == 'resnet_tiny' else 'depth=1'}")
    for name in TINY
}


def tree(*overrides: str) -> dict[str, Any]:
    """The composed configuration as plain data."""
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        composed = OmegaConf.to_container(hydra.compose("config", list(overrides)), resolve=True)
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def request(*overrides: str) -> Request:
    """The validated request of these overrides."""
    return config.parse(tree(*overrides))


class Workbench:
    """A requested model with everything that a step needs; each part is made when it is first asked for."""

    def __init__(self, overrides: Sequence[str], batch_size: int = 4) -> None:
        self.request = request(*overrides)
        self.batch_size = batch_size
        self.task: Task = workload.make_task(self.request)
        self.build_model = workload.model_builder(self.request)
        self.optimizer = optimizers.build(self.request.optimizer, batch_size)
        self.spec = self.task.batch_spec(batch_size)

    @functools.cached_property
    def structure(self) -> Structure:
        return Structure.of(self.build_model)

    @functools.cached_property
    def step(self) -> StepFunction:
        return make_step(self.task, self.structure, self.optimizer)

    def state(self, seed: int = 0) -> TrainState:
        return init(self.structure, self.build_model, self.optimizer, seed)

    @functools.cached_property
    def abstract_state(self) -> TrainState:
        return jax.eval_shape(self.state)

    @property
    def abstract_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        return {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in self.spec.items()}

    @functools.cached_property
    def first_state(self) -> TrainState:
        """The state before the first step, of seed 0."""
        return jax.jit(self.state)()

    @functools.cached_property
    def compiled_step(self) -> Callable[..., Any]:
        """The step under `jax.jit`, without donation, so that tests may share a state."""
        return jax.jit(self.step)


@functools.cache
def workbench(*overrides: str, batch_size: int = 4) -> Workbench:
    """The one that all tests of this process share, so that what it compiles is compiled once."""
    return Workbench(overrides, batch_size)


def shallow(model: str, optimizer: str = "sgd") -> Workbench:
    """A shared one of a single block, in float32."""
    return workbench(*SHALLOW[model], "precision=fp32", f"optimizer={optimizer}")
