"""The ratio, its interval and the verdict of a race; what remains different."""

import json

import pytest

from tests.results import examples
from tests.results.comparing import changed, loaded, timed
from trainbench.report import race as report
from trainbench.results.compare_pairs import Pair, Side
from trainbench.results.race import standing
from trainbench.results.record import Framework

TORCH = Framework(
    name="torch",
    version="2.13.0",
    models="transformers 5.23.0",
    cuda="13.0",
    cudnn="91300",
    compile="inductor",
    channels_last=True,
    attention="sdpa",
    attention_ran="flash x 12",
    threads=16,
    fused_optimizer=True,
)


def of_rate(rate, number, *, torch=False, **fields):
    """A run at so many images/s, of which the rounds' statistics look at nothing else."""
    base = timed(256 / rate, seed=number, name=f"{'torch' if torch else 'jax'}-{number}", **fields)
    speed = {"samples_per_s": rate, "samples_per_s_ci95": (0.99 * rate, 1.01 * rate)}
    return changed(base, throughput=speed, framework=TORCH if torch else None)


def pair(jax, torch):
    """Rounds of both sides at these rates."""
    theirs = [of_rate(rate, number, torch=True) for number, rate in enumerate(torch)]
    ours = [of_rate(rate, number) for number, rate in enumerate(jax)]
    return Pair(Side(loaded(*theirs)), Side(loaded(*ours)), in_turn=True)


@pytest.mark.parametrize(
    ("jax", "torch", "verdict"),
    [
        ((110, 111, 110.5), (100, 101, 100.5), "faster"),
        ((90, 91, 90.5), (100, 101, 100.5), "slower"),
        ((100, 101, 100.5), (100.1, 101, 100.4), "same"),
        ((80, 130, 100), (100, 101, 99), "unclear"),
    ],
)
def test_a_verdict_needs_a_difference_that_is_sure_and_large_enough(jax, torch, verdict):
    found = standing("resnet50", pair(jax, torch), 0.02)
    assert found.verdict == verdict
    assert found.interval[0] < found.ratio < found.interval[1]


def test_more_models_widen_each_interval():
    few, many = (standing("m", pair((110, 112, 111), (100, 101, 100)), 0.02, models) for models in (1, 8))
    assert many.interval[0] < few.interval[0] < few.interval[1] < many.interval[1]


def test_one_round_is_judged_by_its_blocks_per_sample_though_the_batches_differ():
    half = {"batch_size": 128, "global_batch_size": 128}
    ours = changed(of_rate(200, 1), workload=half)  # steps as long as at 256, of half the samples
    found = standing("m", Pair(Side(loaded(of_rate(100, 2, torch=True))), Side(loaded(ours))), 0.02)
    assert found.ratio == pytest.approx(1.0, rel=0.01)
    assert any(text.startswith("batch: 128 in JAX, 256") for text in found.differences)


def test_a_side_that_broke_is_named_and_nothing_is_claimed():
    sides = Side(loaded(changed(examples.oom(), framework=TORCH))), Side(loaded(of_rate(100, 1)))
    found = standing("m", Pair(*sides), 0.02)
    assert (found.verdict, found.ratio, found.torch.rate) == ("broken", None, None)
    assert "oom" in found.torch.broke
    assert "PyTorch broke: oom" in report.text([found])


@pytest.mark.parametrize("other", [{"chip": "cpu", "device_kind": "cpu"}, {"device_count": 8}])
def test_sides_that_ran_on_other_devices_are_not_compared(other):
    theirs = [changed(of_rate(100, number, torch=True), hardware=other) for number in range(2)]
    ours = [of_rate(110, number) for number in range(2)]
    found = standing("m", Pair(Side(loaded(*theirs)), Side(loaded(*ours)), in_turn=True), 0.02)
    assert (found.verdict, found.ratio) == ("broken", None)
    assert any(text.startswith("DEVICES: ") for text in found.differences)


def test_runs_that_were_not_steady_are_counted():
    theirs = [of_rate(100, 1, torch=True), of_rate(101, 2, torch=True)]
    ours = [of_rate(110, 1), changed(of_rate(111, 2), timing={"steady": False, "steady_reason": "drifts"})]
    found = standing("m", Pair(Side(loaded(*theirs)), Side(loaded(*ours)), in_turn=True), 0.02)
    assert (found.jax.unsteady, found.torch.unsteady) == (1, 0)
    assert "JAX: 1 of its runs not steady" in report.text([found])


def test_kernels_that_could_not_be_seen_are_not_called_plain():
    recorded = TORCH.model_copy(update={"attention_ran": None, "compile": "reduce-overhead"})
    theirs = changed(of_rate(100, 1, torch=True), framework=recorded)
    found = standing("m", Pair(Side(loaded(theirs)), Side(loaded(of_rate(110, 1)))), 0.02)
    assert any("sdpa: not seen" in text for text in found.differences)


def test_what_remains_different_is_said_once_for_all_models():
    both = [standing(name, pair((110, 111), (100, 101)), 0.02) for name in ("one", "two")]
    shown = report.text(both)
    assert shown.count("torch 2.13.0, CUDA 13.0, cuDNN 91300, inductor") == 1
    assert "flash x 12" in shown
    page = report.markdown(both)
    assert page.splitlines()[1].startswith("| ---")
    assert page.count("\n| ") == 3
    heats = json.loads(report.as_json(both))["heats"]
    assert [heat["ratio"] for heat in heats] == [both[0].ratio] * 2
