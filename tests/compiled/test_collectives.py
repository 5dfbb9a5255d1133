"""What collectives send."""

import pytest

from tests.compiled.programs import program, sample
from trainbench.compiled.collectives import ring_bytes, sent_bytes


@pytest.mark.parametrize(
    ("opcode", "sent"),
    [("all-reduce", 1500), ("reduce-scatter", 750), ("all-gather", 3000), ("all-to-all", 750)],
)
def test_a_ring_of_four_sends_three_quarters_once_or_twice(opcode, sent):
    assert ring_bytes(opcode, 1000, 4) == sent


def test_alone_nothing_is_sent():
    assert ring_bytes("all-reduce", 1000, 1) == 0
    assert ring_bytes("all-reduce", 1000, 2, devices_per_chip=2) == 0


def test_devices_of_one_chip_reduce_there_first():
    # 8 devices on 4 chips: the chips are the ring.
    assert ring_bytes("all-reduce", 1000, 8, devices_per_chip=2) == 1500
    assert ring_bytes("all-gather", 1000, 8, devices_per_chip=2) == 0.75 * 8000


def test_a_real_reduction_sends_the_gradients():
    module = sample("resnet_v6e_4_chips")
    reductions = [one for one in module.entry.instructions if one.opcode == "all-reduce"]
    sent = sum(sent_bytes(module.entry, one, module.devices) for one in reductions)
    results = sum(one.shape.bytes for one in reductions)
    assert sent == 1.5 * results > 0


def test_a_permutation_goes_over_the_links_once():
    body = "  %x = f32[100] parameter(0)\n  ROOT %r = f32[100] collective-permute(%x), channel_id=1"
    module = program(body, devices=4)
    assert sent_bytes(module.entry, module.entry.root, 4) == 400
