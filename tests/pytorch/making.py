"""Steps in PyTorch of the shipped models, and our step from the same weights."""

import dataclasses
from typing import Any

import numpy as np
import pytest

WHY = "needs torch and transformers: make test-torch installs them"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("transformers", reason=WHY)

from tests.building import Workbench, request  # noqa: E402
from tests.parity.weights import translate_all  # noqa: E402
from trainbench import autos, workload  # noqa: E402
from trainbench.data import synthetic  # noqa: E402
from trainbench.pytorch import choices  # noqa: E402
from trainbench.pytorch.step import TorchStep  # noqa: E402

CPU = torch.device("cpu")
TINY = ("resnet_tiny", "vit_tiny", "bert_tiny", "gpt2_tiny", "llama_tiny", "t5_tiny")
BATCH = 4


def overrides(model: str, *more: str) -> tuple[str, ...]:
    """A tiny model in float32 that drops nothing."""
    still = () if model.startswith(("resnet", "llama", "t5")) else ("model.architecture.dropout_rate=0",)
    return (f"model={model}", "precision=fp32", f"batch_size={BATCH}", *still, *more)


def torch_step(*asked: str) -> TorchStep:
    """A step of these overrides, on the CPU."""
    wanted = request("framework=torch", *asked)
    wanted = dataclasses.replace(wanted, torch=choices.choose(wanted, "cpu")[0])
    choices.set_globally(wanted)
    task = workload.make_task(wanted)
    return TorchStep(autos.resolve(wanted, task, "cpu", 1, accepts=lambda options: False), task, CPU)


def batches(bench: Workbench, count: int) -> list[dict[str, np.ndarray]]:
    """The first host batches of seed 0."""
    made = synthetic.host_batches(bench.spec, 0)
    return [next(made) for _ in range(count)]


def as_tensors(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def weights_of(step: TorchStep, family: str) -> dict[str, np.ndarray]:
    """The parameters and running statistics of a step's model under our paths, in our layouts."""
    model = step.model
    tensors = dict(model.named_parameters())
    tensors |= {name: tensor for name, tensor in model.named_buffers() if "running_" in name}
    arrays = {name: tensor.detach().contiguous().numpy().copy() for name, tensor in tensors.items()}
    return translate_all(family, arrays)
