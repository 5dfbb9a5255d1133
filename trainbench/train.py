"""Training with one compiled step, measured, by any way of feeding."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from trainbench import autos
from trainbench.autos import Auto, RunConfig
from trainbench.data.feed import DeviceBatch
from trainbench.data.source import Source, calls_ahead, open_feed
from trainbench.data.spec import HostBatch
from trainbench.distributed.agreement import agreement
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.team import Alone, Team, largest_of
from trainbench.interruptible import interruptible
from trainbench.measure.blocks import Progress, Timing, measure, time_of_one_call
from trainbench.measure.clock import wall_clock
from trainbench.measure.errors import MeasurementError
from trainbench.measure.guards import TimedWindow
from trainbench.measure.plan import Plan
from trainbench.report.progress import ProgressLine, block_text
from trainbench.training.program import TrainingProgram, first_call
from trainbench.training.state import TrainState


@dataclass(frozen=True)
class Trainer:
    """A compiled step and what it needs to train, by any way of feeding.

    Attributes:
      initialise: makes a new state on the devices.
      put: starts the transfer of a host batch.
      stacked: whether a fed batch holds those of all the steps of a call.
      sample_unit: what a sample is called.
      team: the processes that train together.
      pulse: what tells the others how far this process is; None in a run of one process.
    """

    config: RunConfig
    platform: str
    call: Callable[..., Any]
    initialise: Callable[[], TrainState]
    put: Callable[[HostBatch], DeviceBatch]
    source: Source
    stacked: bool
    sample_unit: str
    progress: ProgressLine
    team: Team = field(default_factory=Alone)
    pulse: Pulse | None = None

    def synthetic(self) -> "Trainer":
        """The same, fed with random values: they cost what real ones cost, and need no reader."""
        return dataclasses.replace(self, source=dataclasses.replace(self.source, real=None))

    def watched(self, program: TrainingProgram) -> AbstractContextManager[None]:
        """In there other processes may see how far `program` is."""
        return nullcontext() if self.pulse is None else self.pulse.of(program)

    def show(self, state: Progress) -> None:
        """Tell the user how far the measurement is; called between blocks only."""
        if state.phase == "warm-up":
            self.progress.update(f"warm-up, step {state.steps_done} · {state.step_time_s:.3g} s a step")
            return
        rate = self.source.batch_size / state.step_time_s
        self.progress.update(block_text(state.blocks_done, state.blocks_total, rate, self.sample_unit))


@dataclass(frozen=True)
class Trained:
    """A program that was measured, and how that went.

    Attributes:
      chosen: what the plan decided by itself.
      losses: (optimizer steps done, loss) at each fence.
      waits_s: seconds that each timed block waited for batches.
    """

    trainer: Trainer
    program: TrainingProgram
    plan: Plan
    chosen: Mapping[str, Auto]
    timing: Timing
    window: TimedWindow
    donated: bool
    losses: tuple[tuple[int, float], ...]
    waits_s: tuple[float, ...]

    def resident(self) -> "Trained":
        """The same, whose program goes on with its last batch alone; this one's must not be used again."""
        return dataclasses.replace(self, program=self.program.resident())


def train(trainer: Trainer, mode: str) -> Trained:
    """Train from new parameters, fed in this way, and measure it."""
    steps_per_call = trainer.config.steps_per_call
    trainer.progress.phase(f"initialising parameters ({mode} input)")
    state = interruptible(trainer.initialise)
    feed = open_feed(trainer.source, mode, steps_per_call, stacked=trainer.stacked, put=trainer.put)
    program = TrainingProgram(trainer.call, state, feed, steps_per_call, watched=trainer.pulse is not None)
    del state  # donated by the first call
    try:
        with trainer.watched(program):
            return _measured(trainer, program, mode)
    finally:
        feed.close()


def _measured(trainer: Trainer, program: TrainingProgram, mode: str) -> Trained:
    trainer.progress.phase("first steps")
    donated = interruptible(functools.partial(first_call, program))
    ahead = calls_ahead(trainer.source, mode, trainer.config.steps_per_call)
    call_s = largest_of(trainer.team, time_of_one_call(program))
    plan, chosen = autos.plan(trainer.config, trainer.platform, call_s, ahead)
    trainer.progress.phase(f"warm-up ({mode} input)", timed=True)
    window, fences = TimedWindow(), len(program.waits_s)
    agree = agreement(trainer.team, trainer.pulse)
    timing = measure(program, plan, clock=wall_clock, guard=window, progress=trainer.show, agree=agree)
    waits = program.waits_s[fences + len(timing.warmup_block_s) :][: len(timing.block_s)]
    losses = tuple(program.losses())
    return Trained(trainer, program, plan, chosen, timing, window, donated, losses, tuple(waits))


def measure_resident(trained: Trained, plan: Plan | None = None) -> Timing:
    """The step of `trained`, which is resident: what it takes when input costs nothing.

    Args:
      plan: how much is measured; None is as little as gives an interval.

    Raises:
      KeyboardInterrupt: stopped by the user.
      MeasurementError: something else than the step ran while it was timed.
    """
    program, trainer, window = trained.program, trained.trainer, TimedWindow()
    agree = agreement(trainer.team, trainer.pulse)
    with trainer.watched(program):
        call_s = largest_of(trainer.team, time_of_one_call(program))
        plan = plan or autos.short_plan(trained.plan, call_s)
        timing = measure(program, plan, clock=wall_clock, guard=window, agree=agree)
    check(timing, window, program.losses(), "resident")
    return timing


def check(timing: Timing, window: TimedWindow, losses: Any, mode: str) -> None:
    """Nothing if a measurement that the run is not about is whole and sound.

    Raises:
      KeyboardInterrupt: the user stopped it.
      MeasurementError: something else than the step ran while it was timed, or the loss was not finite.
    """
    if timing.interrupted:
        raise KeyboardInterrupt
    if timing.error:
        raise MeasurementError(f"{mode} input: {timing.error}")
    if window.compilations:
        raise MeasurementError(f"{mode} input: {window.compilations} compilations inside the timed window")
    if any(not math.isfinite(loss) for _, loss in losses):
        raise MeasurementError(f"{mode} input: the loss was not finite; lower optimizer.learning_rate")
