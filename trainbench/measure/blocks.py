"""Warm-up and timed blocks: the one place where a step is timed."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

import numpy as np

from trainbench.measure.clock import Clock, wall_clock
from trainbench.measure.errors import MeasurementError
from trainbench.measure.pauses import Agree, Agreed, Between, Measured, nothing
from trainbench.measure.plan import Plan
from trainbench.measure.series import Outlier, as_series, outliers
from trainbench.measure.steady import Steadiness, held_still, settled, verdict

Phase = Literal["warm-up", "timed"]


class Program(Protocol):
    """What is measured: something that can be issued and waited for."""

    def issue(self) -> None:
        """Dispatches one device call and returns; may block on its input, never on its output."""
        ...

    def fence(self) -> None:
        """Returns when everything issued has finished, by waiting for the step's own outputs."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far the measurement has come, given between blocks."""

    phase: Phase
    blocks_done: int
    blocks_total: int  # in warm-up an upper bound
    steps_done: int  # optimizer steps in this phase
    steps_total: int
    step_time_s: float  # of the block just ended


@dataclass(frozen=True)
class Timing:
    """What was measured. All times are seconds, all counts are optimizer steps unless named otherwise."""

    warmup_steps: int
    timed_steps: int
    steps_per_block: int
    block_s: tuple[float, ...]  # shape (timed blocks,)
    warmup_block_s: tuple[float, ...]  # shape (warm-up blocks,)
    steady: bool
    steady_reason: str
    # Host time of issuing one step to an idle device: the first call of each timed block, median over blocks.
    # A wait of that call for its input is in it. None without timed blocks.
    host_dispatch_s: float | None
    interrupted: bool
    outliers: tuple[Outlier, ...]  # stalled (or oddly fast) timed blocks, kept in block_s
    warnings: tuple[str, ...]
    # Why the measurement was stopped and is not valid; the blocks are those measured before. None is valid.
    error: str | None = None
    own_block_s: tuple[float, ...] = ()  # block_s by this process's clock alone, less `earlier` ones

    @property
    def step_times_s(self) -> tuple[float, ...]:
        """Time of one optimizer step in each timed block, shape (timed blocks,)."""
        return tuple(block_s / self.steps_per_block for block_s in self.block_s)


@dataclass(frozen=True)
class _Readings:
    """What the clock said over one block."""

    start_s: float
    first_issued_s: float
    end_s: float

    @property
    def block_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def first_issue_s(self) -> float:
        return self.first_issued_s - self.start_s


@dataclass
class _Tape:
    """Blocks measured so far; outlives an interrupt and an error of the guard."""

    warmup_s: list[float] = field(default_factory=list)
    timed_s: list[float] = field(default_factory=list)
    own_s: list[float] = field(default_factory=list)
    first_issue_s: list[float] = field(default_factory=list)  # one device call of each timed block
    warmup: Steadiness = field(
        default_factory=partial(Steadiness, steady=False, reason="no warm-up block was measured")
    )
    interrupted: bool = False
    error: str | None = None

    def so_far(self) -> Measured:
        return Measured(tuple(self.timed_s), tuple(self.first_issue_s), self.warmup)


def measure(
    program: Program,
    plan: Plan,
    *,
    clock: Clock = wall_clock,
    guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Callable[[Progress], None] | None = None,
    agree: Agree = Agreed,
    between: Between | None = None,
    earlier: Measured | None = None,
) -> Timing:
    """Times of the blocks of `program`, after a warm-up that ends by criterion.

    Inside a block the calls are issued back to back with one fence at the end, so the device runs ahead of
    the host as in real training; nothing is fetched, printed or computed. Between blocks the device is idle
    (the fence has just returned) and the clock is not running: the next block starts with a fresh reading
    taken after `progress` has returned. The refilling of the queue is therefore part of every block, which
    is the reason to make blocks long.

    `host_dispatch_s` comes from the first call of each block. Later calls may find the queue of the runtime
    full and then wait for the device, which would make a device-bound run look host-bound.

    `guard` makes a context that is entered around every timed block, outside its clock readings (see
    `guards.TimedWindow`). A `MeasurementError` inside it ends the measurement: its text becomes
    `Timing.error`, its block is dropped and the whole blocks before it are kept, since the guard found
    nothing in them. `KeyboardInterrupt` ends the measurement too and keeps the whole blocks. In both cases
    the device may still be busy with the last block. Any other exception passes through.

    `agree` is asked after each block, with the clock not running. Everything that is decided here rests on
    its answers, so processes that agree take the same decisions; a wish to stop ends the measurement as
    `KeyboardInterrupt` does.
    `between` may run further blocks, which the clock times and the result does not hold. `earlier` are blocks
    of the same plan that need not be measured again: they come first in the result, after a new warm-up.

    Raises:
      MeasurementError: when the clock stands still, runs backwards or is not finite over a block. Nothing is
        kept then, because every block was timed with that clock.
    """
    earlier = earlier or Measured()
    tape = _Tape(timed_s=list(earlier.block_s), first_issue_s=list(earlier.first_issue_s))
    report = progress or _ignore
    try:
        _warm_up(program, plan, clock, report, agree, tape)
        if earlier.block_s and not earlier.warmup.steady:
            tape.warmup = earlier.warmup
        _run_timed_blocks(program, plan, clock, guard, report, agree, tape, between or nothing)
    except KeyboardInterrupt:
        tape.interrupted = True
    return _timing(plan, tape)


