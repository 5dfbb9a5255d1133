import dataclasses
import functools

import pytest

from tests.building import SHALLOW, request
from tests.levers import steps
from trainbench.errors import UserError
from trainbench.levers import evidence, fp8
from trainbench.levers.lever import NotProven
from trainbench.training.device import all_devices


@functools.cache
def compiled(precision):
    return steps._compiled((*SHALLOW["gpt2_tiny"], f"precision={precision}"), 20)


def test_the_losses_stay_within_one_percent_of_those_of_bfloat16():
    bf16, in_8_bits = compiled("bf16"), compiled("fp8")
    assert in_8_bits.losses == pytest.approx(bf16.losses, rel=0.01)
    assert in_8_bits.losses != bf16.losses
    assert in_8_bits.losses[-1] < 0.6 * in_8_bits.losses[0]


def test_a_cpu_shows_the_rounding_and_a_step_without_it_proves_nothing():
    step = compiled("fp8")
    found = evidence.proven(step.config, step.program.state, all_devices(), step.executable.text)
    assert "a CPU imitates fp8" in str(found["precision"].proof)
    with pytest.raises(NotProven, match="rounds nothing to 8 bits"):
        fp8.prove(compiled("bf16").program)
    assert "precision" not in evidence.proven(
        compiled("bf16").config, step.program.state, all_devices(), step.executable.text
    )


def test_on_an_accelerator_every_dense_layer_has_three_products_in_8_bits():
    step = compiled("fp8").program
    situation = dataclasses.replace(step.situation, platform="gpu")

    def program(products):
        lines = "".join(
            f"  %p{number} = bf16[4,4] dot(%x, %y), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}\n"
            for number in range(products)
        )
        text = (
            "HloModule step\n\nENTRY %main () -> f32[] {\n"
            f"  %x = f8e4m3fn[4,4] parameter(0)\n  %y = f8e5m2[4,4] parameter(1)\n{lines}}}\n"
        )
        return dataclasses.replace(step, text=text, situation=situation)

    # Query, key, value, out; up and down.
    assert fp8.prove(program(3 * 6)) == "18 products of 8-bit floats in the compiled step"
    with pytest.raises(NotProven, match="17 products of 18 are in 8 bits"):
        fp8.prove(program(3 * 6 - 1))


def test_a_model_of_convolutions_is_refused():
    with pytest.raises(UserError, match="model=resnet50 has convolutions"):
        request("model=resnet50", "precision=fp8")
