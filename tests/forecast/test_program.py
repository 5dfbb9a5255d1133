"""What compilers say of memory."""

import dataclasses

import pytest

from tests.forecast import outcomes
from trainbench.forecast.compiler import program
from trainbench.forecast.compiler.program import is_out_of_memory, needed_and_available

# libtpu 0.0.52 said this of ResNet at 2,000,000 images for one core of a TPU v3.
GIVEN_UP = (
    "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required for "
    "HLO temporaries (463.50G) exceeds available HBM (15.48G). HLO module: jit_step.\n"
    "See https://openxla.org/xla/errors/error_1000 for more details."
)
# XLA's other wording, of a program that was laid out.
LAID_OUT = (
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 16.53G "
    "of 15.48G hbm. Exceeded hbm capacity by 1.05G."
)


@pytest.mark.parametrize(
    ("text", "needed", "available"),
    [(GIVEN_UP, 463.5 * 2**30, 15.48 * 2**30), (LAID_OUT, 16.53 * 2**30, 15.48 * 2**30)],
)
def test_out_of_memory_says_how_much(text, needed, available):
    assert is_out_of_memory(text)
    assert needed_and_available(text) == (int(needed), int(available))


def test_smaller_units():
    assert needed_and_available("Used 1.5M of 700K hbm") == (3 * 2**19, 700 * 2**10)


def test_an_unknown_wording_gives_no_number():
    assert needed_and_available("RESOURCE_EXHAUSTED: no room in HBM") == (None, None)


@pytest.mark.parametrize(
    "text",
    ["INTERNAL: Mosaic failed to compile", "RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem"],
)
def test_other_errors_are_not_a_lack_of_main_memory(text):
    assert not is_out_of_memory(text)


def test_a_program_that_was_compiled_may_still_be_too_large():
    fits, tight, large = (outcomes.program(gib * outcomes.GIB) for gib in (15, 16, 17))
    assert [program.fitting(one) for one in (fits, tight, large)] == [True, True, False]
    assert program.fitting(dataclasses.replace(large, available_bytes=None))
    left = program.too_large(large)
    assert (left.needed_bytes, left.available_bytes) == (17 * outcomes.GIB, 16 * outcomes.GIB)
    assert left.compile_s == large.compile_s
