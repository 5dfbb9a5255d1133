"""The time model, on programs whose times one can tell in one's head, and on real ones."""

from dataclasses import replace

import pytest

from tests.compiled.programs import program, said_by_xla, sample
from tests.forecast.chip import CHIP
from trainbench.forecast.targets import find
from trainbench.forecast.timing.chip_model import chip_model, for_target
from trainbench.forecast.timing.schedule import FULL_RATES, Parameters
from trainbench.forecast.timing.time_model import times
from trainbench.hardware import chips

# On CHIP: 1e12 FLOP/s, 1e9 B/s, 1e9 cycles/s, links 1e8 B/s.


def _cycles(count):
    return f', backend_config={{"window_config":{{"estimated_cycles":"{count}"}}}}'


def _product(cycles=""):
    # 2 x 1000 x 1000 x 1000 FLOP = 2 ms; its arrays are on the chip.
    return program(
        "  %a = bf16[1000,1000]{1,0:S(1)} parameter(0)\n  %b = bf16[1000,1000]{1,0:S(1)} parameter(1)\n"
        f"  ROOT %c = bf16[1000,1000]{{1,0:S(1)}} dot(%a, %b), lhs_contracting_dims={{1}}{cycles}"
    )


def test_a_product_without_an_estimate_takes_its_flops_over_the_peak():
    schedule = times(_product(), CHIP)
    (product,) = schedule.operations
    assert product.kind == "matrix"
    assert product.compiler_s is None
    assert product.matrix_s == pytest.approx(2e-3)
    assert product.memory_s == 0
    assert schedule.expected_s == schedule.roofline_s == product.matrix_s
    assert schedule.unestimated_s == product.matrix_s


def test_the_compilers_estimate_counts_where_it_is_longer():
    slower, faster = times(_product(_cycles(3_000_000)), CHIP), times(_product(_cycles(1_000_000)), CHIP)
    assert slower.expected_s == pytest.approx(3e-3)
    assert slower.roofline_s == pytest.approx(2e-3)
    assert slower.unestimated_s == 0
    assert faster.expected_s == pytest.approx(2e-3)
    assert faster.operations[0].compiler_s == pytest.approx(1e-3)


@pytest.mark.parametrize("unknown", [2**63 - 1, -1])
def test_an_unknown_estimate_leaves_the_roofline(unknown):
    assert times(_product(_cycles(unknown)), CHIP).expected_s == pytest.approx(2e-3)


def test_without_a_clock_cycles_say_nothing():
    schedule = times(_product(_cycles(9_000_000)), replace(CHIP, clock_hz=None))
    assert schedule.expected_s == pytest.approx(2e-3)


def test_an_operation_on_main_memory_takes_its_bytes_over_the_bandwidth():
    body = "  %a = f32[1000] parameter(0)\n  ROOT %b = f32[1000] negate(%a)"
    (operation,) = times(program(body), CHIP).operations
    assert operation.kind == "memory"
    assert operation.time_s == pytest.approx(8e-6)


TRANSFER = """
  %a = f32[1000]{{0}} parameter(0)
  %x = f32[250]{{0}} parameter(1)
  %start = (f32[1000]{{0:S(1)}}, f32[1000]{{0}}, u32[]{{:S(2)}}) copy-start(%a)
{between}
  %done = f32[1000]{{0:S(1)}} copy-done(%start)
  ROOT %out = f32[] reduce(%done, %done), to_apply=%add
"""
# Of the 4 us that the transfer takes, one leaves main memory alone for 3, the other uses it for 2.
QUIET = "  %w{number} = f32[8]{{0:S(1)}} iota(), iota_dimension=0{cycles}"
LOUD = "  %w{number} = f32[250]{{0}} negate(%x)"


def _transfer(*between, parameters=FULL_RATES):
    lines = (line.format(number=number, cycles=_cycles(3000)) for number, line in enumerate(between))
    return times(program(TRANSFER.format(between="\n".join(lines))), CHIP, parameters)


@pytest.mark.parametrize(
    ("between", "exposed", "total"),
    [
        ((), 4, 4),
        ((QUIET,), 1, 4),
        ((QUIET, QUIET), 0, 6),
        # Work on main memory hides nothing of a transfer over it.
        ((LOUD,), 4, 6),
        ((LOUD, QUIET), 1, 6),
    ],
)
def test_a_transfer_costs_what_the_work_beside_it_leaves_over(between, exposed, total):
    schedule = _transfer(*between)
    (done,) = (one for one in schedule.operations if one.overlapped)
    assert done.time_s * 1e6 == pytest.approx(exposed, abs=0.01)
    assert schedule.expected_s * 1e6 == pytest.approx(total, abs=0.01)


