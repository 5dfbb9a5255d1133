"""One benchmark, in execution order: request -> data -> workload -> executable -> measurement.

`Parts` collects what each stage yields, so that a run which ends early (out of memory, Ctrl-C, a loss that is
not finite) still tells everything it got to know.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jax

from trainbench import autos, fits, loader, workload
from trainbench.autos import Auto, RunConfig
from trainbench.config import Request
from trainbench.data.feed import DeviceBatch, Resident
from trainbench.data.settings import SyntheticData
from trainbench.data.source import RealData, Source, batches_ahead, open_feed
from trainbench.data.spec import HostBatch
from trainbench.hardware import machine
from trainbench.interruptible import interruptible
from trainbench.measure.blocks import Progress, Timing, measure, time_of_one_call
from trainbench.measure.clock import wall_clock
from trainbench.measure.errors import MeasurementError
from trainbench.measure.guards import TimedWindow
from trainbench.measure.plan import Plan
from trainbench.report.progress import ProgressLine, block_text
from trainbench.training import compile as aot
from trainbench.training import evaluate, parallel
from trainbench.training.device import Devices, local_devices, memory_limit_bytes
from trainbench.training.precision import check_supported
from trainbench.training.program import TrainingProgram, first_call
from trainbench.training.state import TrainState, parameter_count
from trainbench.training.step import repeat
from trainbench.training.task import Task

Mode = Literal["resident", "host", "real"]

# Which ways of feeding are measured, the one that the run is about last.
MODES: dict[str, tuple[Mode, ...]] = {
    "resident": ("resident",),
    "host": ("host",),
    "real": ("real",),
    "all": ("resident", "host", "real"),
}


@dataclass
class Parts:
    """What a run has got to know so far; None is not yet.

    `timing` is that of the way of feeding that the run is about; `beside` has those that it is set against,
    `again` is the resident one once more after all others, and `loader` that of the input pipeline without a
    model.
    """

    request: Request
    tree: Mapping[str, Any]
    command: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    devices: Devices | None = None
    data: RealData | None = None
    task: Task | None = None
    config: RunConfig | None = None
    parameters: int | None = None
    state_bytes: int | None = None
    executable: aot.Executable | None = None
    donated: bool | None = None
    window: TimedWindow | None = None
    timing: Timing | None = None
    beside: dict[Mode, Timing] = field(default_factory=dict)
    again: Timing | None = None
    loader: Timing | None = None
    losses: tuple[tuple[int, float], ...] = ()
    evaluation: evaluate.Evaluation | None = None
    bad_records: Mapping[str, str] = field(default_factory=dict)
    padding_fraction: float | None = None


def run(parts: Parts, progress: ProgressLine) -> None:
    """Carry out the request in `parts` and fill in the rest.

    Raises:
      UserError: the request cannot be met on this device, or with this data.
      OutOfMemory: the device's memory does not hold it.
      MeasurementError: the clock, or what happened while timing, makes figures impossible.
      KeyboardInterrupt: stopped by the user outside the main measurement; what was measured is in `parts`.
    """
    with ExitStack() as at_the_end:
        scratch = Path(at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="trainbench-")))
        at_the_end.callback(take_note_of_the_data, parts)
        carry_out(parts, progress, scratch)


def carry_out(parts: Parts, progress: ProgressLine, scratch: Path) -> None:
    """`run`, with a directory of its own for the time that it takes."""
    request = parts.request

    # Device
    progress.phase("starting the device")
    devices = parts.devices = local_devices()
    check_supported(request.precision, devices)
    mesh = parallel.data_mesh(devices.handles)

    # Data
    if not isinstance(request.data, SyntheticData):
        progress.phase("opening the data set")
        parts.data = open_data(request, scratch)

    # Workload
    task = parts.task = workload.make_task(request, parts.data.wire if parts.data else None)
    config = parts.config = autos.resolve(request, task, devices.platform, devices.count)
    if parts.data is not None:
        config = parts.config = config.with_autos(choices_of(parts.data))
    work = workload.build(request, task, config.batch_size * devices.count)
    parts.parameters = parameter_count(work.abstract_state)
    parts.state_bytes = aot.nbytes(work.abstract_state)
    limit = memory_limit_bytes(devices)
    fits.refuse_above(limit, fits.input_bytes(work, config, devices), "the input alone")

    # Executable
    stacked = config.input != "resident" and config.steps_per_call > 1
    batch_sharding = parallel.batch_sharding(mesh, stacked=stacked)
    replicated = parallel.replicated(mesh)
    compile_step = functools.partial(
        aot.compile_function,
        repeat(work.step, config.steps_per_call, stacked=stacked),
        aot.placed(work.abstract_state, replicated),
        aot.abstract_batch(work.spec, batch_sharding, config.steps_per_call if stacked else None),
        donate=(0,),
        out_shardings=(replicated, replicated),
        matmul_precision=request.precision.matmul_precision,
        compiler_options=config.compiler_options,
        on_phase=progress.phase,
    )
    executable = parts.executable = interruptible(compile_step)
    if devices.platform == "cpu":
        fits.refuse_above(limit, executable.peak_bytes or 0, "the compiled step")

    # Measurement of every way of feeding that was asked for; what follows is about the last
    options = dict(config.compiler_options)
    trainer = Trainer(
        call=executable.call,
        initialise=jax.jit(work.make_state, out_shardings=replicated, compiler_options=options),
        put=functools.partial(jax.device_put, device=batch_sharding),
        source=Source(parts.data, work.spec, work.global_batch_size, request.seed),
        stacked=stacked,
    )
    *others, main = MODES[config.input]
    for mode in others:
        parts.beside[mode] = train(parts, trainer.synthetic(), mode, progress).timing
        stop_unless_complete(parts.beside[mode])
    trained = train(parts, trainer, main, progress)
    parts.timing, parts.window, parts.donated = trained.timing, trained.window, trained.donated
    if trained.timing.interrupted or trained.timing.error:
        return

    # Held-out data
    batches = None
    if parts.data is not None and main == "real":
        batches = parts.data.held_out(evaluate.batch_size(work.global_batch_size))
    if batches is not None:
        progress.phase("evaluating")
        parts.evaluation = interruptible(
            functools.partial(
                evaluate.evaluate,
                task,
                work.structure,
                trained.program.state,
                batches,
                request.precision,
                options,
            )
        )

    # The same step without input, to tell what the input costs; once more, if it was measured before
    resident = trained.program.fed_by(Resident(trained.last_batch))
    if others:
        progress.phase("measuring the step without input again", timed=True)
        parts.again = measure(resident, trained.plan, clock=wall_clock)
        stop_unless_complete(parts.again)
    elif main != "resident":
        progress.phase("measuring the step without input", timed=True)
        parts.beside["resident"] = measure(resident, autos.short_plan(trained.plan), clock=wall_clock)
        stop_unless_complete(parts.beside["resident"])

    # The input pipeline without the step
    if others:
        progress.phase("measuring the loader alone", timed=True)
        parts.loader = loader.measure_alone(trainer.source)
        stop_unless_complete(parts.loader)


@dataclass(frozen=True)
class Trainer:
    """A compiled step and what it needs to train, by any way of feeding.

    Attributes:
      initialise: makes a new state on the devices.
      put: starts the transfer of a host batch.
      stacked: whether a fed batch holds those of all the steps of a call.
    """

    call: Callable[..., Any]
    initialise: Callable[[], TrainState]
    put: Callable[[HostBatch], DeviceBatch]
    source: Source
    stacked: bool

    def synthetic(self) -> "Trainer":
        """The same, fed with random values: they cost what real ones cost, and need no reader."""
        return dataclasses.replace(self, source=dataclasses.replace(self.source, real=None))


@dataclass(frozen=True)
class Trained:
    """A program that was measured, and how that went; `last_batch` is one that it might go on with."""

    program: TrainingProgram
    timing: Timing
    window: TimedWindow
    plan: Plan
    donated: bool
    last_batch: DeviceBatch


def train(parts: Parts, trainer: Trainer, mode: Mode, progress: ProgressLine) -> Trained:
    """Train from new parameters, fed in this way, and measure it."""
    config, task, devices = parts.config, parts.task, parts.devices
    assert config is not None
    assert task is not None
    assert devices is not None
    steps_per_call, samples = config.steps_per_call, trainer.source.batch_size
    progress.phase("initialising parameters")
    state = interruptible(trainer.initialise)
    feed = open_feed(trainer.source, mode, steps_per_call, stacked=trainer.stacked, put=trainer.put)
    program = TrainingProgram(trainer.call, state, feed, steps_per_call)
    del state  # donated by the first call
    try:
        progress.phase("first steps")
        donated = interruptible(functools.partial(first_call, program))
        calls_ahead = -(-batches_ahead(trainer.source, mode) // steps_per_call)
        plan, chosen = autos.plan(config, devices.platform, time_of_one_call(program), calls_ahead)
        parts.config = config.with_autos(chosen)
        progress.phase(f"warm-up ({mode} input)", timed=True)
        window = TimedWindow()
        shown = functools.partial(show, progress, task.sample_unit, samples)
        timing = measure(program, plan, clock=wall_clock, guard=window, progress=shown)
        return Trained(program, timing, window, plan, donated, feed.next())
    finally:
        parts.losses = tuple(program.losses())
        feed.close()


def open_data(request: Request, scratch: Path) -> RealData:
    """The requested data set, opened for this process on this machine."""
    # Imported here: TFDS and Grain take seconds to import, and synthetic runs don't need them.
    from trainbench import real_data
    from trainbench.data.pipeline import Shard
    from trainbench.data.reading import Surroundings

    shard = Shard(jax.process_index(), jax.process_count())
    cores = machine.host().cores or 1
    return real_data.open_data(request, Surroundings(cores, shard, scratch, aot.cache_directory()))


def choices_of(data: RealData) -> dict[str, Auto]:
    return {name: Auto(value, reason) for name, (value, reason) in data.choices.items()}


def take_note_of_the_data(parts: Parts) -> None:
    """Keep what only the reader knows, however the run ended."""
    if parts.data is not None:
        parts.bad_records = parts.data.bad.seen()
        parts.padding_fraction = parts.data.padding_fraction()


def stop_unless_complete(timing: Timing) -> None:
    """Nothing if the timing has all its blocks.

    Raises:
      KeyboardInterrupt, MeasurementError: what ended it.
    """
    if timing.interrupted:
        raise KeyboardInterrupt
    if timing.error:
        raise MeasurementError(timing.error)


def show(progress: ProgressLine, sample_unit: str, samples_per_step: int, state: Progress) -> None:
    """Tell the user how far the measurement is; called between blocks only."""
    if state.phase == "warm-up":
        progress.update(f"warm-up, step {state.steps_done} · {state.step_time_s:.3g} s a step")
        return
    rate = samples_per_step / state.step_time_s
    progress.update(block_text(state.blocks_done, state.blocks_total, rate, sample_unit))
