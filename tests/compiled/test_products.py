"""FLOPs of what cuBLAS and cuDNN are called for."""

import pytest

from tests.compiled.programs import program
from trainbench.compiled.products import is_library_call, product_of

IMAGES, KERNEL, RESULT = "bf16[8,57,57,64]", "bf16[128,3,3,64]", "bf16[8,28,28,128]"
CONVOLUTION = f"""
  %x = {IMAGES} parameter(0)
  %k = {KERNEL} parameter(1)
  ROOT %y = {RESULT} convolution(%x, %k), window={{size=3x3 stride=2x2}}, dim_labels=b01f_o01i->b01f
"""


def _product(body):
    module = program(body)
    return product_of(module.entry, module.entry.root)


def _call(target, operands, result, more=""):
    first, second = operands
    return _product(
        f"  %a = {first} parameter(0)\n  %b = {second} parameter(1)\n"
        f"  ROOT %c = ({result}, u8[1024]) custom-call(%a, %b), {more}"
        f'custom_call_target="{target}"'
    )


@pytest.mark.parametrize(
    ("target", "operands", "result"),
    [
        ("__cudnn$convForward", (IMAGES, KERNEL), RESULT),
        ("__cudnn$convBiasActivationForward", (IMAGES, KERNEL), RESULT),
        ("__cudnn$convBackwardInput", (RESULT, KERNEL), IMAGES),
        ("__cudnn$convBackwardFilter", (IMAGES, RESULT), KERNEL),
    ],
)
def test_a_convolution_and_its_gradients_multiply_as_much(target, operands, result):
    more = "window={size=3x3 stride=2x2}, dim_labels=b01f_o01i->b01f, "
    found = _call(target, operands, result, more)
    assert found.flops == _product(CONVOLUTION).flops == 2.0 * 8 * 28 * 28 * 128 * 64 * 9
    assert found.dtype == "bf16"


def test_taps_on_cudnns_own_padding_do_not_count():
    more = "window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f, "
    same = _call("__cudnn$convForward", ("f32[1,4,4,1]", "f32[1,3,3,1]"), "f32[1,4,4,1]", more)
    assert same.flops == 2.0 * 10 * 10


def test_groups_multiply_only_within_themselves():
    more = "window={size=3x3}, dim_labels=b01f_o01i->b01f, feature_group_count=2, "
    whole = ("bf16[8,30,30,64]", "bf16[128,3,3,32]")
    assert _call("__cudnn$convForward", whole, RESULT, more).flops == 2.0 * 8 * 28 * 28 * 128 * 32 * 9


CUBLAS = (
    'backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["2"],'
    '"lhs_batch_dimensions":["0"]},"precision_config":{"operand_precision":["HIGHEST","HIGHEST"]}}}, '
)


@pytest.mark.parametrize("target", ["__cublas$gemm", "__cublas$lt$matmul"])
def test_a_batched_product_of_matrices_is_two_flops_for_each_pair(target):
    found = _call(target, ("f32[3,16,32]", "f32[3,32,8]"), "f32[3,16,8]", CUBLAS)
    assert found.flops == 2.0 * 3 * 16 * 8 * 32
    assert found.precision == {"highest"}


def test_a_call_for_something_else_is_no_product():
    module = program('  ROOT %a = f32[8] custom-call(), custom_call_target="cu_threefry2x32_ffi"')
    assert not is_library_call(module.entry.root)
    assert product_of(module.entry, module.entry.root) is None