def test_at_best_transfers_are_hidden_but_move_their_bytes():
    hidden = _transfer(QUIET)
    assert hidden.roofline_s == pytest.approx(4e-6, abs=1e-8)
    assert _transfer(LOUD).roofline_s == pytest.approx(6e-6, abs=1e-8)


def test_a_transfer_over_slower_memory_takes_longer():
    # 8 us, of which the work beside it hides 3; and that itself takes no longer.
    schedule = _transfer(QUIET, parameters=Parameters(memory_efficiency=0.5))
    assert schedule.expected_s == pytest.approx(8e-6, abs=1e-8)


def test_transfers_between_the_same_work_share_main_memory():
    body = TRANSFER.format(
        between="  %second = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]{:S(2)}) copy-start(%a)"
    )
    body += "  %other = f32[1000]{0:S(1)} copy-done(%second)"
    assert times(program(body), CHIP).expected_s == pytest.approx(8e-6, abs=1e-8)


def test_a_transfer_that_nothing_here_waits_for_still_counts():
    body = (
        "  %a = f32[1000]{0} parameter(0)\n"
        "  ROOT %start = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]{:S(2)}) copy-start(%a)"
    )
    assert times(program(body), CHIP).expected_s == pytest.approx(4e-6)


LOOP = """
%body (s: (s32[], f32[1000])) -> (s32[], f32[1000]) {
  %s = (s32[], f32[1000]) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %x = f32[1000] get-tuple-element(%s), index=1
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  %y = f32[1000] negate(%x)
  ROOT %out = (s32[], f32[1000]) tuple(%next, %y)
}

%condition (s: (s32[], f32[1000])) -> pred[] {
  %s.1 = (s32[], f32[1000]) parameter(0)
  %i.1 = s32[] get-tuple-element(%s.1), index=0
  %n = s32[] constant(12)
  ROOT %lt = pred[] compare(%i.1, %n), direction=DIRECTION
}
"""
ENTER = """
  %zero = s32[] constant(0)
  %a = f32[1000] parameter(0)
  %init = (s32[], f32[1000]) tuple(%zero, %a)
  ROOT %loop = (s32[], f32[1000]) while(%init), condition=%condition, body=%body
"""


def test_the_body_of_a_loop_counts_as_often_as_it_runs():
    schedule = times(program(ENTER, LOOP.replace("DIRECTION", "LT")), CHIP)
    (negation,) = schedule.operations
    assert negation.count == 12
    assert schedule.expected_s == pytest.approx(12 * 8e-6)
    assert schedule.roofline_s == pytest.approx(12 * 8e-6)
    assert schedule.unknown == ()


def test_a_loop_of_unknown_length_counts_once_and_is_told():
    schedule = times(program(ENTER, LOOP.replace("DIRECTION", "NE")), CHIP)
    assert schedule.expected_s == pytest.approx(8e-6)
    assert schedule.unknown == ("how often the loop loop runs: it counts once",)


def test_of_a_conditional_the_longest_branch_counts():
    branches = """
%small (p: f32[10]) -> f32[10] {
  %p = f32[10] parameter(0)
  ROOT %n = f32[10] negate(%p)
}

%large (q: f32[1000]) -> f32[10] {
  %q = f32[1000] parameter(0)
  ROOT %m = f32[10] slice(%q), slice={[0:10]}
}
"""
    line = "  ROOT %c = f32[10] conditional(%i, %a, %b), branch_computations={%small, %large}"
    entry = "  %i = s32[] parameter(0)\n  %a = f32[10] parameter(1)\n  %b = f32[1000] parameter(2)\n" + line
    (operation,) = times(program(entry, branches), CHIP).operations
    assert operation.time_s == pytest.approx(80e-9)


REDUCTION = """
  %x = f32[1000]{0:S(1)} parameter(0)
  ROOT %r = f32[1000]{0:S(1)} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
"""


def test_a_reduction_over_four_chips_sends_its_bytes_one_and_a_half_times():
    schedule = times(program(REDUCTION, devices=4), CHIP)
    (reduction,) = schedule.operations
    assert reduction.kind == "collective"
    assert reduction.network_s == pytest.approx(1.5 * 4000 / 1e8)
    assert schedule.expected_s == reduction.network_s


def test_an_asynchronous_reduction_hides_behind_work_on_main_memory():
    body = """
  %x = f32[1000]{0:S(1)} parameter(0)
  %y = f32[5000]{0} parameter(1)
  %start = f32[1000]{0:S(1)} all-reduce-start(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  %work = f32[5000]{0} negate(%y)
  ROOT %done = f32[1000]{0:S(1)} all-reduce-done(%start)
"""
    schedule = times(program(body, devices=4), CHIP)
    done = schedule.operations[-1]
    assert (done.opcode, done.overlapped) == ("all-reduce-done", True)
    assert done.time_s == pytest.approx(60e-6 - 40e-6)
    assert schedule.expected_s == schedule.roofline_s == pytest.approx(60e-6)


