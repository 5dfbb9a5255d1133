"""Training with one compiled step, measured, by any way of feeding."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trainbench import autos
from trainbench.autos import Auto, RunConfig
from trainbench.checkpoints.session import Session
from trainbench.data.feed import DeviceBatch
from trainbench.data.source import Source, calls_ahead, open_feed
from trainbench.data.spec import HostBatch
from trainbench.interruptible import interruptible
from trainbench.measure.blocks import Progress, Timing, measure, time_of_one_call
from trainbench.measure.clock import wall_clock
from trainbench.measure.errors import MeasurementError
from trainbench.measure.guards import TimedWindow
from trainbench.measure.plan import Plan
from trainbench.processes import interrupts
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
      checkpoints: saves the state on the way, and may have one to go on from; None: neither.
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
    checkpoints: Session | None = None

    def synthetic(self) -> "Trainer":
        """The same, fed with random values: they cost what real ones cost, and need no reader."""
        return dataclasses.replace(self, source=dataclasses.replace(self.source, real=None))

    def show(self, state: Progress) -> None:
        """Tell the user how far the measurement is; called between blocks only."""
        if state.phase == "warm-up":
            self.progress.update(f"warm-up, step {state.steps_done} · {state.step_time_s:.3g} s a step")
            return
        rate = self.source.global_batch_size / state.step_time_s
        self.progress.update(block_text(state.blocks_done, state.blocks_total, rate, self.sample_unit))


@dataclass(frozen=True)
class Trained:
    """A program that was measured, and how that went.

    Attributes:
      chosen: what the plan decided by itself.
      losses: (optimizer steps done, loss) at each fence.
    """

    program: TrainingProgram
    plan: Plan
    chosen: Mapping[str, Auto]
    timing: Timing
    window: TimedWindow
    donated: bool
    losses: tuple[tuple[int, float], ...]

    def resident(self) -> "Trained":
        """The same, whose program goes on with its last batch alone; this one's must not be used again."""
        return dataclasses.replace(self, program=self.program.resident())


def train(trainer: Trainer, mode: str) -> Trained:
    """Train from new parameters, or from a checkpoint, fed in this way, and measure it."""
    with _begun(trainer, mode) as program:
        trainer.progress.phase("first steps")
        ahead = calls_ahead(trainer.source, mode, trainer.config.steps_per_call)
        if trainer.checkpoints is not None:
            return _train_and_save(trainer, trainer.checkpoints, program, mode, ahead)
        donated = interruptible(functools.partial(first_call, program))
        plan, chosen = autos.plan(trainer.config, trainer.platform, time_of_one_call(program), ahead)
        trainer.progress.phase(f"warm-up ({mode} input)", timed=True)
        window = TimedWindow()
        timing = measure(program, plan, clock=wall_clock, guard=window, progress=trainer.show)
        return Trained(program, plan, chosen, timing, window, donated, tuple(program.losses()))


@contextmanager
def _begun(trainer: Trainer, mode: str) -> Iterator[TrainingProgram]:
    """The program of a training that is about to begin, or to go on; its feed ends with the context."""
    session, steps_per_call = trainer.checkpoints, trainer.config.steps_per_call
    before = session.restored if session else None
    state = session.take_state() if session else None
    if state is None:
        trainer.progress.phase(f"initialising parameters ({mode} input)")
        state = interruptible(trainer.initialise)
    feed = open_feed(
        trainer.source,
        mode,
        steps_per_call,
        stacked=trainer.stacked,
        put=trainer.put,
        state=session.input_state() if session else None,
    )
    try:
        yield TrainingProgram(
            trainer.call,
            state,
            feed,
            steps_per_call,
            first_step=before.step if before else 0,
            losses=before.losses if before else (),
        )
    finally:
        feed.close()


def _train_and_save(
    trainer: Trainer, session: Session, program: TrainingProgram, mode: str, ahead: int
) -> Trained:
    """The same as without checkpoints, but for the saves; a wish to stop waits for the end of a block."""
    with interrupts.noted() as wish:
        donated = first_call(program)
        plan, chosen = autos.plan(trainer.config, trainer.platform, time_of_one_call(program), ahead)
        if session.earlier is not None:
            plan, chosen = session.earlier.plan, dict(session.earlier.chosen)
        trainer.progress.phase("saving the first checkpoint")
        saver = session.watch(program, plan, chosen, ahead, wish)

        def show(state: Progress) -> None:
            trainer.show(state)
            if state.phase == "warm-up":
                saver.heed()

        trainer.progress.phase(f"warm-up ({mode} input)", timed=True)
        window = TimedWindow()
        timing = measure(
            program,
            plan,
            clock=wall_clock,
            guard=window,
            progress=show,
            between=saver.between,
            earlier=session.earlier.measured if session.earlier else None,
        )
        if wish.said:
            timing = dataclasses.replace(timing, interrupted=True)
        if timing.interrupted:
            trainer.progress.phase("saving a checkpoint")
            session.stop(wish)
        return Trained(program, plan, chosen, timing, window, donated, tuple(program.losses()))


def measure_resident(trained: Trained, plan: Plan | None = None) -> Timing:
    """The step of `trained`, which is resident: what it takes when input costs nothing.

    Args:
      plan: how much is measured; None is as little as gives an interval.

    Raises:
      KeyboardInterrupt: stopped by the user.
      MeasurementError: something else than the step ran while it was timed.
    """
    program, window = trained.program, TimedWindow()
    plan = plan or autos.short_plan(trained.plan, time_of_one_call(program))
    timing = measure(program, plan, clock=wall_clock, guard=window)
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
