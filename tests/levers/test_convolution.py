import dataclasses

import pytest

from tests.levers.resnets import assert_same_losses, assert_unproven, step
from trainbench.levers.lever import NotProven
from trainbench.models.convolutions import POINTWISE_DOT


def test_products_give_the_same_losses_are_seen_and_missed_where_they_are_not():
    plain, lever = step(), step("convolution=pointwise_dot")
    assert_same_losses(lever, plain)
    assert "for 1 1x1 kernels" in str(lever.proof("convolution"))
    assert_unproven(lever, plain, "convolution", "has 0 products for 1 1x1 kernels")
    assert lever.executable.flops.total == plain.executable.flops.total


def test_products_are_kept_where_only_they_are_to_be():
    kept = step("convolution=pointwise_dot", "remat=dots")
    assert kept.executable.flops.total == step("convolution=pointwise_dot").executable.flops.total


def test_two_products_may_be_merged_by_the_compiler_for_gpus_and_no_more():
    lever = step("convolution=pointwise_dot")
    kernel = next(leaf for leaf in lever.program.state.params.values() if leaf.shape[:2] == (1, 1))
    state = lever.program.state._replace(params={"conv1": kernel, "shortcut": kernel})

    def proof(products, platform):
        line = 'dot(%x, %x), metadata={op_name="jit(step)/' + POINTWISE_DOT + '/dot_general"}\n'
        lines = "".join(f"  %p{number} = f32[4,4] {line}" for number in range(products))
        text = f"HloModule step\n\nENTRY %main () -> f32[] {{\n  %x = f32[4,4] parameter(0)\n{lines}}}\n"
        situation = dataclasses.replace(lever.program.situation, platform=platform)
        program = dataclasses.replace(lever.program, text=text, state=state, situation=situation)
        return dataclasses.replace(lever, program=program).proof("convolution")

    assert "4 products" in str(proof(4, "gpu"))
    for products, platform in ((3, "gpu"), (5, "cpu")):
        with pytest.raises(NotProven):
            proof(products, platform)
