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


HIDDEN_LENGTH = """\
HloModule step

%done (p: s32[]) -> pred[] {
  %p = s32[] parameter(0)
  ROOT %q = pred[] custom-call(%p), custom_call_target="ask"
}

%turn (p: s32[]) -> s32[] {
  ROOT %p = s32[] parameter(0)
}

ENTRY %main () -> s32[] {
  %start = s32[] constant(0)
"""


def loops(program, *lengths):
    """The program with nothing but loops, one of each length; that of None is not told."""
    text = HIDDEN_LENGTH
    for place, length in enumerate(lengths):
        told = f', backend_config={{"known_trip_count":{{"n":"{length}"}}}}' if length else ""
        text += f"  %loop{place} = s32[] while(%start), condition=%done, body=%turn{told}\n"
    return dataclasses.replace(program, text=text + "}\n")


def test_loops_that_a_compiler_pipelined_doubled_or_tells_no_length_of_are_loops_over_blocks_too():
    program = compiled("gpt2_tiny", *TWO_BLOCKS, "layers=scanned").program
    deep = request("model=gpt2_tiny", "model.architecture.depth=24")
    program = dataclasses.replace(program, situation=Situation(deep, "gpu"))
    assert "2 loops over 24 blocks" in layers.LEVER.prove("scanned", loops(program, 24, 24))
    for lengths in ((24, 23), (12, 12), (22, 11), (24, None), (None, None)):
        assert "cut anew from 24 blocks" in layers.LEVER.prove("scanned", loops(program, *lengths))
    for lengths in ((24,), (24, 5), (12, 7)):
        with pytest.raises(NotProven, match="loops of 24 blocks"):
            layers.LEVER.prove("scanned", loops(program, *lengths))


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
