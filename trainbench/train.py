"""Training with one compiled step, measured, by any way of feeding."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from trainbench import autos
from trainbench.autos import Auto, RunConfig
from trainbench.checkpoints.session import Session
from trainbench.data.feed import DeviceBatch
from trainbench.data.source import Source, calls_ahead, open_feed
from trainbench.data.spec import HostBatch
from trainbench.distributed.agreement import agreed_to_stop, agreement
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.team import Alone, Team, largest_of
from trainbench.interruptible import interruptible
from trainbench.measure.blocks import Progress, Timing, measure, time_of_one_call
from trainbench.measure.clock import wall_clock
from trainbench.measure.errors import MeasurementError
from trainbench.measure.guards import TimedWindow
from trainbench.measure.pauses import Between, Measured
from trainbench.measure.plan import Plan
from trainbench.processes import interrupts
from trainbench.processes.interrupts import Wish
from trainbench.report.progress import ProgressLine, block_text
from trainbench.training.program import TrainingProgram, first_call


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
      checkpoints: saves the state on the way, and may have one to go on from; None: neither.
      program: what issues the calls and waits for them.
      window: makes the guard of the timed blocks.
      aside: runs what takes long in native code, so that a wish to stop is heeded.
    """

    config: RunConfig
    platform: str
    call: Callable[..., Any]
    initialise: Callable[[], Any]
    put: Callable[[HostBatch], DeviceBatch]
    source: Source
    stacked: bool
    sample_unit: str
    progress: ProgressLine
    team: Team = field(default_factory=Alone)
    pulse: Pulse | None = None
    checkpoints: Session | None = None
    program: Callable[..., TrainingProgram] = TrainingProgram
    window: Callable[[], TimedWindow] = TimedWindow
    aside: Callable[[Callable[[], Any]], Any] = interruptible

    def synthetic(self) -> "Trainer":
        """The same, fed with random values: they cost what real ones cost, and need no reader."""
        return dataclasses.replace(self, source=dataclasses.replace(self.source, real=None))

    def watched(self, program: TrainingProgram) -> AbstractContextManager[None]:
        """In there other processes may see how far `program` is."""
        return nullcontext() if self.pulse is None else self.pulse.of(program)

    def noting_wishes(self) -> AbstractContextManager[Wish]:
        """In there a wish to stop is only noted, so that the state can be saved first."""
        return interrupts.noted() if self.pulse is None else nullcontext(self.pulse)

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
      waits_s: seconds that each timed block of this process waited for batches.
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
    """Train from new parameters, or from a checkpoint, fed in this way, and measure it."""
    with _begun(trainer, mode) as program:
        if trainer.checkpoints is None:
            return _train(trainer, program, mode)
        with trainer.noting_wishes() as wish:
            return _train_and_save(trainer, trainer.checkpoints, wish, program, mode)


@contextmanager
def _begun(trainer: Trainer, mode: str) -> Iterator[TrainingProgram]:
    """The program of a training that is about to begin, or to go on; its feed ends with the context."""
    session, steps_per_call = trainer.checkpoints, trainer.config.steps_per_call
    before = session.restored if session else None
    state = session.take_state() if session else None
    if state is None:
        trainer.progress.phase(f"initialising parameters ({mode} input)")
        state = trainer.aside(trainer.initialise)
    feed = open_feed(
        trainer.source,
        mode,
        steps_per_call,
        stacked=trainer.stacked,
        put=trainer.put,
        state=session.input_state() if session else None,
    )
    try:
        yield trainer.program(
            trainer.call,
            state,
            feed,
            steps_per_call,
            first_step=before.step if before else 0,
            losses=before.losses if before else (),
            watched=trainer.pulse is not None,
        )
    finally:
        feed.close()


def _train(trainer: Trainer, program: TrainingProgram, mode: str) -> Trained:
    trainer.progress.phase("first steps")
    with trainer.watched(program):
        donated = trainer.aside(functools.partial(first_call, program))
        plan, chosen = _plan(trainer, program, mode)
    return _timed(trainer, program, mode, plan, chosen, donated, trainer.show)


def _train_and_save(
    trainer: Trainer, session: Session, wish: Wish, program: TrainingProgram, mode: str
) -> Trained:
    """The same as without checkpoints, but for the saves; a wish to stop waits for the end of a block."""
    trainer.progress.phase("first steps")
    with trainer.watched(program):
        donated = first_call(program)
        plan, chosen = _plan(trainer, program, mode)
    if session.earlier is not None:
        plan, chosen = session.earlier.plan, dict(session.earlier.chosen)
    trainer.progress.phase("saving the first checkpoint")
    ahead = calls_ahead(trainer.source, mode, trainer.config.steps_per_call)
    saver = session.watch(program, plan, chosen, ahead, wish)

    def show(state: Progress) -> None:
        trainer.show(state)
        if state.phase == "warm-up":
            saver.heed()

    earlier = session.earlier.measured if session.earlier else None
    trained = _timed(trainer, program, mode, plan, chosen, donated, show, saver.between, earlier)
    # An error of the guard is one process's own: the others still agree on the block, and hear of it later.
    if trained.timing.error is None and agreed_to_stop(trainer.team, wish):
        trained = dataclasses.replace(trained, timing=dataclasses.replace(trained.timing, interrupted=True))
    if trained.timing.interrupted:
        trainer.progress.phase("saving a checkpoint")
        session.stop(wish)
    return trained


def _plan(trainer: Trainer, program: TrainingProgram, mode: str) -> tuple[Plan, dict[str, Auto]]:
    """How the steps are cut into blocks, by the time of one call; the same in every process."""
    ahead = calls_ahead(trainer.source, mode, trainer.config.steps_per_call)
    call_s = largest_of(trainer.team, time_of_one_call(program))
    return autos.plan(trainer.config, trainer.platform, call_s, ahead)


def _timed(
    trainer: Trainer,
    program: TrainingProgram,
    mode: str,
    plan: Plan,
    chosen: Mapping[str, Auto],
    donated: bool,
    show: Callable[[Progress], None],
    between: Between | None = None,
    earlier: Measured | None = None,
) -> Trained:
    """Warm-up and timed blocks; `between` and `earlier` as `measure` has them."""
    trainer.progress.phase(f"warm-up ({mode} input)", timed=True)
    window, waits_s = trainer.window(), list[float]()

    def noted(state: Progress) -> None:
        # What runs between timed blocks waits too, and is in no result.
        if state.phase == "timed":
            waits_s.append(program.waits_s[-1])
        show(state)

    with trainer.watched(program):
        timing = measure(
            program,
            plan,
            clock=wall_clock,
            guard=window,
            progress=noted,
            agree=agreement(trainer.team, trainer.pulse),
            between=between,
            earlier=earlier,
        )
    return Trained(
        trainer=trainer,
        program=program,
        plan=plan,
        chosen=chosen,
        timing=timing,
        window=window,
        donated=donated,
        losses=tuple(program.losses()),
        waits_s=tuple(waits_s),
    )


def measure_resident(trained: Trained, plan: Plan | None = None) -> Timing:
    """The step of `trained`, which is resident: what it takes when input costs nothing.

    Args:
      plan: how much is measured; None is as little as gives an interval.

    Raises:
      KeyboardInterrupt: stopped by the user.
      MeasurementError: something else than the step ran while it was timed.
    """
    program, trainer = trained.program, trained.trainer
    window = trainer.window()
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
