"""Compiled training steps send what theory expects, and where they don't it is known by how much."""

import pytest

from tests.building import SHALLOW, TINY
from tests.compiled import steps
from trainbench.forecast import targets
from trainbench.forecast.compiler import compilers

# The loss, and batch statistics, which are no sizes of parameters.
MARGIN = 0.02
FIXED = ("precision=fp32", "optimizer=sgd", "batch_size=4")
# Two language models predict with the table that they look tokens up in; T5 looks up in one for both sides.
TIED = {"bert_tiny": "embeddings/token", "gpt2_tiny": "token", "t5_tiny": "token"}
# What T5 adds to the float32 logits of 4 heads, for each pair of 64 tokens read and of 14 written: its
# gradient is summed over devices before it is gathered into 32 ranges of distance.
POSITIONS = {"t5_tiny": 4 * 4 * (64**2 + 14**2)}
RING = 2 * 7 / 8
VIT = SHALLOW["vit_tiny"]
LAYERS_SPLIT = ("parallel=tensor", "model.architecture.heads=8")
# Elements of what goes from block to block: the samples of all devices, tokens, width.
ACTIVATIONS = {"vit_tiny": 32 * 65 * 64, "gpt2_tiny": 32 * 64 * 128}
# Each is compiled for seconds; Llama sends as GPT-2 does.
SENDING = [model for model in TINY if model != "llama_tiny"]
CASES = {
    **{f"data {model}": (*SHALLOW[model], *FIXED) for model in SENDING},
    **{f"fsdp {model}": (*SHALLOW[model], *FIXED, "parallel=fsdp") for model in SENDING},
    "accumulated": (*VIT, *FIXED, "gradient_accumulation=2"),
    "groups, three steps in a call": (*VIT, *FIXED, "parallel=data_fsdp", "steps_per_call=3"),
    "bf16": (*VIT, *FIXED[1:], "precision=bf16"),
    **{f"tensor {model}": (*SHALLOW[model], *FIXED, *LAYERS_SPLIT) for model in ("vit_tiny", "gpt2_tiny")},
}
TPU_CASES = {
    "data fp32": (*VIT, *FIXED),
    "data bf16": (*VIT, *FIXED[1:], "precision=bf16"),
    "data accumulated": (*VIT, *FIXED[1:], "precision=bf16", "gradient_accumulation=2"),
    "groups": (*VIT, *FIXED, "parallel=data_fsdp"),
    "fsdp": (*VIT, *FIXED, "parallel=fsdp"),
    "tensor": (*VIT, *FIXED, *LAYERS_SPLIT),
}


@pytest.fixture(scope="module")
def on_cpu():
    return dict(zip(CASES, steps.compiled("cpu", list(CASES.values())), strict=True))


def tied_again(case, model):
    """What the table of a language model sends when the gradient of each of its two uses is reduced."""
    once_more = case["parameters"][TIED[model]] if model in TIED else 0
    return RING * (once_more + POSITIONS.get(model, 0))


@pytest.mark.parametrize("model", SENDING)
def test_data_parallel_steps_send_each_gradient_nearly_twice(on_cpu, model):
    case = on_cpu[f"data {model}"]
    gradients = RING * sum(case["parameters"].values())
    assert sum(case["expected"].values()) == pytest.approx(gradients, rel=1e-9)
    assert case["sent"] == {"all-reduce": pytest.approx(gradients + tied_again(case, model), rel=MARGIN)}
    assert (case["groups"], case["unknown"]) == ([8], [])


@pytest.mark.parametrize("model", SENDING)
def test_split_steps_gather_parameters_and_a_cpu_reduces_whole_gradients(on_cpu, model):
    """XLA:CPU gathers once, or twice where a convolution needs it again, and cuts what it reduced whole."""
    case = on_cpu[f"fsdp {model}"]
    once = case["expected"]["all-gather"] / 2
    gathered = case["sent"]["all-gather"]
    assert gathered == pytest.approx(2 * once if model == "resnet_tiny" else once, rel=0.1)
    assert "reduce-scatter" not in case["sent"]
    whole = RING * sum(case["parameters"].values()) + tied_again(case, model)
    # The look-ups of these go to their table by other ways than a reduction, in part.
    margin = 0.2 if model in ("bert_tiny", "t5_tiny") else MARGIN
    assert case["sent"]["all-reduce"] == pytest.approx(whole, rel=margin)


