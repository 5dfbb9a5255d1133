"""One benchmark, in execution order: request -> task -> executable -> measurement -> result.

`Parts` collects what each stage yields, so that a run which ends early (out of memory, Ctrl-C, a loss that is
not finite) still tells everything it got to know.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from trainbench import autos, models
from trainbench.autos import RunConfig
from trainbench.config import Request
from trainbench.data import images, synthetic
from trainbench.data.feed import Feed, Prefetched, Resident, stack
from trainbench.data.synthetic import HostBatch
from trainbench.errors import OutOfMemory, UserError
from trainbench.interruptible import interruptible
from trainbench.measure.blocks import Progress, Timing, measure
from trainbench.measure.clock import wall_clock
from trainbench.measure.guards import TimedWindow
from trainbench.models.layers import Policy
from trainbench.report.progress import ProgressLine, block_text
from trainbench.training import compile as aot
from trainbench.training import optimizer as optimizers
from trainbench.training import parallel
from trainbench.training.device import Devices, local_devices, memory_limit_bytes
from trainbench.training.precision import check_supported
from trainbench.training.program import TrainingProgram, first_call
from trainbench.training.state import Structure, TrainState, init, parameter_count
from trainbench.training.step import make_evaluation, make_step, repeat
from trainbench.training.task import ImageClassification, MaskedLanguageModel, Task

EVALUATION_BATCH = 99


@dataclass
class Parts:
    """What a run has got to know so far; None is not yet."""

    request: Request
    tree: Mapping[str, Any]
    command: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    devices: Devices | None = None
    task: Task | None = None
    config: RunConfig | None = None
    parameters: int | None = None
    state_bytes: int | None = None
    executable: aot.Executable | None = None
    donated: bool | None = None
    window: TimedWindow | None = None
    timing: Timing | None = None
    waits_s: tuple[float, ...] = ()
    losses: tuple[tuple[int, float], ...] = ()
    accuracy: tuple[float, int] | None = None


def run(parts: Parts, progress: ProgressLine) -> None:
    """Carry out the request in `parts` and fill in the rest.

    Raises:
      UserError: the request cannot be met on this device.
      OutOfMemory: the device's memory does not hold it.
      KeyboardInterrupt: stopped by the user; what was measured is in `parts`.
    """
    request = parts.request

    # Device
    progress.phase("starting the device")
    devices = parts.devices = local_devices()
    check_supported(request.precision, devices.platform, devices.chip)
    mesh = parallel.data_mesh(devices.handles)

    # Workload
    task = parts.task = make_task(request)
    config = parts.config = autos.resolve(request, task, devices.platform)
    spec = task.batch_spec(config.batch_size * devices.count)
    optimizer = optimizers.build(request.optimizer, config.batch_size * devices.count)
    build_model = model_builder(request)
    structure = Structure.of(build_model)
    make_state = functools.partial(init, structure, build_model, optimizer, request.seed)
    abstract_state = jax.eval_shape(make_state)
    parts.parameters = parameter_count(abstract_state)
    parts.state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract_state))
    limit = memory_limit_bytes(devices)
    refuse_above(limit, sum(array.nbytes for array in spec.values()) // devices.count, "the batch alone")

    # Executable
    stacked = config.input != "resident" and config.plan.steps_per_call > 1
    batch_sharding = parallel.batch_sharding(mesh, stacked=stacked)
    replicated = parallel.replicated(mesh)
    step = repeat(make_step(task, structure, optimizer), config.plan.steps_per_call, stacked=stacked)
    abstract_batch = {
        name: jax.ShapeDtypeStruct(
            (config.plan.steps_per_call, *array.shape) if stacked else array.shape,
            array.dtype,
            sharding=batch_sharding,
        )
        for name, array in spec.items()
    }
    compile_step = functools.partial(
        aot.compile_function,
        step,
        placed(abstract_state, replicated),
        abstract_batch,
        donate=(0,),
        out_shardings=(replicated, replicated),
        matmul_precision=request.precision.matmul_precision,
        compiler_options=config.compiler_options,
        on_phase=progress.phase,
    )
    executable = parts.executable = interruptible(compile_step)
    if devices.platform == "cpu":
        refuse_above(limit, executable.peak_bytes or 0, "the compiled step")

    # State and input
    progress.phase("initialising parameters")
    make_state_there = jax.jit(
        make_state, out_shardings=replicated, compiler_options=dict(config.compiler_options)
    )
    state: TrainState = interruptible(make_state_there)
    put = functools.partial(jax.device_put, device=batch_sharding)
    feed = open_feed(config, task, spec, put, devices.count)

    # Measurement
    try:
        program = TrainingProgram(executable.call, state, feed, config.plan.steps_per_call)
        del state  # donated by the first call
        progress.phase("first step")
        parts.donated = first_call(program)
        progress.phase("warm-up", timed=True)
        shown = functools.partial(show, progress, task.sample_unit, config.batch_size * devices.count)
        window = parts.window = TimedWindow()
        try:
            parts.timing = measure(program, config.plan, clock=wall_clock, guard=window, progress=shown)
        finally:
            parts.losses = tuple(program.losses())
            parts.waits_s = tuple(program.waits_s)
    finally:
        feed.close()

    # Held-out accuracy
    if config.input == "real" and not parts.timing.interrupted:
        progress.phase("evaluating")
        parts.accuracy = held_out_accuracy(config, task, structure, program.state)


def show(progress: ProgressLine, sample_unit: str, samples_per_step: int, state: Progress) -> None:
    """Tell the user how far the measurement is; called between blocks only."""
    if state.phase == "warm-up":
        progress.update(f"warm-up, step {state.steps_done} · {state.step_time_s:.3g} s a step")
        return
    rate = samples_per_step / state.step_time_s
    progress.update(block_text(state.blocks_done, state.blocks_total, rate, sample_unit))


def make_task(request: Request) -> Task:
    """The task of the requested model on the requested data."""
    model = request.model
    if model.task == "masked_language_model":
        assert model.sequence_length is not None
        return MaskedLanguageModel(model.architecture, model.sequence_length)
    assert model.image_size is not None
    wire = images.wire(request.data, model.image_size, model.architecture.classes)
    if wire.classes > model.architecture.classes:
        raise UserError(
            f"data={request.data} has {wire.classes} classes, model={model.name} only "
            f"{model.architecture.classes}",
            fix=f"model.architecture.classes={wire.classes}",
        )
    dtype = np.dtype(request.precision.compute_dtype)
    return ImageClassification(model.architecture, model.family, model.image_size, dtype, wire)


def model_builder(request: Request) -> Callable[[nnx.Rngs], nnx.Module]:
    """A function from random streams to the requested model."""
    family = models.FAMILIES[request.model.family]
    policy = Policy(request.precision.param_dtype, request.precision.compute_dtype)

    def build(rngs: nnx.Rngs) -> nnx.Module:
        model: nnx.Module = family.Model(request.model.architecture, policy=policy, rngs=rngs)
        return model

    return build


def placed(abstract: Any, sharding: jax.sharding.Sharding) -> Any:
    """The same abstract arrays, each with `sharding`."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract
    )


