"""The measurement against fake steps of known duration."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from trainbench.measure.blocks import Progress, Timing, measure
from trainbench.measure.errors import MeasurementError
from trainbench.measure.pauses import Agree, Agreed
from trainbench.measure.plan import Plan
from trainbench.measure.selftest import FakeClock, FakeProgram
from trainbench.measure.statistics import summarise, throughput

PLAN = Plan(calls=40, calls_per_block=2, warmup_min_calls=0, warmup_max_calls=40, window=4)


def fake(
    call_times_s: Sequence[float],
    *,
    plan: Plan = PLAN,
    dispatch_s: float = 0.0,
    interrupt_at_call: int | None = None,
    queue_limit: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    agree: Agree = Agreed,
) -> tuple[Timing, FakeProgram]:
    """The timing of scripted calls, and the program that ran them."""
    clock = FakeClock()
    program = FakeProgram(clock, call_times_s, dispatch_s, interrupt_at_call, queue_limit)
    return measure(program, plan, clock=clock, progress=progress, agree=agree), program


def after_warmup(timed: Sequence[float], plan: Plan = PLAN) -> list[float]:
    """A script whose warm-up is perfect and takes exactly the shortest time the plan allows."""
    return [timed[0]] * (plan.warmup_min_blocks * plan.calls_per_block) + list(timed)


def noise(count: int, seed: int = 0, cv: float = 0.01) -> np.ndarray:
    return 1 + cv * np.random.default_rng(seed).standard_normal(count)


@pytest.mark.parametrize("samples_per_step", [1, 32, 256])
@pytest.mark.parametrize("calls", [20, 40, 140])
def test_a_100_ms_step_reports_batch_over_100_ms_however_many_steps_are_timed(calls, samples_per_step):
    timing, _ = fake([0.1], plan=replace(PLAN, calls=calls))
    rate = throughput(samples_per_step, summarise(timing.step_times_s))
    assert rate.samples_per_s == pytest.approx(samples_per_step / 0.1)
    assert rate.ci95 == pytest.approx((samples_per_step / 0.1, samples_per_step / 0.1))
    assert timing.steady
    assert timing.warnings == ()


def test_slow_first_steps_stay_out_of_the_result():
    # The first steps of a real log (JAX-Toolbox baseline), then the steady time.
    script = [2.0, 0.311, 0.212, 0.161, 0.1525, 0.1537, *[0.153] * 100]
    timing, _ = fake(script, plan=replace(PLAN, calls_per_block=1))
    assert max(timing.step_times_s) < 0.154
    assert timing.warmup_block_s[0] == pytest.approx(2.0)
    assert timing.steady


def test_warmup_lasts_as_long_as_it_takes():
    short, _ = fake([0.1])
    long, _ = fake([*np.linspace(0.3, 0.1, 20), 0.1])
    assert short.warmup_steps == 8
    assert long.warmup_steps > 20
    assert long.steady


def test_warmup_makes_at_least_the_calls_asked_for():
    timing, _ = fake([0.1], plan=replace(PLAN, warmup_min_calls=31))
    assert timing.warmup_steps == 32


def test_a_series_that_never_settles_says_so():
    timing, _ = fake([0.1 * 1.03**call for call in range(200)])
    assert timing.warmup_steps == PLAN.warmup_max_calls
    assert not timing.steady
    assert "never settled" in timing.steady_reason
    assert any("not steady" in line for line in timing.warnings)


def test_warmup_stops_at_its_time_limit_and_says_that_it_never_settled():
    # Five blocks take 5.3 s, the sixth passes the limit.
    script = [1.03**call for call in range(200)]
    timing, _ = fake(script, plan=replace(PLAN, calls_per_block=1, warmup_limit_s=5.5))
    assert timing.warmup_steps == 6
    assert not timing.steady
    assert "never settled: step time moved by" in timing.steady_reason


@pytest.mark.parametrize(("min_calls", "blocks"), [(0, 4), (11, 6)])
def test_the_time_limit_leaves_the_warmup_blocks_that_the_criterion_needs(min_calls, blocks):
    timing, _ = fake([60.0], plan=replace(PLAN, warmup_min_calls=min_calls, warmup_limit_s=1.0))
    assert len(timing.warmup_block_s) == blocks
    assert timing.steady


def test_past_its_time_limit_the_warmup_ends_with_its_least_number_of_blocks():
    script = [1.1**call for call in range(200)]
    timing, _ = fake(script, plan=replace(PLAN, warmup_limit_s=0.5))
    assert len(timing.warmup_block_s) == PLAN.warmup_min_blocks
    assert not timing.steady


def test_a_drift_is_reported():
    timing, _ = fake(after_warmup(np.linspace(0.1, 0.11, 40)))
    assert not timing.steady
    assert "drifted by +9" in timing.steady_reason
    assert summarise(timing.step_times_s).drift_fraction == pytest.approx(0.09, abs=0.01)


def test_two_levels_are_reported():
    fast = np.random.default_rng(3).random(20) < 0.5
    timing, _ = fake(after_warmup(np.repeat(np.where(fast, 0.1, 0.12) * noise(20), 2)))
    assert not timing.steady
    assert "two levels" in timing.steady_reason
    assert "near 0.1" in timing.steady_reason
    assert summarise(timing.step_times_s).bimodal


def test_a_stall_is_reported_and_does_not_move_the_median():
    calm = 0.1 * noise(40)
    stalled = calm.copy()
    stalled[20] += 1.0
    before, _ = fake(after_warmup(calm))
    after, _ = fake(after_warmup(stalled))
    assert after.steady
    assert [one.block for one in after.outliers] == [10]
    assert after.outliers[0].ratio == pytest.approx(6, rel=0.05)
    assert after.warnings[0].startswith("block 10 of 20 took 6.0")
    medians = [summarise(timing.step_times_s).median for timing in (before, after)]
    assert medians[0] == pytest.approx(medians[1], rel=0.005)
    assert summarise(after.step_times_s).ci95[1] < 0.102


def test_an_interrupted_run_keeps_the_whole_blocks_it_measured():
    # 8 calls of warm-up, then 7 whole blocks and half of the eighth.
    timing, _ = fake([0.1], interrupt_at_call=8 + 15)
    assert timing.interrupted
    assert timing.timed_steps == 14
    assert timing.block_s == pytest.approx([0.2] * 7)
    assert "7 of 20 timed blocks" in timing.warnings[0]


def test_an_interrupt_between_blocks_ends_the_measurement_too():
    def stop(progress: Progress) -> None:
        if progress.phase == "timed" and progress.blocks_done == 3:
            raise KeyboardInterrupt

    timing, _ = fake([0.1], progress=stop)
    assert timing.interrupted
    assert timing.timed_steps == 6


def test_an_interrupt_in_warmup_leaves_no_timed_blocks():
    timing, _ = fake([0.1], interrupt_at_call=3)
    assert timing.interrupted
    assert (timing.warmup_steps, timing.timed_steps) == (2, 0)
    assert timing.host_dispatch_s is None
    assert not timing.steady
    assert "no timed block" in timing.steady_reason


def test_dispatch_time_is_recorded_per_step_and_hidden_behind_the_device():
    timing, _ = fake([0.4], dispatch_s=0.01, plan=replace(PLAN, steps_per_call=4))
    assert timing.host_dispatch_s == pytest.approx(0.01 / 4)
    # Two calls of 0.4 s behind one dispatch; the second dispatch costs nothing.
    assert timing.step_times_s == pytest.approx([0.81 / 8] * 20)


def test_a_slow_host_shows_in_the_step_time():
    timing, _ = fake([0.01], dispatch_s=0.1)
    assert timing.host_dispatch_s == pytest.approx(0.1)
    assert timing.step_times_s[0] == pytest.approx(0.105)


@pytest.mark.parametrize("queue_limit", [1, 2, 32])
def test_waiting_for_room_in_a_full_queue_is_no_dispatch_time(queue_limit):
    plan = replace(PLAN, calls=400, calls_per_block=40, warmup_max_calls=400)
    timing, program = fake([0.1], dispatch_s=0.001, queue_limit=queue_limit, plan=plan)
    assert timing.host_dispatch_s == pytest.approx(0.001)
    # The queue does push back: the last call of a block is issued only `queue_limit` calls before its end.
    before_s = program.clock.now_s
    for _ in range(plan.calls_per_block):
        program.issue()
    issuing_s = program.clock.now_s - before_s
    assert issuing_s == pytest.approx(0.1 * (plan.calls_per_block - queue_limit), abs=0.05)


def test_one_slow_dispatch_does_not_move_the_dispatch_time():
    class Hiccup(FakeProgram):
        def issue(self) -> None:
            if self.issued == 20:
                self.clock.advance(1.0)
            super().issue()

    clock = FakeClock()
    timing = measure(Hiccup(clock, [0.4], dispatch_s=0.01), PLAN, clock=clock)
    assert max(timing.block_s) > 1.0
    assert timing.host_dispatch_s == pytest.approx(0.01)


def test_the_clock_is_read_three_times_a_block():
    timing, program = fake([0.1], plan=replace(PLAN, calls_per_block=4))
    assert program.clock.readings == 3 * (len(timing.warmup_block_s) + len(timing.block_s))


def test_each_block_has_one_fence_at_its_end():
    plan = replace(PLAN, calls=12, calls_per_block=3, warmup_max_calls=12)
    _, program = fake([0.1], plan=plan)
    assert program.events == ["issue", "issue", "issue", "fence"] * (4 + 4)


def test_progress_comes_between_blocks_with_the_device_idle_and_the_clock_stopped():
    seen: list[Progress] = []
    clock = FakeClock()
    program = FakeProgram(clock, [0.1])

    def slow_progress(progress: Progress) -> None:
        assert program.events[-1] == "fence"
        assert program.issued % PLAN.calls_per_block == 0
        seen.append(progress)
        clock.advance(5.0)

    timing = measure(program, PLAN, clock=clock, progress=slow_progress)
    assert timing.block_s == pytest.approx([0.2] * 20)
    assert [one.blocks_done for one in seen] == [*range(1, 5), *range(1, 21)]
    assert seen[-1] == Progress("timed", 20, 20, 40, 40, pytest.approx(0.1))


def test_the_guard_surrounds_each_timed_block_and_nothing_else():
    clock = FakeClock()
    program = FakeProgram(clock, [0.1])

    @contextmanager
    def guard() -> Iterator[None]:
        clock.advance(3.0)
        program.events.append("in")
        yield
        program.events.append("out")
        clock.advance(3.0)

    timing = measure(program, replace(PLAN, calls=4), clock=clock, guard=guard)
    assert program.events == ["issue", "issue", "fence"] * 4 + ["in", "issue", "issue", "fence", "out"] * 2
    assert timing.block_s == pytest.approx([0.2, 0.2])


class FailingGuard:
    """A guard whose block number `at` (from 0) ends in `error`."""

    def __init__(self, at: int, error: Exception) -> None:
        self.blocks_left, self.error = at, error

    @contextmanager
    def __call__(self) -> Iterator[None]:
        yield
        if not self.blocks_left:
            raise self.error
        self.blocks_left -= 1


def test_what_the_guard_raises_ends_the_measurement_and_keeps_the_whole_blocks_before():
    clock = FakeClock()
    program = FakeProgram(clock, [0.1], dispatch_s=0.01)
    timing = measure(program, PLAN, clock=clock, guard=FailingGuard(7, MeasurementError("a transfer")))
    assert timing.error == "a transfer"
    assert not timing.interrupted
    assert timing.timed_steps == 14
    assert timing.block_s == pytest.approx([0.21] * 7)
    assert timing.host_dispatch_s == pytest.approx(0.01)
    assert timing.warnings[0] == "stopped by an error: 7 of 20 timed blocks were measured"
    assert program.issued == 8 + 16


def test_a_guard_that_raises_in_the_first_block_leaves_the_warmup():
    clock = FakeClock()
    guard = FailingGuard(0, MeasurementError("a transfer"))
    timing = measure(FakeProgram(clock, [0.1]), PLAN, clock=clock, guard=guard)
    assert (timing.error, timing.block_s, timing.host_dispatch_s) == ("a transfer", (), None)
    assert timing.warmup_steps == 8
    assert not timing.steady


def test_an_undisturbed_measurement_has_no_error():
    timing, _ = fake([0.1])
    assert timing.error is None


def test_other_errors_of_a_guarded_block_pass_through():
    clock = FakeClock()
    with pytest.raises(ZeroDivisionError):
        measure(FakeProgram(clock, [0.1]), PLAN, clock=clock, guard=FailingGuard(7, ZeroDivisionError()))


def test_several_steps_in_a_call_are_counted_as_steps():
    timing, _ = fake([0.8], plan=replace(PLAN, steps_per_call=8))
    assert timing.timed_steps == 40 * 8
    assert timing.warmup_steps == 8 * 8
    assert timing.steps_per_block == 16
    assert throughput(32, summarise(timing.step_times_s)).samples_per_s == pytest.approx(320)


@pytest.mark.parametrize("jump_s", [-1.0, -0.25, float("nan"), float("inf")])
@pytest.mark.parametrize("at_call", [2, 14], ids=["warm-up", "timed"])
def test_a_clock_that_does_not_move_forward_is_refused(jump_s, at_call):
    class Jumping(FakeProgram):
        def fence(self) -> None:
            super().fence()
            if self.issued == at_call:
                self.clock.advance(jump_s)

    clock = FakeClock()
    with pytest.raises(MeasurementError, match="time must move forward"):
        measure(Jumping(clock, [0.1]), PLAN, clock=clock)


def test_a_step_that_takes_no_time_is_refused():
    with pytest.raises(MeasurementError, match="no rate can be given"):
        fake([0.0])


def test_few_timed_blocks_are_not_called_steady():
    timing, _ = fake([3.0], plan=replace(PLAN, calls=5, calls_per_block=1))
    assert not timing.steady
    assert "5 timed blocks are too few" in timing.steady_reason


def test_what_processes_agree_on_decides_and_their_own_times_are_kept():
    timing, _ = fake([0.1], agree=lambda block_s: Agreed(2 * block_s))
    assert timing.block_s == pytest.approx([2 * own_s for own_s in timing.own_block_s])
    assert timing.step_times_s[0] == pytest.approx(0.2)
    alone, _ = fake([0.1])
    assert alone.own_block_s == alone.block_s


def test_a_slow_process_prolongs_the_warm_up_of_all():
    slowness = iter([*np.linspace(3, 1, 20), *[1.0] * 1000])
    timing, _ = fake([0.1], agree=lambda block_s: Agreed(block_s * next(slowness)))
    short, _ = fake([0.1])
    assert timing.warmup_steps > short.warmup_steps


@pytest.mark.parametrize("blocks", [1, 7])
def test_a_common_wish_to_stop_keeps_the_block_that_all_have_finished(blocks):
    short, _ = fake([0.1])
    before = len(short.warmup_block_s)
    asked = iter(range(1, 1000))
    timing, program = fake([0.1], agree=lambda block_s: Agreed(block_s, stop=next(asked) == before + blocks))
    assert timing.interrupted
    assert len(timing.block_s) == blocks
    assert program.issued == (before + blocks) * PLAN.calls_per_block
