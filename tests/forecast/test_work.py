"""FLOPs and bytes of operations."""

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compiled.programs import program, said_by_xla, sample
from trainbench.compiled.products import meeting_pairs
from trainbench.compiled.trips import trips
from trainbench.forecast.timing.work import Work, work_of


def _work(body, others=""):
    module = program(body, others)
    return work_of(module, module.entry, module.entry.root)


def _flops(module, computation, platform="tpu"):
    """All products of a program, loops multiplied."""
    total = 0.0
    for one in computation.instructions:
        if one.opcode == "while":
            body = module.computations[one.attributes["body"].lstrip("%")]
            total += trips(module, computation, one) * _flops(module, body, platform)
        total += work_of(module, computation, one, platform).total_flops
    return total


@pytest.mark.parametrize("name", ["matmul_v6e", "matmul_v3", "vit_v4"])
def test_a_compiled_program_does_the_products_of_the_traced_one(name):
    module = sample(name)
    assert _flops(module, module.entry) == said_by_xla(name)["traced_flops_per_device"]


@pytest.mark.parametrize("name", ["resnet_v3", "resnet_v5e", "resnet_v6e_4_chips"])
def test_convolutions_leave_out_the_taps_on_padding(name):
    module = sample(name)
    traced = said_by_xla(name)["traced_flops_per_device"]
    assert 0.9 * traced < _flops(module, module.entry) < traced


@pytest.mark.parametrize("name", ["bert_a100", "bert_h100_loop"])
def test_a_program_for_gpus_does_the_products_of_the_traced_one(name):
    module = sample(name)
    assert _flops(module, module.entry, "gpu") == said_by_xla(name)["traced_flops_per_device"]


@pytest.mark.parametrize("name", ["resnet_a100", "resnet_h100", "resnet_a100_4_gpus"])
def test_convolutions_by_cudnn_leave_out_the_taps_on_padding(name):
    module = sample(name)
    traced = said_by_xla(name)["traced_flops_per_device"]
    assert 0.9 * traced < _flops(module, module.entry, "gpu") < traced


def test_products_that_the_compiler_adds_count():
    # Few images of a micro-batch are cut into strips that overlap by their borders, to fill the batch.
    module = sample("resnet_v6e_loop")
    traced = said_by_xla("resnet_v6e_loop")["traced_flops_per_device"]
    assert traced < _flops(module, module.entry) < 1.25 * traced


def test_a_product_of_matrices_is_two_flops_for_each_pair():
    product = _work(
        "  %a = bf16[4,8] parameter(0)\n  %b = bf16[8,16] parameter(1)\n"
        "  ROOT %c = bf16[4,16] dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}"
    )
    assert product == Work((("bf16", 2.0 * 4 * 8 * 16),), bytes=2 * (4 * 8 + 8 * 16 + 4 * 16))


@pytest.mark.parametrize(
    ("dtype", "precision", "rate", "passes"),
    [
        ("f32", "", "bf16", 1),
        ("f32", ", operand_precision={high,high}", "bf16", 3),
        ("f32", ", operand_precision={highest,highest}", "bf16", 6),
        ("bf16", ", operand_precision={highest,highest}", "bf16", 1),
        ("f16", "", "fp16", 1),
        ("s8", "", "int8", 1),
        ("f8e4m3fn", "", "fp8", 1),
    ],
)
def test_a_product_runs_at_the_rate_of_what_is_multiplied(dtype, precision, rate, passes):
    work = _work(
        f"  %a = {dtype}[4,8] parameter(0)\n  %b = {dtype}[8,16] parameter(1)\n"
        f"  ROOT %c = f32[4,16] dot(%a, %b), lhs_contracting_dims={{1}}{precision}"
    )
    assert work.flops == ((rate, 2.0 * 4 * 8 * 16 * passes),)


WINDOW = st.fixed_dictionaries(
    {
        "inputs": st.integers(1, 9),
        "taps": st.integers(1, 5),
        "stride": st.integers(1, 3),
        "pad": st.integers(0, 3),
        "lhs_dilate": st.integers(1, 3),
        "rhs_dilate": st.integers(1, 3),
    }
)


@given(WINDOW)
@settings(deadline=None, max_examples=60)
def test_pairs_are_those_that_a_convolution_of_ones_adds_up(window):
    spread = (window["inputs"] - 1) * window["lhs_dilate"] + 1 + 2 * window["pad"]
    reach = (window["taps"] - 1) * window["rhs_dilate"] + 1
    outputs = (spread - reach) // window["stride"] + 1
    if outputs < 1:
        return
    added = sum(
        0 <= place < (window["inputs"] - 1) * window["lhs_dilate"] + 1 and place % window["lhs_dilate"] == 0
        for output in range(outputs)
        for tap in range(window["taps"])
        for place in [output * window["stride"] + tap * window["rhs_dilate"] - window["pad"]]
    )
    sizes = (window.pop("inputs"), window.pop("taps"))
    assert meeting_pairs(*sizes, outputs, **window) == added


