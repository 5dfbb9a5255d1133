"""One benchmark, in execution order: request -> data -> workload -> executable -> measurement.

`Parts` collects what each stage yields, so that a run which ends early (out of memory, Ctrl-C, a loss that is
not finite) still tells everything it got to know.
"""

import functools
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jax

from trainbench import autos, fits, loader, placement, workload
from trainbench.autos import Auto, RunConfig
from trainbench.checkpoints import opening
from trainbench.checkpoints.session import Session
from trainbench.config import Request
from trainbench.data.settings import SyntheticData
from trainbench.data.source import RealData, Source
from trainbench.data.spec import Share
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.team import Alone, Team, any_of
from trainbench.hardware import machine
from trainbench.interruptible import interruptible
from trainbench.levers import evidence
from trainbench.levers.registry import Use
from trainbench.measure.blocks import Timing
from trainbench.measure.guards import TimedWindow
from trainbench.measure.plan import Plan
from trainbench.measure.trace import Trace, run_calls, trace_steps
from trainbench.report.progress import ProgressLine
from trainbench.results.record import Framework, Process
from trainbench.train import Trainer, check, measure_resident, train
from trainbench.training import compile as aot
from trainbench.training import evaluate, parallel
from trainbench.training.device import Devices, all_devices, memory_limit_bytes
from trainbench.training.precision import check_supported
from trainbench.training.program import TrainingProgram
from trainbench.training.task import Task
from trainbench.workload import Workload

Mode = Literal["resident", "host", "real"]

