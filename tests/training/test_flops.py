"""The analytic FLOP counts against a walk over the programs that really run."""

import jax
import pytest
from flax import nnx

from tests.building import TINY, Workbench, workbench
from trainbench import models
from trainbench.measure.flops import walk

# One of each kind of block. Deeper ones repeat it, and tests/models counts those against published figures.
WALKED = [
    *TINY,
    "resnet18",
    "resnet50",
    "vit_ti16",
    "vit_b16",
    "bert_base",
    "gpt2_124m",
    "llama_1b",
    "t5_small",
]


def sizes(bench):
    model = bench.request.model
    if model.task == "image_classification":
        return {"image_size": model.image_size}
    if model.task == "causal_language_model":
        return {"sequence_length": model.sequence_length}
    if model.task == "span_corruption":
        return {"sequence_length": model.sequence_length, "target_length": bench.task.target_length}
    return {"sequence_length": model.sequence_length, "predictions": bench.task.predictions}


def traced(bench, function):
    return walk(jax.jit(function).trace(bench.abstract_state, bench.abstract_batch).jaxpr)


@pytest.mark.parametrize("model", WALKED)
def test_forward_count_is_within_one_percent_of_the_walk(model):
    bench = workbench(f"model={model}", batch_size=2)
    family = models.FAMILIES[bench.request.model.family]

    def forward(state, batch):
        module = bench.structure.merge(state.params, state.statistics)
        return bench.task.loss(module, batch, nnx.Rngs(0))[0]

    count = traced(bench, forward)
    assert count.complete
    analytic = 2 * family.forward_macs(bench.request.model.architecture, **sizes(bench))
    assert count.total / 2 == pytest.approx(analytic, rel=0.01)


@pytest.mark.parametrize("model", WALKED)
def test_training_count_is_within_one_percent_of_the_walk(model):
    """Backward = 2 x forward, but for the input gradient that the first layer doesn't need."""
    bench = workbench(f"model={model}", batch_size=2)
    family = models.FAMILIES[bench.request.model.family]
    unneeded = 2 * family.first_layer_macs(bench.request.model.architecture, **sizes(bench))
    count = traced(bench, bench.step)
    assert count.complete
    assert count.total / 2 == pytest.approx(bench.task.flops_per_sample() - unneeded, rel=0.01)


@pytest.mark.parametrize(
    ("overrides", "forward_gmacs"),
    [
        # He et al. 2016 (arXiv:1512.03385), table 1, gives 3.8 for v1; torchvision lists 4.09 for v1.5.
        (["model=resnet50"], 4.09),
        # torchvision's model table: 17.56; timm's: 17.58 (attention counted in full).
        (["model=vit_b16"], 17.57),
    ],
)
def test_published_counts(overrides, forward_gmacs):
    task = Workbench(overrides).task
    assert task.flops_per_sample() / 6e9 == pytest.approx(forward_gmacs, rel=0.005)


@pytest.mark.parametrize(("sequence_length", "forward_gmacs"), [(128, 40.1), (512, 170.1)])
def test_bert_large_counts(sequence_length, forward_gmacs):
    """24 blocks of 12 T D^2 + 2 T^2 D and a head over the masked positions, D = 1,024 (arXiv:2104.04473)."""
    task = Workbench(["model=bert_large", f"sequence_length={sequence_length}"]).task
    assert task.flops_per_sample() / 6e9 == pytest.approx(forward_gmacs, rel=0.005)


def test_gpt2_counts():
    """nanoGPT's transformer_sizing.ipynb prints this total of the smallest model at 1024 tokens."""
    assert Workbench(["model=gpt2_124m"]).task.flops_per_sample() == 874_944_921_600


def test_several_steps_in_one_call_count_several_times():
    from trainbench.training.step import repeat

    bench = workbench("model=resnet_tiny", batch_size=2)
    once, thrice = traced(bench, bench.step), traced(bench, repeat(bench.step, 3, stacked=False))
    assert thrice.total == 3 * once.total
