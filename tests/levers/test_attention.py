import dataclasses

import pytest

from tests.building import request
from tests.levers.steps import compiled
from trainbench.errors import UserError
from trainbench.levers import attention, registry
from trainbench.levers.lever import NotProven, Situation

HOPPER, AMPERE = ("gpu", 9.0), ("gpu", 8.0)
TPU, CPU = ("tpu", None), ("cpu", None)


def situation(device, *overrides):
    return Situation(request(*overrides), *device)


@pytest.mark.parametrize(
    ("device", "overrides", "value", "why"),
    [
        (CPU, ["model=gpt2_124m"], "xla", "no kernels for a CPU"),
        (HOPPER, ["model=gpt2_124m"], "cudnn", "1,024 tokens"),
        (HOPPER, ["model=gpt2_124m", "precision=fp32"], "xla", "takes 16-bit numbers, no float32"),
        (HOPPER, ["model=bert_base"], "xla", "drops no attention probabilities"),
        (HOPPER, ["model=vit_b16"], "cudnn", "197 tokens"),
        (HOPPER, ["model=gpt2_tiny"], "xla", "64 tokens make few logits"),
        (HOPPER, ["model=t5_base"], "xla", "114 tokens"),
        (TPU, ["model=llama_8b"], "splash", "tokens out of memory"),
        (TPU, ["model=gpt2_124m"], "xla", "1,024 tokens make few logits"),
        (TPU, ["model=t5_base"], "xla", "adds no bias"),
    ],
)
def test_the_default_is_a_kernel_where_there_is_one_that_pays(device, overrides, value, why):
    chosen = registry.resolve(situation(device, *overrides))[1]["attention"]
    assert chosen.value == value
    assert why in chosen.reason


@pytest.mark.parametrize(
    ("device", "overrides", "why", "fix"),
    [
        (CPU, ["model=gpt2_124m", "attention=cudnn"], "needs an NVIDIA GPU", "attention=xla"),
        (("gpu", 7.5), ["model=gpt2_124m", "attention=cudnn"], "needs an NVIDIA GPU", "attention=xla"),
        (HOPPER, ["model=gpt2_124m", "attention=splash"], "needs a TPU", "attention=xla"),
        (TPU, ["model=t5_base", "attention=splash"], "adds no bias", "attention=xla"),
        (
            HOPPER,
            ["model=llama_8b", "attention=cudnn", "precision=fp32"],
            "no float32",
            "attention=cudnn precision=bf16",
        ),
        (
            HOPPER,
            ["model=bert_base", "attention=cudnn"],
            "this model drops 0.1 of them",
            "attention=cudnn model.architecture.dropout_rate=0",
        ),
        (
            AMPERE,
            ["model=llama_8b", "attention=cudnn", "model.architecture.head_width=192"],
            "up to 128 features, by eights; here 192",
            "attention=xla",
        ),
    ],
)
def test_a_kernel_that_cannot_be_had_is_refused_with_what_can(device, overrides, why, fix):
    with pytest.raises(UserError) as error:
        registry.resolve(situation(device, *overrides))
    assert why in error.value.problem
    assert error.value.fix == fix


def test_what_is_offered_in_place_of_a_refused_kernel_is_not_refused():
    offered = ["model=bert_base", "attention=cudnn", "model.architecture.dropout_rate=0"]
    assert registry.resolve(situation(HOPPER, *offered))[0].attention == "cudnn"
    wide = ["model=llama_8b", "attention=cudnn", "model.architecture.head_width=192"]
    assert registry.resolve(situation(HOPPER, *wide))[0].attention == "cudnn"


def test_a_model_without_attention_has_no_such_lever():
    with pytest.raises(UserError, match="attention=cudnn does not apply to model=resnet50"):
        registry.resolve(situation(HOPPER, "model=resnet50", "attention=cudnn"))


@pytest.mark.parametrize("value", ["cudnn", "splash"])
def test_a_step_of_plain_operations_does_not_pass_for_one_with_kernels(value):
    with pytest.raises(NotProven, match=f"attention={value}, yet .* 0 such kernels forward"):
        attention.LEVER.prove(value, compiled("gpt2_tiny").program)


@pytest.mark.parametrize(
    ("value", "calls", "said"),
    [
        (
            "cudnn",
            [("fwd", "__cudnn$fmhaSoftmax"), ("bwd", "__cudnn$fmhaSoftmaxBackward")],
            "1 cudnn kernels forward and 1 backward",
        ),
        (
            "splash",
            [(f"splash_mha_{phase}_residuals.1", "tpu_custom_call") for phase in ("fwd", "dq", "dkv")],
            "1 splash kernels forward and 1 backward",
        ),
    ],
)
def test_kernels_of_both_passes_are_seen_and_one_pass_alone_is_not_enough(value, calls, said):
    asked = compiled("gpt2_tiny").program

    def program(calls):
        lines = "".join(
            f'  %{name} = f32[] custom-call(), custom_call_target="{target}"\n' for name, target in calls
        )
        return dataclasses.replace(asked, text=f"HloModule step\n\nENTRY %main () -> f32[] {{\n{lines}}}\n")

    assert said in attention.LEVER.prove(value, program(calls))
    with pytest.raises(NotProven, match="1 such kernels forward and 0 backward, 1 of each expected"):
        attention.LEVER.prove(value, program(calls[:-1]))
