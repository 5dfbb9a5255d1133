"""One benchmark in PyTorch, in execution order; the same stages as trainbench.run, and the same meter."""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import torch

from trainbench import autos, fits, workload
from trainbench.autos import RunConfig
from trainbench.data.settings import SyntheticData
from trainbench.data.source import Source
from trainbench.data.spec import HostBatch, Share
from trainbench.errors import UserError
from trainbench.interruptible import interruptible
from trainbench.levers import registry
from trainbench.levers.values import PLAIN
from trainbench.pytorch import choices, evidence, models, optimizers
from trainbench.pytorch.device import find
from trainbench.pytorch.program import FIRST_CALLS, TorchProgram, TorchWindow, call
from trainbench.pytorch.settings import EAGER
from trainbench.pytorch.step import TorchStep
from trainbench.report.progress import ProgressLine
from trainbench.run import Parts, choices_of, measure, open_data, take_note_of_the_data
from trainbench.train import Trainer
from trainbench.training.device import memory_limit_bytes
from trainbench.training.precision import check_supported
from trainbench.training.state import parameter_count

# Chosen for XLA's programs; nothing here reads them.
_OF_JAX = ("compiler_options", "prng", *registry.LEVERS)


def run(parts: Parts, progress: ProgressLine) -> None:
    """Carry out the request in `parts` in PyTorch and fill in the rest, as trainbench.run does in JAX.

    Raises:
      UserError, OutOfMemory, MeasurementError, KeyboardInterrupt: as there.
    """
    # What is shared with JAX's runs may make an array; the accelerator's memory is PyTorch's alone.
    jax.config.update("jax_platforms", "cpu")
    with ExitStack() as at_the_end:
        scratch = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="trainbench-")))
        at_the_end.callback(take_note_of_the_data, parts)
        made: list[TorchStep] = []
        trainer = build(parts, progress, scratch, made.append)
        measure(parts, None, trainer, progress)
        broke_off = parts.timing is None or parts.timing.interrupted or parts.timing.error
        if parts.framework is not None and made and not broke_off:
            progress.phase("looking which attention ran")
            parts.framework = parts.framework.model_copy(
                update={"attention_ran": evidence.attention_of(made[-1], _batch(trainer))}
            )


def build(parts: Parts, progress: ProgressLine, scratch: Path, keep: Callable[[TorchStep], None]) -> Trainer:
    """Everything up to the training step, which is neither compiled nor run yet.

    Args:
      scratch: a directory that lasts as long as the data are read.
      keep: is given each step that is made.
    """
    progress.phase("starting the device")
    devices, device = find()
    parts.devices = devices
    check_supported(parts.request.precision, devices)
    how, chosen = choices.choose(parts.request, devices.platform)
    request = parts.request = dataclasses.replace(parts.request, torch=how)
    choices.set_globally(request)

    # Data
    if not isinstance(request.data, SyntheticData):
        progress.phase("opening the data set")
        parts.data = interruptible(functools.partial(open_data, request, Share(), scratch))

    # Workload
    task = parts.task = workload.make_task(request, parts.data.wire if parts.data else None)
    config = autos.resolve(request, task, devices.platform, 1, accepts=_accepts_all)
    config = _without_jax(config).with_autos(chosen)
    if parts.data is not None:
        config = config.with_autos(choices_of(parts.data))
    parts.config = config
    work = workload.build(config, task)
    parts.parameters = _same_parameters(request.model.name, parameter_count(work.abstract_state), config)
    parts.state_bytes = _state_bytes(config)
    limit = memory_limit_bytes(devices)
    fits.refuse_above(limit, fits.input_bytes(work, config, devices), "the input alone")
    fits.refuse_above(limit, parts.state_bytes, "the training state alone")
    parts.framework = choices.described(request, device)
    parts.first_calls = FIRST_CALLS + 1

    def initialise() -> TorchStep:
        step = TorchStep(config, task, device)
        keep(step)
        return step

    return Trainer(
        config=config,
        platform=devices.platform,
        call=call,
        initialise=initialise,
        put=functools.partial(put, device=device),
        source=Source(parts.data, work.spec, work.global_batch_size, request.seed),
        stacked=False,
        sample_unit=task.sample_unit,
        progress=progress,
        team=parts.team,
        program=TorchProgram,
        window=functools.partial(TorchWindow, compiled=how.compile != EAGER),
        # A recorded graph belongs to the thread that made it.
        aside=_at_once,
    )


def put(batch: HostBatch, *, device: torch.device) -> dict[str, torch.Tensor]:
    """A host batch on the device; it has arrived when this returns."""
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    if device.type == "cpu":
        return tensors
    stream, arrived = _copying(device), torch.cuda.Event()
    with torch.cuda.stream(stream):
        moved = {name: tensor.pin_memory().to(device, non_blocking=True) for name, tensor in tensors.items()}
        arrived.record(stream)
    # Not the stream's own way of waiting, which the guard of the timed blocks takes for the step's.
    arrived.synchronize()
    for tensor in moved.values():
        tensor.record_stream(torch.cuda.default_stream(device))
    return moved


@functools.lru_cache(maxsize=1)
def _copying(device: torch.device) -> torch.cuda.Stream:
    """The stream of copies; the allocator keeps memory for each stream that it ever served."""
    return torch.cuda.Stream(device)


def _at_once(work: Callable[[], Any]) -> Any:
    return work()


def _accepts_all(options: Mapping[str, str]) -> bool:
    del options
    return True


def _without_jax(config: RunConfig) -> RunConfig:
    """The same without what only XLA's programs read."""
    kept = {name: auto for name, auto in config.autos.items() if name not in _OF_JAX}
    return dataclasses.replace(config, compiler_options={}, autos=kept, levers=PLAIN, chosen_levers={})


def _same_parameters(name: str, ours: int, config: RunConfig) -> int:
    """The trained scalars, which both frameworks have.

    Raises:
      UserError: this version of transformers builds another model.
    """
    theirs = models.parameter_count(_abstract(config))
    if theirs != ours:
        raise UserError(
            f"model={name} has {theirs:,} parameters in PyTorch and {ours:,} here: not the same workload",
            allowed="models that both build alike",
            fix="leave model.architecture as it is shipped, with the transformers of constraints.txt",
        )
    return ours


@functools.lru_cache(maxsize=1)
def _abstract_of(model: Any, attention: str) -> torch.nn.Module:
    with torch.device("meta"):
        return models.build(model, attention)


def _abstract(config: RunConfig) -> torch.nn.Module:
    """The model without memory for its tensors."""
    return _abstract_of(config.request.model, config.request.torch.attention or "sdpa")


def _state_bytes(config: RunConfig) -> int:
    """Parameters, optimizer state and statistics, as they are while training."""
    request, model = config.request, _abstract(config)
    each = 2 if request.precision.name == "bf16_full" else 4
    copies = 1 + optimizers.SLOTS[request.optimizer.name]
    buffers = sum(one.numel() * one.element_size() for one in model.buffers())
    return models.parameter_count(model) * each * copies + buffers


def _batch(trainer: Trainer) -> dict[str, torch.Tensor]:
    """A random batch on the device, for a step that nobody times."""
    from trainbench.data import synthetic

    made = trainer.put(next(synthetic.host_batches(trainer.source.spec, trainer.source.seed)))
    return dict(made)
