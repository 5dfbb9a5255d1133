import pytest

from tests.building import request
from tests.levers.resnets import assert_same_losses, assert_unproven, step
from trainbench.levers import registry
from trainbench.levers.lever import Situation


@pytest.mark.parametrize(
    ("value", "seen", "missed"),
    [
        ("two_pass", "sums of squares of the compiled step await a mean", "awaits a mean"),
        ("slices", "additions of slices", "adds 0 slices"),
    ],
)
def test_each_way_gives_the_same_losses_is_seen_and_missed_where_it_is_not(value, seen, missed):
    plain, lever = step(), step(f"batch_statistics={value}")
    assert_same_losses(lever, plain)
    assert seen in str(lever.proof("batch_statistics"))
    assert_unproven(lever, plain, "batch_statistics", missed)


def test_a_cpu_has_its_own_ways_by_default_and_an_accelerator_the_compilers():
    def chosen(platform):
        levers, _ = registry.resolve(Situation(request("model=resnet50"), platform))
        return levers.convolution, levers.stem, levers.max_pool, levers.batch_statistics

    assert chosen("cpu") == ("pointwise_dot", "convolution", "slices", "slices")
    assert chosen("gpu") == chosen("tpu") == ("convolution", "convolution", "windows", "one_pass")
