import itertools
import threading

import numpy as np
import pytest

from trainbench.data.feed import Prefetched, Resident, stack


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
    first = next(stack(counted(5), 3))
    np.testing.assert_array_equal(first["x"], [[5, 5], [6, 6], [7, 7]])
