"""How often loops run."""

import pytest

from tests.compiled.programs import program, sample
from trainbench.compiled.trips import trips

BODY = """
%body (state: (s32[], s32[], f32[8])) -> (s32[], s32[], f32[8]) {{
  %state = (s32[], s32[], f32[8]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %n = s32[] get-tuple-element(%state), index=1
  %x = f32[8] get-tuple-element(%state), index=2
  %step = s32[] constant({step})
  %next = s32[] add(%i, %step)
  %limit = s32[] {limit}(%n)
  ROOT %out = (s32[], s32[], f32[8]) tuple(%next, %limit, %x)
}}

%condition (state: (s32[], s32[], f32[8])) -> pred[] {{
  %state.1 = (s32[], s32[], f32[8]) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  %n.1 = s32[] get-tuple-element(%state.1), index=1
  %seven = s32[] constant(7)
  ROOT %lt = pred[] compare({compared}), direction={direction}
}}
"""
ENTRY = """
  %start = s32[] constant({start})
  %ten = s32[] constant(10)
  %y = f32[8] parameter(0)
  %init = (s32[], s32[], f32[8]) tuple(%start, %ten, %y)
  ROOT %loop = (s32[], s32[], f32[8]) while(%init), condition=%condition, body=%body{more}
"""
PLAIN = {
    "start": 0,
    "step": 1,
    "limit": "copy",
    "compared": "%i.1, %seven",
    "direction": "LT",
    "more": "",
}


def _trips(**changes):
    values = {**PLAIN, **changes}
    module = program(ENTRY.format(**values), BODY.format(**values))
    return trips(module, module.entry, module.entry.root)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 7),
        ({"start": 3}, 4),
        ({"step": 2}, 4),
        ({"direction": "LE"}, 8),
        ({"compared": "%seven, %i.1", "direction": "GT"}, 7),
        # The limit is carried along, unchanged.
        ({"compared": "%i.1, %n.1"}, 10),
        ({"start": 9}, 0),
        ({"more": ', backend_config={"known_trip_count":{"n":"5"}}'}, 5),
    ],
)
def test_the_counter_is_followed_from_its_start_to_its_limit(changes, count):
    assert _trips(**changes) == count


@pytest.mark.parametrize(
    "changes",
    [
        # The limit changes in the loop, nothing is counted up, or the comparison is of another kind.
        {"compared": "%i.1, %n.1", "limit": "negate"},
        {"step": 0},
        {"step": -1},
        {"direction": "NE"},
        {"compared": "%seven, %seven"},
    ],
)
def test_what_cannot_be_told_is_not_guessed(changes):
    assert _trips(**changes) is None


def test_counting_may_be_fused():
    fused = """
%next_of (p: s32[]) -> s32[] {
  %p = s32[] parameter(0)
  %two = s32[] constant(2)
  ROOT %sum = s32[] add(%p, %two)
}

%less (a: s32[]) -> pred[] {
  %a = s32[] parameter(0)
  %nine = s32[] constant(9)
  ROOT %lt = pred[] compare(%a, %nine), direction=LT
}

%body (state: (s32[])) -> (s32[]) {
  %state = (s32[]) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %next = s32[] fusion(%i), kind=kLoop, calls=%next_of
  ROOT %out = (s32[]) tuple(%next)
}

%condition (state: (s32[])) -> pred[] {
  %state.1 = (s32[]) parameter(0)
  %i.1 = s32[] get-tuple-element(%state.1), index=0
  ROOT %f = pred[] fusion(%i.1), kind=kLoop, calls=%less
}
"""
    module = program(
        "  %zero = s32[] constant(0)\n  %init = (s32[]) tuple(%zero)\n"
        "  ROOT %loop = (s32[]) while(%init), condition=%condition, body=%body",
        fused,
    )
    assert trips(module, module.entry, module.entry.root) == 5


def test_the_loop_over_two_micro_batches_runs_twice():
    module = sample("resnet_v6e_loop")
    (loop,) = (one for one in module.entry.instructions if one.opcode == "while")
    assert trips(module, module.entry, loop) == 2
