"""What the devices of a program send each other, as XLA for CPUs, GPUs and TPUs writes it."""

import pytest

from tests.compiled.programs import program, sample
from trainbench.compiled.traffic import Sent, names, traffic

ADD = """%add (...) -> ... {
  %left = f32[] parameter(0)
  %right = f32[] parameter(1)
  ROOT %sum = f32[] add(%left, %right)
}
"""
# A loop of a TPU, whose turns are counted from 0 to 6 by 2.
LOOP = """%body (...) -> ... {
  %carried = (s32[], f32[100]) parameter(0)
  %turn = s32[] get-tuple-element(%carried), index=0
  %two = s32[] constant(2)
  %next = s32[] add(%turn, %two)
  %value = f32[100] get-tuple-element(%carried), index=1
  %reduced = f32[100] all-reduce(%value), replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %out = (s32[], f32[100]) tuple(%next, %reduced)
}

%condition (...) -> ... {
  %before = (s32[], f32[100]) parameter(0)
  %now = s32[] get-tuple-element(%before), index=0
  %limit = s32[] LIMIT
  ROOT %on = pred[] compare(%now, %limit), direction=LT
}
"""
IN_A_LOOP = """  %zero = s32[] constant(0)
  %x = f32[100] parameter(0)
  %start = (s32[], f32[100]) tuple(%zero, %x)
  ROOT %loop = (s32[], f32[100]) while(%start), condition=%condition, body=%body"""


def sent(body, others="", devices=4):
    """Kind, group, count and bytes of each kind in a program of four devices."""
    found = traffic(program(body, f"{ADD}\n{others}", devices=devices))
    assert found.unknown == ()
    return [(one.kind, one.group_size, one.count, one.bytes) for one in found.sent]


def test_arrays_that_are_reduced_together_all_count():
    body = """  %x = f32[100] parameter(0)
  %y = bf16[10,10] parameter(1)
  ROOT %r = (f32[100], bf16[10,10]) all-reduce(%x, %y), replica_groups={}, to_apply=%add"""
    assert sent(body) == [("all-reduce", 4, 1, 1.5 * (400 + 200))]


@pytest.mark.parametrize(
    ("groups", "size", "each"),
    [
        ("{{0,1},{2,3}}", 2, 400),
        ("[2,2]<=[4]", 2, 400),
        ("[2,2]<=[2,2]T(1,0)", 2, 400),
        ("mesh['data'=2,'fsdp'=2] {'fsdp'}", 2, 400),
        ("mesh['a'=2,'b'=1,'c'=2], device_ids=([2,2]T(1,0)) {'a'}", 2, 400),
        ("mesh['a'=2,'b'=1,'c'=2], device_ids=([2,2]T(1,0)) {'a','c'}", 4, 600),
        ("{{0,1,2,3}}", 4, 600),
        ("{}", 4, 600),
    ],
)
def test_groups_are_read_in_every_notation(groups, size, each):
    body = f"""  %x = f32[100] parameter(0)
  ROOT %r = f32[100] all-reduce(%x), channel_id=1, replica_groups={groups}, to_apply=%add"""
    assert sent(body) == [("all-reduce", size, 1, each)]


def test_the_two_halves_of_an_asynchronous_collective_are_one():
    body = """  %x = f32[25] parameter(0)
  %s = (f32[25], f32[100]) all-gather-start(%x), replica_groups={{0,1,2,3}}, dimensions={0}
  %g = f32[100] all-gather-done(%s)
  %rs = f32[100] all-reduce-start(%g), replica_groups={{0,1,2,3}}, to_apply=%add
  ROOT %rd = f32[100] all-reduce-done(%rs)"""
    assert sent(body) == [("all-reduce", 4, 1, 600), ("all-gather", 4, 1, 300)]