# Beside the result file.
TRACE_DIRECTORY = "trace"

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

    `directory` is where what the run leaves behind goes, besides its record; None keeps nothing.
    `state_bytes` is of the training state on one device. `levers` are proven in the compiled step.
    `timing` is that of the way of feeding that the run is about; `beside` has those that it is set against,
    `again` is the resident one once more after all others, and `loader` that of the input pipeline without a
    model. `waits_s` has what each timed block of this process waited for batches, and `processes` what is
    known of each process of the `team`, where there are several. `framework` is what ran the step where that
    was not JAX. `first_calls` ran ahead of the warm-up blocks: one to prove the donation, one to size the
    blocks.
    """

    request: Request
    tree: Mapping[str, Any]
    command: str
    directory: Path | None = None
    team: Team = field(default_factory=Alone)
    pulse: Pulse | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    devices: Devices | None = None
    data: RealData | None = None
    task: Task | None = None
    config: RunConfig | None = None
    parameters: int | None = None
    state_bytes: int | None = None
    placed: placement.PlacedStep | None = None
    executable: aot.Executable | None = None
    levers: Mapping[str, Use] = field(default_factory=dict)
    donated: bool | None = None
    window: TimedWindow | None = None
    timing: Timing | None = None
    waits_s: tuple[float, ...] = ()
    processes: tuple[Process, ...] = ()
    beside: dict[Mode, Timing] = field(default_factory=dict)
    again: Timing | None = None
    loader: Timing | None = None
    losses: tuple[tuple[int, float], ...] = ()
    evaluation: evaluate.Evaluation | None = None
    bad_records: Mapping[str, str] = field(default_factory=dict)
    padding_fraction: float | None = None
    trace: Trace | None = None
    checkpoints: Session | None = None
    framework: Framework | None = None
    first_calls: int = 2


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
        work, trainer = build(parts, progress, scratch)
        measure(parts, work, trainer, progress)


def build(parts: Parts, progress: ProgressLine, scratch: Path) -> tuple[Workload, Trainer]:
    """Everything up to the compiled training step, which has not run yet.

    Args:
      scratch: a directory that lasts as long as the data are read.
    """
    request = parts.request

    # Device
    progress.phase("starting the device")
    devices = parts.devices = all_devices()
    check_supported(request.precision, devices)

    # Mesh
    several = jax.process_count() > 1
    axes = parallel.choose(request.parallel, devices.count, use_all=several)
    share = parallel.share(parallel.mesh(devices.handles[: axes.devices], axes), jax.process_index())

    # Data
    if not isinstance(request.data, SyntheticData):
        progress.phase("opening the data set")
        parts.data = interruptible(functools.partial(open_data, request, share, scratch))

    # Workload
    task = parts.task = workload.make_task(request, parts.data.wire if parts.data else None)
    config = parts.config = autos.resolve(
        request,
        task,
        devices.platform,
        devices.count,
        use_all=several,
        compute_capability=devices.compute_capability,
    )
    devices = parts.devices = devices.first(axes.devices)
    if parts.data is not None:
        config = parts.config = config.with_autos(choices_of(parts.data))
    work = workload.build(config, task)
    parts.parameters = work.parameters
    limit = memory_limit_bytes(devices)
    fits.refuse_above(limit, fits.input_bytes(work, config, devices), "the input alone")

    # Checkpoints
    placed = parts.placed = placement.place(work, config, devices)
    parts.state_bytes = placed.state_bytes
    if request.checkpoint.every is not None and (parts.directory is not None or parts.team.index):
        progress.phase("looking for a checkpoint")
        parts.checkpoints = opening.open_session(
            config, parts.tree, placed.state, work.global_batch_size, devices, parts.started, parts.team
        )
        for words in parts.checkpoints.words:
            progress.phase(words)

    # Executable
    executable = parts.executable = interruptible(functools.partial(placed.compile, progress.phase))
    if devices.platform == "cpu":
        fits.refuse_above(limit, executable.peak_bytes or 0, "the compiled step")
    again = functools.partial(placed.without_flags, progress.phase)
    parts.levers = evidence.proven(config, placed.state, devices, executable.text, again)

    return work, Trainer(
        config=config,
        platform=devices.platform,
        call=executable.call,
        initialise=jax.jit(
            work.make_state,
            out_shardings=placed.state_shardings,
            compiler_options=dict(config.compiler_options),
        ),
        put=functools.partial(parallel.put, sharding=placed.batch_sharding, share=share),
        source=Source(parts.data, work.spec, work.global_batch_size, request.seed, share),
        stacked=placed.stacked,
        sample_unit=task.sample_unit,
        progress=progress,
        team=parts.team,
        pulse=parts.pulse,
        checkpoints=parts.checkpoints,
    )


def measure(parts: Parts, work: Workload | None, trainer: Trainer, progress: ProgressLine) -> None:
    """Train, and time it; without `work` nothing is evaluated."""
    assert parts.task is not None
    task, config = parts.task, trainer.config

    # Every way of feeding that was asked for; what follows is about the last
    *others, main = MODES[config.input]
    plans: dict[Mode, Plan] = {}
    for mode in others:
        before = train(trainer.synthetic(), mode)
        parts.beside[mode], plans[mode] = before.timing, before.plan
        check(before.timing, before.window, before.losses, mode)
        del before  # its state takes memory on the devices
    trained = train(trainer, main)
    parts.timing, parts.window, parts.losses = trained.timing, trained.window, trained.losses
    parts.waits_s = trained.waits_s
    parts.donated, parts.config = trained.donated, config.with_autos(trained.chosen)
    if trained.timing.interrupted or trained.timing.error:
        return

    # Held-out data
    batches = None
    if work is not None and parts.data is not None and main == "real":
        batches = parts.data.held_out(evaluate.batch_size(work.global_batch_size))
    if work is not None and batches is not None:
        progress.phase("evaluating")
        parts.evaluation = interruptible(
            functools.partial(
                evaluate.evaluate,
                task,
                work.structure,
                trained.program.state,
                batches,
                parts.request.precision,
                dict(config.compiler_options),
                agree=functools.partial(any_of, parts.team),
            )
        )

    trained = trained.resident()

    # The same step without input, to tell what the input costs; once more, if it was measured before
    if others:
        progress.phase("measuring the step without input again", timed=True)
        parts.again = measure_resident(trained, plans["resident"])
    elif main != "resident":
        progress.phase("measuring the step without input", timed=True)
        parts.beside["resident"] = measure_resident(trained)

    # The input pipeline without the step
    if others:
        progress.phase("measuring the loader alone", timed=True)
        parts.loader = loader.measure_alone(trainer.source)

    # A trace, last of all: nothing that is timed may run under the profiler, or after it
    if parts.request.trace:
        trace(parts, parts.request.trace, trained.program, config.steps_per_call, progress)


def trace(
    parts: Parts, steps: int, program: TrainingProgram, steps_per_call: int, progress: ProgressLine
) -> None:
    """Trace some steps where there is a directory for it; every process of the run takes them."""
    assert parts.executable is not None
    before, several = program.steps, len(parts.team.names) > 1
    if parts.directory:
        progress.phase(f"tracing {steps} steps")
        into = parts.directory / TRACE_DIRECTORY
        parts.trace = trace_steps(program, steps, steps_per_call, into, parts.executable.text)
    # Process 0 cannot take these steps alone; nor the others, where its profiler did not start.
    if several and program.steps == before:
        run_calls(program, steps, steps_per_call)


def open_data(request: Request, share: Share, scratch: Path) -> RealData:
    """The requested data set, opened for this process's share on this machine."""
    # Imported here: TFDS and Grain take seconds to import, and synthetic runs don't need them.
    from trainbench import real_data
    from trainbench.data.pipeline import Shard
    from trainbench.data.reading import Surroundings

    shard = Shard(share.index, share.count)
    cores = machine.host().cores or 1
    return real_data.open_data(request, Surroundings(cores, shard, scratch, aot.cache_directory()))


def choices_of(data: RealData) -> dict[str, Auto]:
    return {name: Auto(value, reason) for name, (value, reason) in data.choices.items()}


def take_note_of_the_data(parts: Parts) -> None:
    """Keep what only the reader knows, however the run ended."""
    if parts.data is not None:
        parts.bad_records = parts.data.bad.seen()
        parts.padding_fraction = parts.data.padding_fraction()