def test_a_copy_does_not_wait_for_a_reduction_that_began_before_it():
    body = """
  %x = f32[1000]{0:S(1)} parameter(0)
  %a = f32[1000]{0} parameter(1)
  %b = f32[3000]{0} parameter(2)
  %reduce = f32[1000]{0:S(1)} all-reduce-start(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  %copy = (f32[1000]{0:S(1)}, f32[1000]{0}, u32[]{:S(2)}) copy-start(%a)
  %copied = f32[1000]{0:S(1)} copy-done(%copy)
  %work = f32[3000]{0} negate(%b)
  ROOT %reduced = f32[1000]{0:S(1)} all-reduce-done(%reduce)
"""
    schedule = times(program(body, devices=4), CHIP)
    waits = {one.opcode: one.time_s * 1e6 for one in schedule.operations if one.overlapped}
    # The copy takes its own 4 us; the work reads and writes 12000 bytes: 24 us.
    assert waits == pytest.approx({"copy-done": 4, "all-reduce-done": 60 - 4 - 24}, abs=0.01)
    assert schedule.expected_s == pytest.approx(60e-6, abs=1e-8)


def test_where_the_links_are_unknown_that_is_told():
    schedule = times(program(REDUCTION, devices=4), replace(CHIP, network_bytes_per_s=None))
    assert schedule.unknown == ("the links of a test chip: collectives count nothing beyond memory",)


@pytest.mark.parametrize(
    ("parameters", "module", "total"),
    [
        (Parameters(matrix_efficiency=0.5), _product(), 4e-3),
        # 6 ms by the compiler is three times the roofline, 9 ms more than four times.
        (Parameters(roofline_reach=4), _product(_cycles(6_000_000)), 2e-3),
        (Parameters(roofline_reach=4), _product(_cycles(9_000_000)), 9e-3),
        (Parameters(0.5, roofline_reach=4), _product(_cycles(6_000_000)), 4e-3),
        (Parameters(collective_efficiency=0.5), program(REDUCTION, devices=4), 120e-6),
        (Parameters(collective_latency_s=5e-6), program(REDUCTION, devices=4), 65e-6),
    ],
)
def test_each_parameter_changes_the_time_of_what_it_names(parameters, module, total):
    schedule = times(module, CHIP, parameters)
    assert schedule.expected_s == pytest.approx(total, abs=1e-8)
    assert schedule.roofline_s == times(module, CHIP).roofline_s


def test_a_rate_that_no_source_gives_is_told():
    unknown = replace(CHIP, flops_per_s={"bf16": None})
    assert times(_product(), unknown).unknown == ("the bf16 rate of a test chip: its products count nothing",)


def test_a_kernel_of_unknown_cost_is_told():
    line = '  ROOT %k = f32[8] custom-call(%a), custom_call_target="tpu_custom_call"'
    schedule = times(program(f"  %a = f32[8] parameter(0)\n{line}"), CHIP)
    assert schedule.operations[0].kind == "custom"
    assert schedule.unknown == ("what the kernel k computes: only its arguments and results count",)


REAL = {
    "matmul_v3": ("tpu-v3", (1,)),
    "matmul_v6e": ("tpu-v6e", (1, 1)),
    "resnet_v3": ("tpu-v3", (1,)),
    "resnet_v5e": ("tpu-v5e", (1, 1)),
    "resnet_v6e_loop": ("tpu-v6e", (1, 1)),
    "resnet_v6e_4_chips": ("tpu-v6e", (2, 2)),
    "vit_v4": ("tpu-v4", (1, 1, 1)),
}


def _real(name, parameters=FULL_RATES):
    chip, topology = REAL[name]
    return times(sample(name), chip_model(chips.by_id(chip), topology), parameters)


GPU_PROGRAMS = {
    "resnet_a100": "a100-1",
    "resnet_h100": "h100-1",
    "bert_a100": "a100-1",
    "bert_h100_loop": "h100-1",
    "resnet_a100_4_gpus": "a100-4",
}


@pytest.mark.parametrize("name", GPU_PROGRAMS)
def test_the_totals_of_a_real_program_for_gpus_are_in_order(name):
    schedule = times(sample(name), for_target(find(GPU_PROGRAMS[name])))
    assert 0 < schedule.roofline_s <= schedule.expected_s * (1 + 1e-9)
    assert schedule.unknown == ()
    products = [one for one in schedule.operations if one.kind == "matrix"]
    assert {one.compiler_s for one in products} == {None}
    # Nearly all others are fusions, which have an estimate; none of them is absurd.
    others = [one for one in schedule.operations if one.opcode == "fusion" and one.kind != "matrix"]
    assert all(one.compiler_s is not None and one.compiler_s < 1e-4 for one in others)