def test_a_collective_inside_an_asynchronous_wrapper_counts_once():
    wrapped = """%wrapped (...) -> ... {
  %p = f32[100] parameter(0)
  ROOT %inner = f32[25] reduce-scatter(%p), replica_groups={{0,1,2,3}}, dimensions={0}, to_apply=%add
}
"""
    body = """  %x = f32[100] parameter(0)
  %s = ((f32[100]), f32[25]) async-start(%x), calls=%wrapped
  %u = ((f32[100]), f32[25]) async-update(%s), calls=%wrapped
  ROOT %d = f32[25] async-done(%u), calls=%wrapped"""
    assert sent(body, wrapped) == [("reduce-scatter", 4, 1, 300)]


@pytest.mark.parametrize(
    ("name", "kind", "each"), [("all-reduce-scatter.1", "reduce-scatter", 300), ("fused", "all-reduce", 600)]
)
def test_a_reduction_that_a_tpu_cuts_at_once_is_a_reduce_scatter(name, kind, each):
    fused = f"""%{name} (...) -> ... {{
  %p = f32[100] parameter(0)
  %inner = f32[100] all-reduce(%p), replica_groups={{{{0,1,2,3}}}}, to_apply=%add
  %zero = s32[] constant(0)
  ROOT %cut = f32[25] dynamic-slice(%inner, %zero), dynamic_slice_sizes={{25}}
}}
"""
    body = f"""  %x = f32[100] parameter(0)
  ROOT %f = f32[25] fusion(%x), kind=kCustom, calls=%{name}"""
    assert sent(body, fused) == [(kind, 4, 1, each)]


def test_what_is_in_a_loop_counts_as_often_as_the_loop_runs():
    assert sent(IN_A_LOOP, LOOP.replace("LIMIT", "constant(6)")) == [("all-reduce", 2, 3, 3 * 400)]


def test_a_loop_of_unknown_length_counts_once_and_is_told():
    found = traffic(program(IN_A_LOOP, f"{ADD}\n{LOOP.replace('LIMIT', 'custom-call()')}", devices=4))
    assert found.sent == (Sent("all-reduce", 2, 1, 400),)
    assert found.unknown == ("how often the loop loop runs: it counts once",)


def test_a_permutation_sends_once_and_a_group_of_one_sends_nothing():
    body = """  %x = f32[100] parameter(0)
  %alone = f32[100] all-reduce(%x), replica_groups={{0},{1},{2},{3}}, to_apply=%add
  ROOT %p = f32[100] collective-permute(%alone), source_target_pairs={{0,1},{1,0}}"""
    assert sent(body) == [("collective-permute", 4, 1, 400)]


def test_padding_of_a_layout_is_not_sent():
    body = """  %x = f32[3,100]{1,0:T(8,128)} parameter(0)
  ROOT %r = f32[3,100]{1,0:T(8,128)} all-reduce(%x), replica_groups={}, to_apply=%add"""
    assert sent(body) == [("all-reduce", 4, 1, 1.5 * 1200)]


def test_the_sum_that_reduces_is_no_traffic_and_one_device_has_none():
    body = """  %x = f32[100] parameter(0)
  %zero = f32[] constant(0)
  ROOT %r = f32[] reduce(%x, %zero), dimensions={0}, to_apply=%add"""
    assert sent(body) == []
    assert traffic(sample("resnet_v5e")).sent == ()


@pytest.mark.parametrize("name", ["resnet_v6e_4_chips", "resnet_a100_4_gpus"])
def test_programs_of_a_tpu_and_a_gpu_send_the_same_gradients(name):
    """The same step in bfloat16, compiled by either compiler: synchronised statistics in float32."""
    (one,) = traffic(sample(name)).sent
    assert (one.kind, one.group_size) == ("all-reduce", 4)
    assert one.bytes == 17_106


def test_what_only_communicates_is_known_by_name():
    found = names(program(IN_A_LOOP, f"{ADD}\n{LOOP.replace('LIMIT', 'constant(6)')}", devices=4))
    assert found == {"reduced"}
    assert "all-reduce-start" in names(sample("resnet_a100_4_gpus"))