@pytest.mark.parametrize(("model", "outside"), [("vit_tiny", 0), ("gpt2_tiny", 2)])
def test_split_layers_reduce_activations_and_move_nothing_else(on_cpu, model, outside):
    """Two forward in a block, and four backward, where XLA:CPU adds up those of query, key and value late.

    Outside of blocks the look-up of tokens and the gradient of the logits, which are never gathered.
    """
    case = on_cpu[f"tensor {model}"]
    assert case["expected"] is None
    each = RING * 4 * ACTIVATIONS[model]
    assert case["sent"] == {"all-reduce": pytest.approx((2 + 4 + outside) * each, rel=MARGIN)}


def test_a_cpu_reduces_once_for_each_micro_batch(on_cpu):
    case = on_cpu["accumulated"]
    assert case["sent"]["all-reduce"] == pytest.approx(2 * case["expected"]["all-reduce"], rel=MARGIN)


def test_groups_of_devices_gather_among_themselves_in_each_of_several_steps(on_cpu):
    case = on_cpu["groups, three steps in a call"]
    assert case["groups"] == [2, 4, 8]
    assert case["sent"]["all-gather"] == pytest.approx(case["expected"]["all-gather"] / 2, rel=MARGIN)
    assert sum(case["sent"].values()) == pytest.approx(sum(case["expected"].values()), rel=MARGIN)


def test_a_cpu_sends_16_bits_as_32(on_cpu):
    assert on_cpu["bf16"]["sent"] == on_cpu["data vit_tiny"]["sent"]
    assert on_cpu["bf16"]["expected"] == on_cpu["data vit_tiny"]["expected"]


@pytest.mark.forecast
def test_a_tpus_steps_send_what_is_expected():
    """Of 8 chips: in 16 bits where the arithmetic is, sums over micro-batches once and in 32."""
    made = steps.compiled("v6e:2x4", list(TPU_CASES.values()), **steps.TPUS)
    found = dict(zip(TPU_CASES, made, strict=True))
    for name in ("data fp32", "data bf16", "data accumulated", "groups"):
        case = found[name]
        assert sum(case["sent"].values()) == pytest.approx(sum(case["expected"].values()), rel=0.05), name
    assert found["data accumulated"]["sent"]["all-reduce"] == pytest.approx(
        found["data fp32"]["sent"]["all-reduce"], rel=MARGIN
    )
    assert found["tensor"]["sent"] == {
        "all-reduce": pytest.approx(4 * RING * 4 * ACTIVATIONS["vit_tiny"], rel=MARGIN)
    }
    split = found["fsdp"]
    assert split["sent"]["reduce-scatter"] > 0
    assert 1 <= split["sent"]["all-gather"] / (split["expected"]["all-gather"] / 2) <= 2.1


@pytest.mark.forecast
@pytest.mark.skipif(
    compilers.missing(targets.find("h100-8")) is not None, reason="the extra forecast-gpu is not installed"
)
def test_a_gpus_steps_send_what_is_expected_and_gather_once():
    """Of 8 GPUs: small steps keep what they have gathered for the backward pass, and reduce in parts."""
    made = steps.compiled("h100-8", list(TPU_CASES.values()), **compilers.ENVIRONMENT["gpu"])
    found = dict(zip(TPU_CASES, made, strict=True))
    for name in ("data fp32", "data bf16", "data accumulated"):
        case = found[name]
        assert sum(case["sent"].values()) == pytest.approx(sum(case["expected"].values()), rel=0.05), name
    split = found["fsdp"]
    assert split["sent"]["all-gather"] == pytest.approx(split["expected"]["all-gather"] / 2, rel=MARGIN)
    assert split["sent"]["reduce-scatter"] == pytest.approx(split["expected"]["reduce-scatter"], rel=MARGIN)