def refuse_above(limit: int | None, needed: int, what: str) -> None:
    """Stop before an allocation that cannot succeed."""
    if limit is not None and needed > limit:
        raise OutOfMemory(
            f"{what} needs {needed / 2**30:,.1f} GiB per device; {limit / 2**30:,.1f} GiB are available"
        )


def open_feed(
    config: RunConfig,
    task: Task,
    spec: Mapping[str, Any],
    put: Callable[[HostBatch], Mapping[str, jax.Array]],
    device_count: int,
) -> Feed:
    """Where the timed loop gets its batches from."""
    request = config.request
    if config.input == "resident":
        return Resident(put(synthetic.host_batch(spec, request.seed)))
    if config.input == "host":
        source = synthetic.host_batches(spec, request.seed)
    else:
        source = real_batches(request, config.batch_size * device_count)
    if config.plan.steps_per_call > 1:
        source = stack(source, config.plan.steps_per_call)
    return Prefetched(source, put, wall_clock)


def real_batches(request: Request, batch_size: int) -> Iterator[HostBatch]:
    """Training batches of the requested data set."""
    # Imported here: TFDS takes seconds to import and synthetic runs don't need it.
    from trainbench.data import digits

    return digits.batches(data_directory(request), "train", batch_size, request.seed)


def data_directory(request: Request) -> Path:
    """Where TFDS data sets live."""
    return Path(request.data_dir).expanduser() if request.data_dir else aot.cache_directory() / "tfds"


def held_out_accuracy(
    config: RunConfig, task: Task, structure: Structure, state: TrainState
) -> tuple[float, int]:
    """(fraction right, samples) over the test split, in evaluation mode."""
    from trainbench.data import digits

    samples = digits.whole(data_directory(config.request), "test")
    evaluate = jax.jit(make_evaluation(task, structure), compiler_options=dict(config.compiler_options))
    count = len(samples["label"])
    right = 0
    for start in range(0, count, EVALUATION_BATCH):
        batch = {name: array[start : start + EVALUATION_BATCH] for name, array in samples.items()}
        right += int(evaluate(state.params, state.statistics, batch))
    return right / count, count