def test_a_convolution_agrees_with_xlas_own_count():
    def convolve(image, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(image, kernel, (2, 2), "SAME", dimension_numbers=layout)

    image, kernel = jnp.zeros((2, 9, 9, 4)), jnp.zeros((3, 3, 4, 8))
    cost = jax.jit(convolve).lower(image, kernel).compile().cost_analysis()
    work = _work(
        "  %a = f32[2,9,9,4] parameter(0)\n  %b = f32[3,3,4,8] parameter(1)\n"
        "  ROOT %c = f32[2,5,5,8] convolution(%a, %b), window={size=3x3 stride=2x2 pad=1_1x1_1}, "
        "dim_labels=b01f_01io->b01f"
    )
    assert work.total_flops == cost["flops"]


def test_what_lies_on_the_chip_costs_no_memory_traffic():
    work = _work(
        "  %a = f32[8,128]{1,0:T(8,128)S(1)} parameter(0)\n  ROOT %b = f32[8,128]{1,0:T(8,128)} negate(%a)"
    )
    assert work.bytes == 8 * 128 * 4


SLICED = """
%part (p: f32[100,128], i: s32[]) -> f32[1,128] {
  %p = f32[100,128] parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %s = f32[1,128] dynamic-slice(%p, %i, %zero), dynamic_slice_sizes={1,128}
  ROOT %n = f32[1,128] negate(%s)
}

%put (q: f32[100,128], u: f32[1,128], j: s32[]) -> f32[100,128] {
  %q = f32[100,128] parameter(0)
  %u = f32[1,128] parameter(1)
  %j = s32[] parameter(2)
  %z = s32[] constant(0)
  ROOT %d = f32[100,128] dynamic-update-slice(%q, %u, %j, %z)
}
"""


def test_only_the_slice_counts_that_a_fusion_reads():
    body = "  %a = f32[100,128] parameter(0)\n  %i = s32[] parameter(1)\n"
    read = _work(body + "  ROOT %b = f32[1,128] fusion(%a, %i), kind=kLoop, calls=%part", SLICED)
    assert read.bytes == 128 * 4 + 4 + 128 * 4


def test_only_the_slice_counts_that_a_fusion_writes_in_place():
    body = "  %a = f32[100,128] parameter(0)\n  %u = f32[1,128] parameter(1)\n  %i = s32[] parameter(2)\n"
    call = "  ROOT %b = f32[100,128] fusion(%a, %u, %i), kind=kLoop, calls=%put"
    assert _work(body + call, SLICED).bytes == 128 * 4 + 4 + 128 * 4


SCATTER = (
    "  %a = f32[1000,128] parameter(0)\n  %i = s32[10,1] parameter(1)\n  %u = f32[10,128] parameter(2)\n"
    "  ROOT %s = f32[1000,128] scatter(%a, %i, %u), update_window_dims={1}, inserted_window_dims={0}, "
    "scatter_dims_to_operand_dims={0}, index_vector_dim=1, to_apply=%add"
)


@pytest.mark.parametrize("fused", [False, True])
def test_what_is_scattered_to_is_read_and_written_where_it_changes(fused):
    body, others = SCATTER, ""
    if fused:
        others = f"%scattered (...) -> ... {{\n{SCATTER}\n}}\n"
        call = "fusion(%a, %i, %u), kind=kInput, calls=%scattered"
        body = SCATTER[: SCATTER.index("scatter(")] + call
    places, rows = 10 * 4, 10 * 128 * 4
    assert _work(body, others).bytes == places + 3 * rows


@pytest.mark.parametrize(
    "line",
    [
        "  ROOT %b = f32[8] bitcast(%a)",
        "  ROOT %b = (f32[8]) tuple(%a)",
        '  ROOT %b = f32[1000] custom-call(), custom_call_target="AllocateBuffer"',
    ],
)
def test_names_and_reservations_move_nothing(line):
    assert _work(f"  %a = f32[8] parameter(0)\n{line}") == Work()


def test_a_kernel_costs_what_its_author_stated():
    config = '{"custom_call_config":{"cost_estimate":{"flops":"5000","bytes_accessed":"300"}}}'
    line = f'ROOT %b = f32[8] custom-call(%a), custom_call_target="tpu_custom_call", backend_config={config}'
    assert _work(f"  %a = f32[8] parameter(0)\n  {line}") == Work((("bf16", 5000.0),), 300)


def test_a_kernel_without_a_stated_cost_moves_its_arguments_and_results():
    line = 'ROOT %b = f32[8] custom-call(%a), custom_call_target="tpu_custom_call"'
    assert _work(f"  %a = f32[8] parameter(0)\n  {line}") == Work(bytes=64)


@pytest.mark.parametrize(
    ("dtype", "precision", "rate"),
    [
        ("f32", "", "tf32"),
        ("f32", ", operand_precision={high,high}", "tf32"),
        ("f32", ", operand_precision={highest,highest}", "fp32"),
        ("bf16", ", operand_precision={highest,highest}", "bf16"),
        ("f16", "", "fp16"),
    ],
)
def test_a_gpu_multiplies_float32_in_tf32_unless_the_highest_precision_is_asked_for(dtype, precision, rate):
    module = program(
        f"  %a = {dtype}[4,8] parameter(0)\n  %b = {dtype}[8,16] parameter(1)\n"
        f"  ROOT %c = f32[4,16] dot(%a, %b), lhs_contracting_dims={{1}}{precision}"
    )
    work = work_of(module, module.entry, module.entry.root, "gpu")
    assert work.flops == ((rate, 2.0 * 4 * 8 * 16),)


def test_the_scratch_memory_of_a_library_is_no_traffic():
    config = '{"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}'
    work = _work(
        "  %a = bf16[4,8] parameter(0)\n  %b = bf16[8,16] parameter(1)\n"
        "  ROOT %c = (bf16[4,16], s8[4194304]) custom-call(%a, %b), "
        f'custom_call_target="__cublas$lt$matmul", backend_config={config}'
    )
    assert work.bytes == 2 * (4 * 8 + 8 * 16 + 4 * 16)
