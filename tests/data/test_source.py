import itertools

import numpy as np
import pytest

from tests.building import Workbench
from trainbench.data.feed import DEPTH, Prefetched, Resident
from trainbench.data.source import Source, calls_ahead, open_feed

SPEC = Workbench(["model=resnet_tiny"], batch_size=2).spec


class Pipeline:
    """Real data of which only the order matters: batch n is filled with n."""

    batches_ahead = 5

    def batches(self, batch_size, seed):
        return ({"image": np.full((batch_size,), number)} for number in itertools.count(seed))


def same(batch):
    return batch


def fed(mode, real=None, steps_per_call=1, stacked=False):
    source = Source(real, SPEC, global_batch_size=2, seed=10)
    feed = open_feed(source, mode, steps_per_call, stacked=stacked, put=same)
    taken = [feed.next() for _ in range(20)]
    feed.close()
    return feed, taken


def test_resident_input_is_one_batch_of_the_data():
    feed, taken = fed("resident", Pipeline())
    assert isinstance(feed, Resident)
    assert {int(batch["image"][0]) for batch in taken} == {10}


def test_host_input_goes_round_a_pool_of_the_data():
    feed, taken = fed("host", Pipeline())
    assert isinstance(feed, Prefetched)
    numbers = [int(batch["image"][0]) for batch in taken]
    assert numbers == [10 + index % 8 for index in range(20)]


def test_real_input_never_comes_back():
    _, taken = fed("real", Pipeline())
    assert [int(batch["image"][0]) for batch in taken] == list(range(10, 30))


@pytest.mark.parametrize("mode", ["resident", "host"])
def test_synthetic_batches_have_the_shapes_of_the_task(mode):
    _, taken = fed(mode)
    assert taken[0]["image"].shape == SPEC["image"].shape


@pytest.mark.parametrize("mode", ["resident", "host", "real"])
def test_several_steps_in_a_call_get_a_batch_each(mode):
    _, taken = fed(mode, Pipeline(), steps_per_call=3, stacked=True)
    assert taken[0]["image"].shape == (3, 2)
    if mode == "real":
        assert taken[1]["image"][:, 0].tolist() == [13, 14, 15]


def test_what_lies_ready_at_the_start_is_known():
    source = Source(Pipeline(), SPEC, global_batch_size=2, seed=0)
    assert calls_ahead(source, "resident", 1) == 0
    assert calls_ahead(source, "host", 1) > DEPTH
    assert calls_ahead(source, "real", 1) == calls_ahead(source, "host", 1) + 5
    assert calls_ahead(source, "host", 10) == calls_ahead(source, "host", 1), "the feed keeps whole calls"
    assert calls_ahead(source, "real", 10) == calls_ahead(source, "host", 10) + 1