def test_gpus_wait_for_each_other_at_a_reduction():
    schedule = times(sample("resnet_a100_4_gpus"), for_target(find("a100-4")))
    waits = [one for one in schedule.operations if one.kind == "collective"]
    assert waits
    assert all(one.opcode == "all-reduce-done" for one in waits)
    gradients = max(waits, key=lambda one: one.network_s)
    assert gradients.network_s > 0


ON_A_QUEUE = """
%negated (p: f32[1000]) -> f32[1000] {
  %p = f32[1000] parameter(0)
  ROOT %n = f32[1000] negate(%p)
}

%kernel (q: f32[1000]) -> f32[1000] {
  %q = f32[1000] parameter(0)
  ROOT %f = f32[1000] fusion(%q), kind=kLoop, calls=%negated
}
"""


def test_a_kernel_on_another_queue_of_a_gpu_takes_its_time():
    body = (
        "  %a = f32[1000] parameter(0)\n"
        "  %s = ((f32[1000]), f32[1000], u32[]) async-start(%a), calls=%kernel\n"
        "  ROOT %d = f32[1000] async-done(%s)"
    )
    (kernel,) = times(program(body, ON_A_QUEUE), replace(CHIP, platform="gpu")).operations
    assert kernel.name == "f"
    assert kernel.time_s == pytest.approx(8000 / 1e9)


def test_the_estimate_for_a_gpu_is_not_taken_for_products():
    estimate = ', backend_config={"reification_cost":[{"exec_time_us":5000,"name":""}]}'
    gpu = replace(CHIP, platform="gpu", clock_hz=None)
    (product,) = times(_product(estimate), gpu).operations
    assert product.compiler_s is None
    body = f"  %a = f32[1000] parameter(0)\n  ROOT %b = f32[1000] negate(%a){estimate}"
    (other,) = times(program(body), gpu).operations
    assert other.compiler_s == pytest.approx(5e-3)


def test_what_an_attention_kernel_of_cudnn_multiplies_is_said_to_be_unknown():
    body = (
        "  %a = bf16[8,8] parameter(0)\n"
        '  ROOT %b = (bf16[8,8], u8[0]) custom-call(%a), custom_call_target="__cudnn$fmhaSoftmax"'
    )
    (unknown,) = times(program(body), replace(CHIP, platform="gpu")).unknown
    assert unknown.startswith("what the kernel b computes")


def _estimated(schedule):
    """Seconds by the compiler's own estimates alone."""
    return sum((one.compiler_s or 0) * one.count for one in schedule.operations)


@pytest.mark.parametrize("name", REAL)
def test_the_totals_of_a_real_program_are_in_order(name):
    schedule = _real(name)
    assert 0 < schedule.roofline_s <= schedule.expected_s * (1 + 1e-9)
    assert _estimated(schedule) <= schedule.expected_s * (1 + 1e-9)
    assert schedule.unknown == ()
    assert all(one.time_s >= 0 for one in schedule.operations)


@pytest.mark.parametrize(("name", "agreement"), [("matmul_v6e", 1e-6), ("matmul_v3", 2e-3)])
def test_the_roofline_of_a_product_is_xlas_own_optimum(name, agreement):
    # XLA takes 61.4 TFLOP/s for a core of v3, chips.yaml half of 123.
    assert _real(name).roofline_s == pytest.approx(said_by_xla(name)["optimal_seconds"], rel=agreement)


def test_the_estimate_of_a_product_is_near_the_peak_at_the_clock_that_follows_from_it():
    # The compiler counts cycles of a core that the peak and the matrix units' size give a clock.
    for name, most in (("matmul_v3", 0.98), ("matmul_v6e", 0.8)):
        schedule = _real(name)
        assert 0.65 < schedule.roofline_s / _estimated(schedule) < most


def test_a_loops_operations_are_those_of_its_body_twice():
    schedule = _real("resnet_v6e_loop")
    assert {one.count for one in schedule.operations} == {1, 2}
    matrix = [one for one in schedule.operations if one.kind == "matrix"]
    assert {one.count for one in matrix} == {2}


def test_slower_rates_never_make_a_step_faster():
    for name in REAL:
        slower = Parameters(0.5, 0.5, 0.5, collective_latency_s=1e-6)
        assert _real(name, slower).expected_s >= _real(name).expected_s
    assert _real("matmul_v6e", slower).expected_s > _real("matmul_v6e").expected_s
