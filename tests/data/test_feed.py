import itertools
import threading

import numpy as np
import pytest

from trainbench.data.feed import Prefetched, Resident, Stacked


def counted(start=0):
    return ({"x": np.full((2,), number)} for number in itertools.count(start))


def same(batch):
    return batch


def test_resident_returns_its_one_batch_again_and_again():
    batch = {"x": np.ones(2)}
    feed = Resident(batch)
    assert feed.next() is batch
    assert feed.next() is batch


def test_prefetched_keeps_the_order():
    with Prefetched(counted(), same) as feed:
        assert [int(feed.next()["x"][0]) for _ in range(10)] == list(range(10))


def test_prefetched_keeps_only_its_depth_ready():
    put = []
    enough = threading.Event()

    def record(batch):
        put.append(batch)
        if len(put) == 4:  # depth 2 in the queue, and one in hand waiting for room
            enough.set()
        return batch

    with Prefetched(counted(), record, depth=2) as feed:
        assert not enough.wait(0.3)
        assert len(put) == 3
        feed.next()
        assert enough.wait(5)


def test_an_error_of_the_source_reaches_the_loop():
    def broken():
        yield {"x": np.ones(1)}
        raise ValueError("record 7 is damaged")

    with Prefetched(broken(), same) as feed:
        feed.next()
        with pytest.raises(ValueError, match="record 7"):
            feed.next()


def test_the_end_of_the_source_is_an_error_and_no_hang():
    with Prefetched(itertools.islice(counted(), 1), same) as feed:
        feed.next()
        with pytest.raises(RuntimeError, match="input ended"):
            feed.next()


def test_close_stops_the_thread():
    feed = Prefetched(counted(), same)
    feed.next()
    feed.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_stack_adds_a_leading_axis():
    first = next(Stacked(counted(5), 3))
    np.testing.assert_array_equal(first["x"], [[5, 5], [6, 6], [7, 7]])


class Resumable:
    """Counts up, and can go on from any number."""

    def __init__(self):
        self.next_number = 0
        self.closed = False

    def __iter__(self):
        return self

    def __next__(self):
        self.next_number += 1
        return {"x": np.full((2,), self.next_number - 1)}

    def get_state(self):
        return str(self.next_number).encode()

    def close(self):
        self.closed = True


@pytest.mark.parametrize("length", [1, 3])
def test_the_state_is_that_of_the_last_batch_taken_not_of_those_that_lie_ready(length):
    source = Resumable()
    batches = Stacked(source, length) if length > 1 else source
    with Prefetched(batches, same, state_of=source.get_state) as feed:
        assert feed.state() == b"0"
        for _ in range(4):
            feed.next()
        assert feed.state() == str(4 * length).encode()
    assert source.next_number > 4 * length, "more was read ahead"


@pytest.mark.parametrize("length", [1, 3])
def test_close_ends_the_source_too(length):
    source = Resumable()
    feed = Prefetched(Stacked(source, length) if length > 1 else source, same)
    feed.next()
    feed.close()
    assert source.closed


def test_a_source_that_is_slow_does_not_outlive_its_feed():
    """The thread is in the middle of a batch when the feed is closed."""
    begun, stopped = threading.Event(), threading.Event()

    class Slow(Resumable):
        def __next__(self):
            begun.set()
            assert stopped.wait(30)
            raise RuntimeError("closed")

        def close(self):
            stopped.set()

    feed = Prefetched(Slow(), same)
    assert begun.wait(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainbench.data.feed.CLOSE_S", 0.2)
        feed.close()
    assert stopped.is_set()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())


def test_a_source_without_state_has_none():
    with Prefetched(counted(), same) as feed:
        feed.next()
        assert feed.state() is None
