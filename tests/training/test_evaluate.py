import pytest

from tests.building import shallow
from trainbench.data.synthetic import host_batch
from trainbench.measure.selftest import FakeClock
from trainbench.training.evaluate import BATCH, LIMIT_S, batch_size, evaluate


@pytest.fixture(scope="module")
def bench():
    return shallow("resnet_tiny")


def of_batches(bench, batches, clock):
    made = bench.task, bench.structure, bench.first_state
    return evaluate(*made, batches, bench.request.precision, {}, clock)


def test_sums_over_batches_of_different_sizes(bench):
    sizes = (4, 4, 2)
    batches = [host_batch(bench.task.batch_spec(size), seed) for seed, size in enumerate(sizes)]
    whole = of_batches(bench, batches, FakeClock())
    each = [of_batches(bench, [batch], FakeClock()) for batch in batches]
    assert (whole.predictions, whole.complete) == (10, True)
    mean = sum(one.loss * one.predictions for one in each) / 10
    assert whole.loss == pytest.approx(mean, rel=1e-5)
    right = sum(one.accuracy * one.predictions for one in each)
    assert whole.accuracy == pytest.approx(right / 10)


def test_it_stops_when_time_is_up_and_says_so(bench):
    clock = FakeClock()

    def slow():
        for seed in range(10):
            clock.advance(LIMIT_S / 2.5)
            yield host_batch(bench.task.batch_spec(4), seed)

    found = of_batches(bench, slow(), clock)
    assert (found.predictions, found.complete) == (2 * 4, False)


def test_nothing_held_out_gives_nothing(bench):
    assert of_batches(bench, [], FakeClock()) is None


@pytest.mark.parametrize(("training", "evaluation"), [(2, 32), (64, BATCH), (4096, BATCH)])
def test_small_training_batches_mean_small_evaluation_batches(training, evaluation):
    assert batch_size(training) == evaluation
