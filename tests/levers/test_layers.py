import dataclasses

import pytest

from tests.building import request
from tests.levers.steps import compiled
from trainbench.errors import UserError
from trainbench.levers import layers, registry
from trainbench.levers.lever import NotProven, Situation

TWO_BLOCKS = ("model.architecture.depth=2", "model.architecture.dropout_rate=0")


def test_the_losses_are_those_of_blocks_that_are_written_out():
    plain, loop = (compiled("gpt2_tiny", *TWO_BLOCKS, f"layers={value}") for value in layers.LEVER.values)
    assert loop.losses == pytest.approx(plain.losses, rel=1e-6)
    assert loop.executable.flops == plain.executable.flops
    assert loop.proof("layers") == "2 loops over 2 blocks in the compiled step"
    with pytest.raises(NotProven, match="0 loops of 2 blocks are in the compiled step, 2 expected"):
        dataclasses.replace(loop, program=plain.program).proof("layers")


def test_another_loop_of_the_same_length_is_no_loop_over_blocks():
    loop = compiled("gpt2_tiny", *TWO_BLOCKS, "layers=scanned")
    asked = request("model=gpt2_tiny", *TWO_BLOCKS, "steps_per_call=2")
    program = dataclasses.replace(loop.program, situation=Situation(asked, "cpu"))
    with pytest.raises(NotProven, match="1 loops of 2 blocks"):
        layers.LEVER.prove("scanned", program)


def test_depth_decides_where_nothing_is_asked_for():
    def chosen(model):
        return registry.resolve(Situation(request(f"model={model}"), "tpu"))[1]["layers"]

    assert chosen("gpt2_1558m").value == "unrolled"
    assert chosen("gpt3_175b").value == "scanned"
    assert "96 blocks" in chosen("gpt3_175b").reason


@pytest.mark.parametrize("overrides", [["model=resnet50"], ["model=bert_tiny", "model.architecture.depth=1"]])
def test_what_has_no_like_blocks_has_no_loop_over_them(overrides):
    with pytest.raises(UserError, match="layers=scanned does not apply"):
        registry.resolve(Situation(request(*overrides, "layers=scanned"), "cpu"))
