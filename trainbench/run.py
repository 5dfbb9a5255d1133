"""One benchmark, in execution order: request -> workload -> executable -> measurement.

`Parts` collects what each stage yields, so that a run which ends early (out of memory, Ctrl-C, a loss that is
not finite) still tells everything it got to know.
"""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from trainbench import autos, workload
from trainbench.autos import RunConfig
from trainbench.config import Request
from trainbench.data.feed import Resident
from trainbench.data.source import Source, held_out, open_feed
from trainbench.data.synthetic import POOL
from trainbench.errors import OutOfMemory
from trainbench.interruptible import interruptible
from trainbench.measure.blocks import Progress, Timing, measure
from trainbench.measure.clock import wall_clock
from trainbench.measure.guards import TimedWindow
from trainbench.measure.plan import Plan
from trainbench.report.progress import ProgressLine, block_text
from trainbench.training import compile as aot
from trainbench.training import parallel
from trainbench.training.device import Devices, local_devices, memory_limit_bytes
from trainbench.training.evaluate import held_out_accuracy
from trainbench.training.precision import check_supported
from trainbench.training.program import TrainingProgram, first_call
from trainbench.training.state import parameter_count
from trainbench.training.step import repeat
from trainbench.training.task import Task


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
    plan: Plan | None = None
    window: TimedWindow | None = None
    timing: Timing | None = None
    losses: tuple[tuple[int, float], ...] = ()
    accuracy: tuple[float, int] | None = None
    resident_step_s: float | None = None


def run(parts: Parts, progress: ProgressLine) -> None:
    """Carry out the request in `parts` and fill in the rest.

    Raises:
      UserError: the request cannot be met on this device.
      OutOfMemory: the device's memory does not hold it.
      KeyboardInterrupt: stopped by the user outside the measurement; what was measured is in `parts`.
    """
    request = parts.request

    # Device
    progress.phase("starting the device")
    devices = parts.devices = local_devices()
    check_supported(request.precision, devices)
    mesh = parallel.data_mesh(devices.handles)

    # Workload
    task = parts.task = workload.make_task(request)
    config = parts.config = autos.resolve(request, task, devices.platform, devices.count)
    work = workload.build(request, task, config.batch_size * devices.count)
    parts.parameters = parameter_count(work.abstract_state)
    parts.state_bytes = aot.nbytes(work.abstract_state)
    limit = memory_limit_bytes(devices)
    refuse_above(limit, input_bytes(work, config, devices), "the input alone")

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
        refuse_above(limit, executable.peak_bytes or 0, "the compiled step")

    # State and input
    progress.phase("initialising parameters")
    options = dict(config.compiler_options)
    state = interruptible(jax.jit(work.make_state, out_shardings=replicated, compiler_options=options))
    put = functools.partial(jax.device_put, device=batch_sharding)
    source = Source(request.data, data_directory(request), work.spec, work.global_batch_size, request.seed)
    feed = open_feed(source, config.input, config.steps_per_call, put)

    # Measurement
    program = TrainingProgram(executable.call, state, feed, config.steps_per_call)
    del state  # donated by the first call
    try:
        progress.phase("first steps")
        parts.donated = interruptible(functools.partial(first_call, program))
        plan, chosen = autos.plan(config, devices.platform, time_of_one_call(program))
        parts.plan = plan
        parts.config = config.with_autos(chosen)
        progress.phase("warm-up", timed=True)
        parts.window = TimedWindow()
        shown = functools.partial(show, progress, task.sample_unit, work.global_batch_size)
        parts.timing = measure(program, plan, clock=wall_clock, guard=parts.window, progress=shown)
        last_batch = feed.next()
    finally:
        parts.losses = tuple(program.losses())
        feed.close()
    if parts.timing.interrupted or parts.timing.error:
        return

    # Held-out accuracy
    if config.input == "real":
        progress.phase("evaluating")
        evaluate = functools.partial(
            held_out_accuracy,
            task,
            work.structure,
            program.state,
            held_out(source),
            request.precision,
            options,
        )
        parts.accuracy = interruptible(evaluate)

    # The same step without input, to tell what the input costs
    if config.input != "resident":
        progress.phase("measuring the step without input", timed=True)
        fed = TrainingProgram(executable.call, program.state, Resident(last_batch), config.steps_per_call)
        without_input = measure(fed, autos.short_plan(plan), clock=wall_clock)
        parts.resident_step_s = autos.resident_step_s(without_input)
        if without_input.interrupted:
            raise KeyboardInterrupt


def time_of_one_call(program: TrainingProgram) -> float:
    """Seconds of one fenced call: enough to choose how many calls a block has."""
    started = time.perf_counter()
    program.issue()
    program.fence()
    return time.perf_counter() - started


def show(progress: ProgressLine, sample_unit: str, samples_per_step: int, state: Progress) -> None:
    """Tell the user how far the measurement is; called between blocks only."""
    if state.phase == "warm-up":
        progress.update(f"warm-up, step {state.steps_done} · {state.step_time_s:.3g} s a step")
        return
    rate = samples_per_step / state.step_time_s
    progress.update(block_text(state.blocks_done, state.blocks_total, rate, sample_unit))


def input_bytes(work: workload.Workload, config: RunConfig, devices: Devices) -> int:
    """The least memory, per device, that the input alone takes.

    On a CPU the batches kept on the host come out of the same memory.
    """
    batch = sum(array.nbytes for array in work.spec.values()) // devices.count
    if config.input == "resident":
        return batch
    on_host = POOL if config.input == "host" and devices.platform == "cpu" else 0
    return batch * (config.steps_per_call + on_host)


def refuse_above(limit: int | None, needed: int, what: str) -> None:
    """Stop before an allocation that cannot succeed."""
    if limit is not None and needed > limit:
        raise OutOfMemory(
            f"{what} needs {needed / 2**30:,.1f} GiB per device; {limit / 2**30:,.1f} GiB are available"
        )


def data_directory(request: Request) -> Path:
    """Where TFDS data sets live."""
    return Path(request.data_dir).expanduser() if request.data_dir else aot.cache_directory() / "tfds"
