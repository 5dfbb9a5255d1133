"""What each process says of itself, and which one holds up the others."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from tests.distributed.stores import Memory, each, members
from trainbench.process_section import gathered, stragglers
from trainbench.report import console
from trainbench.results.record import Process
from trainbench.training.program import TrainingProgram


def process(index, *, wait_s=0.0, dispatch_s=0.001, step_s=0.1):
    times = {"step_time_s": step_s, "host_dispatch_s": dispatch_s, "input_wait_s": wait_s}
    return Process(index=index, host=f"node{index}", devices=4, **times)


def test_a_process_that_waits_long_for_its_input_is_named():
    (line,) = stragglers([process(0, wait_s=0.01), process(1, wait_s=0.01), process(2, wait_s=0.05)])
    assert line == "straggler: process 2 (node2) waits 0.05 s a step for its input; the others 0.01 s"


def test_a_process_whose_host_is_slow_is_named():
    (line,) = stragglers([process(0, dispatch_s=0.02), process(1)])
    assert line == "straggler: process 0 (node0) takes 0.02 s to issue a step; the others 0.001 s"


@pytest.mark.parametrize(
    "waits",
    [
        (0.05, 0.05, 0.05),  # all wait alike: the input is slow, and no process
        (0.05, 0.05, 0.09),  # less than twice the others
        (0.0, 0.0, 0.004),  # a twentieth of a step would be 0.005 s
    ],
)
def test_small_differences_name_nobody(waits):
    assert not list(stragglers([process(index, wait_s=wait_s) for index, wait_s in enumerate(waits)]))


def test_what_is_not_known_of_a_process_names_nobody():
    assert not list(stragglers([Process(index=0, host="a", devices=1), process(1, wait_s=1.0)]))
    assert not list(stragglers([]))


class Slow:
    """A feed that takes its time, by the clock that it sets."""

    def __init__(self, wait_s):
        self.now_s, self._wait_s = 0.0, wait_s

    def next(self):
        self.now_s += self._wait_s
        return {}

    def close(self):
        pass


def waits_of(wait_s, blocks=3, calls=2):
    """What a program, fed that slowly, says that each block waited."""
    feed = Slow(wait_s)

    def call(state, batch):
        del batch
        feed.now_s += 0.1
        return state, {"loss": jnp.zeros(())}

    program = TrainingProgram(call, jnp.zeros(()), feed, steps_per_call=2, clock=lambda: feed.now_s)
    for _ in range(blocks):
        for _ in range(calls):
            program.issue()
        program.fence()
    return tuple(program.waits_s)


def test_a_slow_feed_is_seen_in_its_process_alone():
    assert waits_of(0.25) == pytest.approx((0.5, 0.5, 0.5))
    team = members(Memory(), 2)
    timing = SimpleNamespace(
        own_block_s=(0.8, 1.0, 0.9), steps_per_block=4, timed_steps=12, host_dispatch_s=0.01
    )
    parts = [SimpleNamespace(timing=timing, waits_s=waits_of(wait_s)) for wait_s in (0.001, 0.25)]
    first, second = each(2, lambda index: gathered(parts[index], team[index]))
    assert first == second
    assert [one.input_wait_s for one in first] == pytest.approx([0.0005, 0.125])
    assert [one.step_time_s for one in first] == pytest.approx([0.225, 0.225])
    (line,) = stragglers(first)
    assert line.startswith("straggler: process 1 (")


def test_the_longest_wait_is_shown_with_its_process():
    result = SimpleNamespace(processes=[process(0, wait_s=0.001), process(1, wait_s=0.03)])
    (line,) = console._processes(result)
    assert line == "processes    2 on 2 hosts · longest input wait 30.0 ms a step, process 1 (node1)"
    assert console._processes(SimpleNamespace(processes=[])) == []
