"""Transfers that take turns."""

from hypothesis import given
from hypothesis import strategies as st

from trainbench.forecast.timing.channel import Channel


def test_what_the_core_leaves_over_is_not_waited_for():
    channel = Channel()
    channel.start("a", 3.0)
    channel.spare(2.0)
    assert channel.wait("a") == 1.0
    assert channel.wait("a") == 0.0


def test_transfers_take_turns():
    channel = Channel()
    channel.start("a", 2.0)
    channel.start("b", 2.0)
    channel.spare(3.0)
    assert channel.wait("a") == 0.0
    assert channel.wait("b") == 1.0


def test_to_wait_for_a_later_one_is_to_wait_for_all_before_it():
    channel = Channel()
    for name in "abc":
        channel.start(name, 1.0)
    assert channel.wait("b") == 2.0
    assert channel.wait("a") == 0.0
    assert channel.wait("c") == 1.0


def test_what_needs_no_time_waits_for_nobody():
    channel = Channel()
    channel.start("a", 2.0)
    channel.start("b", 0.0)
    assert channel.wait("b") == 0.0
    assert channel.wait("a") == 2.0


def test_time_that_nothing_waits_for_is_lost():
    channel = Channel()
    channel.spare(10.0)
    channel.start("a", 1.0)
    channel.spare(-5.0)
    assert channel.wait("a") == 1.0


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9))))
def test_no_transfer_is_shorter_than_what_was_spared_and_waited(pairs):
    channel, started, given_up = Channel(), 0.0, 0.0
    for number, (seconds, spare) in enumerate(pairs):
        channel.start(str(number), seconds)
        channel.spare(spare)
        started, given_up = started + seconds, given_up + spare
    waited = sum(channel.wait(str(number)) for number in range(len(pairs)))
    assert started - given_up - 1e-6 <= waited <= started + 1e-6
