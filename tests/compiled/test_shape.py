"""Shapes in XLA's notation, and their bytes."""

import pytest

from trainbench.compiled.shape import parse, split_top_level


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("f32[]", 4),
        ("f32[8,16]{1,0}", 8 * 16 * 4),
        ("f32[8,16]", 8 * 16 * 4),
        # The two minor dimensions fill tiles of 8 x 128 ...
        ("f32[3,65,64]{2,1,0:T(8,128)}", 3 * 72 * 128 * 4),
        # ... which two they are is in the layout ...
        ("f32[65,3]{0,1:T(8,128)}", 128 * 8 * 4),
        # ... and a second tile only orders what is in the first.
        ("bf16[65,64]{1,0:T(8,128)(2,1)}", 72 * 128 * 2),
        ("bf16[64]{0:T(256)(128)(2,1)S(1)}", 256 * 2),
        ("s32[]{:T(128)}", 128 * 4),
        ("pred[4,2,64]{2,1,0:T(4,128)(4,1)}", 4 * 4 * 128),
        ("f8e4m3fn[16]", 16),
        ("s4[16]{0:E(4)}", 8),
        ("u32[2]{0:S(2)}", 8),
        ("token[]", 0),
        ("(f32[4], (bf16[2], s32[]))", 16 + 4 + 4),
        ("()", 0),
    ],
)
def test_bytes_are_those_of_whole_tiles(text, size):
    assert parse(text).bytes == size


def test_only_space_zero_is_main_memory():
    pair = parse("(f32[128]{0:T(128)S(1)}, f32[256]{0:T(256)}, u32[]{:S(2)}, f32[8]{0:S(3)})")
    assert [part.memory_space for part in pair.elements] == [1, 0, 2, 3]
    assert pair.main_memory_bytes == 1024


def test_an_empty_tuple_is_not_a_scalar():
    assert parse("()").is_tuple
    assert not parse("f32[]").is_tuple
    assert parse("f32[]").size == 1


def test_a_bounded_dimension_counts_in_full():
    assert parse("f32[<=8,4]").dims == (8, 4)


def test_what_is_no_shape_is_refused():
    with pytest.raises(ValueError, match="not an XLA shape: 'fusion'"):
        parse("fusion")


def test_commas_in_brackets_and_quotations_do_not_split():
    text = r'a={1,2}, b="x, \" y", c=(d, [e, f])'
    assert split_top_level(text) == ["a={1,2}", r'b="x, \" y"', "c=(d, [e, f])"]