def time_of_one_call(program: Program, clock: Clock = wall_clock) -> float:
    """Seconds of one fenced call: enough to choose how many calls a block has."""
    started = clock()
    program.issue()
    program.fence()
    return clock() - started


def _ignore(progress: Progress) -> None:
    del progress


def _warm_up(
    program: Program,
    plan: Plan,
    clock: Clock,
    report: Callable[[Progress], None],
    agree: Agree,
    tape: _Tape,
) -> None:
    limit_s = math.inf if plan.warmup_limit_s is None else plan.warmup_limit_s
    while len(tape.warmup_s) < plan.warmup_max_blocks:
        if len(tape.warmup_s) >= plan.warmup_min_blocks and sum(tape.warmup_s) >= limit_s:
            return
        readings = _run_block(program, plan.calls_per_block, clock)
        _check_clock(readings)
        agreed = agree(readings.block_s)
        tape.warmup_s.append(agreed.block_s)
        report(_progress("warm-up", plan, tape.warmup_s, plan.warmup_max_blocks))
        _stop_if_wished(agreed)
        tape.warmup = settled(tape.warmup_s, plan.window)
        if tape.warmup.steady and len(tape.warmup_s) >= plan.warmup_min_blocks:
            return


def _run_timed_blocks(
    program: Program,
    plan: Plan,
    clock: Clock,
    guard: Callable[[], AbstractContextManager[object]],
    report: Callable[[Progress], None],
    agree: Agree,
    tape: _Tape,
    between: Between,
) -> None:
    def run_block() -> float:
        readings = _run_block(program, plan.calls_per_block, clock)
        _check_clock(readings)
        return readings.block_s

    while len(tape.timed_s) < plan.blocks:
        try:
            with guard():
                readings = _run_block(program, plan.calls_per_block, clock)
        except MeasurementError as error:
            tape.error = str(error)
            return
        # After the guard, so that an error of the clock is not taken for one of the guard.
        _check_clock(readings)
        agreed = agree(readings.block_s)
        tape.timed_s.append(agreed.block_s)
        tape.own_s.append(readings.block_s)
        tape.first_issue_s.append(readings.first_issue_s)
        report(_progress("timed", plan, tape.timed_s, plan.blocks))
        between(tape.so_far(), run_block)
        _stop_if_wished(agreed)


def _stop_if_wished(agreed: Agreed) -> None:
    if agreed.stop:
        raise KeyboardInterrupt


def _run_block(program: Program, calls: int, clock: Clock) -> _Readings:
    start_s = clock()
    program.issue()
    first_issued_s = clock()
    for _ in range(calls - 1):
        program.issue()
    program.fence()
    return _Readings(start_s, first_issued_s, clock())


def _check_clock(readings: _Readings) -> None:
    start, issued, end = readings.start_s, readings.first_issued_s, readings.end_s
    if not (start <= issued <= end and start < end < math.inf):
        raise MeasurementError(
            f"the clock read {start!r} s before a block, {issued!r} s after issuing its first call and "
            f"{end!r} s after its fence: time must move forward, so no rate can be given. "
            "Is the clock monotonic?"
        )


def _progress(phase: Phase, plan: Plan, block_s: list[float], total: int) -> Progress:
    return Progress(
        phase=phase,
        blocks_done=len(block_s),
        blocks_total=total,
        steps_done=len(block_s) * plan.steps_per_block,
        steps_total=total * plan.steps_per_block,
        step_time_s=block_s[-1] / plan.steps_per_block,
    )


def _timing(plan: Plan, tape: _Tape) -> Timing:
    per_block, issues_s = plan.steps_per_block, tape.first_issue_s
    steps_s = np.asarray(tape.timed_s) / per_block
    timed = held_still(steps_s) if tape.timed_s else Steadiness(False, "no timed block was measured")
    steadiness = verdict(tape.warmup, timed)
    far = outliers(as_series(steps_s)) if tape.timed_s else ()
    return Timing(
        warmup_steps=len(tape.warmup_s) * per_block,
        timed_steps=len(tape.timed_s) * per_block,
        steps_per_block=per_block,
        block_s=tuple(tape.timed_s),
        warmup_block_s=tuple(tape.warmup_s),
        steady=steadiness.steady,
        steady_reason=steadiness.reason,
        host_dispatch_s=float(np.median(issues_s)) / plan.steps_per_call if issues_s else None,
        interrupted=tape.interrupted,
        outliers=far,
        warnings=_warnings(plan, tape, steadiness, far),
        error=tape.error,
        own_block_s=tuple(tape.own_s),
    )


def _warnings(plan: Plan, tape: _Tape, steadiness: Steadiness, far: tuple[Outlier, ...]) -> tuple[str, ...]:
    lines = []
    if tape.interrupted or tape.error is not None:
        why = "interrupted" if tape.interrupted else "stopped by an error"
        lines.append(f"{why}: {len(tape.timed_s)} of {plan.blocks} timed blocks were measured")
    if not steadiness.steady:
        lines.append(f"not steady: {steadiness.reason}")
    lines += [
        f"block {one.block} of {len(tape.timed_s)} took {one.ratio:.2f} times the median step time "
        f"({one.step_time_s:.4g} s); it is kept in the statistics"
        for one in far
    ]
    return tuple(lines)
