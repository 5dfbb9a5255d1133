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
    host_dispatch_s: float | None  # median per step, of the time spent issuing; None without timed blocks
    interrupted: bool
    outliers: tuple[Outlier, ...]  # stalled (or oddly fast) timed blocks, kept in block_s
    warnings: tuple[str, ...]

    @property
    def step_times_s(self) -> tuple[float, ...]:
        """Time of one optimizer step in each timed block, shape (timed blocks,)."""
        return tuple(block_s / self.steps_per_block for block_s in self.block_s)


@dataclass
class _Tape:
    """Blocks measured so far; outlives an interrupt."""

    warmup_s: list[float] = field(default_factory=list)
    timed_s: list[float] = field(default_factory=list)
    dispatch_s: list[float] = field(default_factory=list)
    warmup: Steadiness = field(
        default_factory=partial(Steadiness, steady=False, reason="no warm-up block was measured")
    )
    interrupted: bool = False


def measure(
    program: Program,
    plan: Plan,
    *,
    clock: Clock = wall_clock,
    guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Callable[[Progress], None] | None = None,
) -> Timing:
    """Times of the blocks of `program`, after a warm-up that ends by criterion.

    Inside a block the calls are issued back to back with one fence at the end, so the device runs ahead of
    the host as in real training; nothing is fetched, printed or computed. Between blocks the device is idle
    (the fence has just returned) and the clock is not running: the next block starts with a fresh reading
    taken after `progress` has returned. The refilling of the queue is therefore part of every block, which
    is the reason to make blocks long.

    `guard` makes a context that is entered around every timed block, outside its clock readings (see
    `guards.TimedWindow`); what it raises ends the measurement. `KeyboardInterrupt` ends it too, but the
    whole blocks measured so far are kept; the device may then still be busy with the last one.

    Raises:
      MeasurementError: when the clock stands still, runs backwards or is not finite over a block.
    """
    tape = _Tape()
    report = progress or _ignore
    try:
        _warm_up(program, plan, clock, report, tape)
        _run_timed_blocks(program, plan, clock, guard, report, tape)
    except KeyboardInterrupt:
        tape.interrupted = True
    return _timing(plan, tape)


def _ignore(progress: Progress) -> None:
    del progress


def _warm_up(
    program: Program, plan: Plan, clock: Clock, report: Callable[[Progress], None], tape: _Tape
) -> None:
    limit_s = math.inf if plan.warmup_limit_s is None else plan.warmup_limit_s
    while len(tape.warmup_s) < plan.warmup_max_blocks and sum(tape.warmup_s) < limit_s:
        block_s, _ = _run_block(program, plan.calls_per_block, clock)
        tape.warmup_s.append(block_s)
        report(_progress("warm-up", plan, tape.warmup_s, plan.warmup_max_blocks))
        tape.warmup = settled(tape.warmup_s, plan.window)
        if tape.warmup.steady and len(tape.warmup_s) >= plan.warmup_min_blocks:
            return


def _run_timed_blocks(
    program: Program,
    plan: Plan,
    clock: Clock,
    guard: Callable[[], AbstractContextManager[object]],
    report: Callable[[Progress], None],
    tape: _Tape,
) -> None:
    while len(tape.timed_s) < plan.blocks:
        with guard():
            block_s, dispatch_s = _run_block(program, plan.calls_per_block, clock)
        tape.timed_s.append(block_s)
        tape.dispatch_s.append(dispatch_s)
        report(_progress("timed", plan, tape.timed_s, plan.blocks))


def _run_block(program: Program, calls: int, clock: Clock) -> tuple[float, float]:
    """Seconds of one block, and the part of it that the host spent issuing."""
    start = clock()
    for _ in range(calls):
        program.issue()
    issued = clock()
    program.fence()
    end = clock()
    if not (start <= issued <= end and start < end < math.inf):
        raise MeasurementError(
            f"the clock read {start!r} s before a block, {issued!r} s after issuing it and {end!r} s after "
            "its fence: time must move forward, so no rate can be given. Is the clock monotonic?"
        )
    return end - start, issued - start


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
    per_block = plan.steps_per_block
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
        host_dispatch_s=float(np.median(tape.dispatch_s)) / per_block if tape.dispatch_s else None,
        interrupted=tape.interrupted,
        outliers=far,
        warnings=_warnings(plan, tape, steadiness, far),
    )


def _warnings(plan: Plan, tape: _Tape, steadiness: Steadiness, far: tuple[Outlier, ...]) -> tuple[str, ...]:
    lines = []
    if tape.interrupted:
        lines.append(f"interrupted: {len(tape.timed_s)} of {plan.blocks} timed blocks were measured")
    if not steadiness.steady:
        lines.append(f"not steady: {steadiness.reason}")
    lines += [
        f"block {one.block} of {len(tape.timed_s)} took {one.ratio:.2f} times the median step time "
        f"({one.step_time_s:.4g} s); it is kept in the statistics"
        for one in far
    ]
    return tuple(lines)
