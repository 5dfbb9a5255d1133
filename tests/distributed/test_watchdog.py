"""Who is gone, and who is behind, from what processes say of themselves."""

import math

import pytest

from tests.distributed.stores import Memory, members
from trainbench.distributed.members import Said
from trainbench.distributed.native import Native
from trainbench.distributed.pulse import Beat, Pulse
from trainbench.distributed.watchdog import Judge, OwnWatchdog, Watchdog

NAMES = ("process 0 (a)", "process 1 (b)", "process 2 (c)")


def beat(number, issued=0, finished=0, *, training=True, phase="warm-up"):
    return Beat(number, phase, training, issued, finished)


def test_a_silent_process_is_named_with_its_last_step():
    judge = Judge(NAMES, timeout_s=10)
    for second in range(20):
        beats = {0: beat(second, second), 1: beat(min(second, 5), min(second, 5), 4), 2: beat(second, second)}
        judge.hear(beats, float(second))
        problem = judge.problem(float(second))
        assert (problem is not None) == (second > 15)
    assert problem.lost == (1,)
    assert problem.reason.startswith(
        "process 1 (b), last heard of at step 5 (4 finished), has been silent for 10 s"
    )


def test_silence_is_too_long_after_a_minute_whatever_the_limit_for_progress():
    judge = Judge(NAMES[:1], timeout_s=1000)
    judge.hear({0: beat(1)}, 0.0)
    assert judge.problem(59.0) is None
    assert judge.problem(61.0) is not None


def test_who_has_issued_the_fewest_steps_is_behind_when_nobody_gets_on():
    judge = Judge(NAMES, timeout_s=10)
    for second in range(12):
        beats = {0: beat(second, 40, 8), 1: beat(second, 8, 8), 2: beat(second, 40, 8)}
        judge.hear(beats, float(second))
    problem = judge.problem(11.0)
    assert problem is not None
    assert problem.lost == ()
    assert (
        "no process has got on for 10 s; process 1 (b), last heard of at step 8 (8 finished), is behind"
        in problem.reason
    )
    assert "timeout_s" in problem.reason


def test_slow_steps_are_progress_however_long_the_block():
    judge = Judge(NAMES[:2], timeout_s=10)
    for second in range(0, 200, 2):
        finished = second // 8
        judge.hear({0: beat(second, 100, finished), 1: beat(second, 100, finished)}, float(second))
        assert judge.problem(float(second)) is None


def test_nobody_is_behind_one_that_still_compiles():
    judge = Judge(NAMES[:2], timeout_s=10)
    for second in range(100):
        compiling = beat(second, training=False, phase="compiling")
        judge.hear({0: compiling, 1: beat(second, 1, 0)}, float(second))
        assert judge.problem(float(second)) is None


def test_nobody_is_lost_who_has_not_begun():
    judge = Judge(NAMES[:2], timeout_s=10)
    for second in range(100):
        judge.hear({0: beat(second, 1, 0)}, float(second))
    assert judge.problem(99.0) is None


def test_without_a_limit_nobody_is_given_up():
    judge = Judge(NAMES[:2], timeout_s=math.inf)
    judge.hear({0: beat(1), 1: beat(1)}, 0.0)
    assert judge.problem(1e9) is None


class Program:
    """One whose device finishes what it is told to."""

    steps = 0
    finished = 0

    def steps_in_flight(self):
        return self.steps - self.finished


def test_a_pulse_counts_the_steps_of_all_programs():
    pulse, program = Pulse(), Program()
    assert pulse.beat().progress == ("starting", False, 0, 0)
    with pulse.of(program):
        program.steps, program.finished = 5, 3
        assert pulse.beat().progress == ("starting", True, 5, 3)
        program.finished = 5
    assert pulse.beat().progress == ("starting", False, 5, 5)
    with pulse.of(program):
        program.steps, program.finished = 7, 6
        assert pulse.beat().progress == ("starting", True, 7, 6)
    assert not pulse.training


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def two():
    """Two processes that look when they are told to, their clock, and the store."""
    store, clock = Memory(), Clock()
    dogs = [Watchdog(member, Pulse(), Native(), 10.0, clock) for member in members(store, 2)]
    return dogs, clock


def test_a_process_that_looks_no_more_is_found_by_the_other(two):
    (first, second), clock = two
    first.look(), second.look()
    for clock.now_s in range(1, 13):
        first.look()
    assert first.check() is not None
    assert first.check().lost == (1,)
    second.look()
    assert second.found == first.found


def test_what_one_process_tells_ends_the_other_but_not_itself(two):
    (first, second), _ = two
    second._members.tell(Said("oom", "process 1: out of memory"))
    first.look(), second.look()
    assert first.check() == Said("oom", "process 1: out of memory", index=1)
    assert second.check() is None


def test_a_store_that_does_not_answer_is_the_loss_of_process_0(two):
    (_, second), clock = two
    second.look()
    clock.now_s = 10.5
    assert second.check() is None
    clock.now_s = 11.5
    assert second.check().lost == (0,)


GONE = (
    "E1123 06:46:48.625381   14634 coordination_service_agent.cc:289] Polled an error\n"
    "F1123 06:46:48.625422   14634 client.h:80] Terminating process because the JAX distributed service "
    "detected fatal errors. {}\n*** Check failure stack trace: ***\n"
)
HEARTBEATS = (
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):\n1\nThe tasks have crashed."
)


@pytest.mark.parametrize(
    ("printed", "lost", "words"),
    [
        (GONE.format("Socket closed"), (0,), "process 0"),
        (GONE.format(HEARTBEATS), (1,), "process 1"),
        (
            "F1123 06:46:48.625422 14634 array.cc:7] Check failed: a == b\n",
            (),
            "array.cc:7] Check failed: a == b",
        ),
        ("", (), "native code gave up: no word why"),
    ],
)
def test_an_abort_of_native_code_is_put_into_words(two, monkeypatch, printed, lost, words):
    (_, second), _ = two
    monkeypatch.setattr(second._native, "text", lambda: printed)
    second._native.aborted.set()
    found = second.check()
    assert found.lost == lost
    assert words in found.reason


def test_a_watchdog_that_fails_ends_the_run_in_place_of_watching_no_more(two, monkeypatch):
    (_, second), _ = two
    monkeypatch.setattr(second, "look", lambda: {}["no such thing"])
    second._go_on()
    assert second.check() is not None
    assert "process 1" in second.check().reason
    assert "the watchdog failed: KeyError" in second.check().reason


def test_a_run_of_one_process_is_given_up_where_no_step_ends():
    clock, pulse = Clock(), Pulse()
    program = Program()
    watchdog = OwnWatchdog(pulse, 60.0, clock)
    with pulse.of(program):
        assert watchdog.check() is None
        program.steps = 3
        clock.now_s = 59.0
        assert watchdog.check() is None
        clock.now_s = 118.0
        assert watchdog.check() is None, "it got on at 59 s"
        clock.now_s = 120.0
        found = watchdog.check()
    assert found.status == "failed"
    assert "60 s" in found.reason
    assert "at step 3" in found.reason
