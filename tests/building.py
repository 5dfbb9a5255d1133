"""Requests, tasks and steps of the shipped models, for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
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
    """A requested model with everything that a step needs, nothing compiled yet."""

    def __init__(self, overrides: Sequence[str], batch_size: int = 4) -> None:
        self.request = request(*overrides)
        self.batch_size = batch_size
        self.task: Task = workload.make_task(self.request)
        self.build_model = workload.model_builder(self.request)
        self.structure = Structure.of(self.build_model)
        self.optimizer = optimizers.build(self.request.optimizer, batch_size)
        self.spec = self.task.batch_spec(batch_size)

    @property
    def step(self) -> StepFunction:
        return make_step(self.task, self.structure, self.optimizer)

    def state(self, seed: int = 0) -> TrainState:
        return init(self.structure, self.build_model, self.optimizer, seed)
