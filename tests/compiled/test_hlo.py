"""The reading of compiled programs."""

from collections import Counter

import pytest

from tests.compiled.programs import program, sample
from trainbench.compiled import hlo


def _opcodes(module):
    return Counter(one.opcode for one in module.entry.instructions)


@pytest.mark.parametrize(
    ("name", "devices"),
    [("matmul_v6e", 1), ("resnet_v6e_loop", 1), ("resnet_v6e_4_chips", 4), ("resnet_v3", 2), ("vit_v4", 1)],
)
def test_every_line_of_a_real_program_is_read(name, devices):
    module = sample(name)
    assert module.is_scheduled
    assert module.devices == devices
    for computation in module.computations.values():
        assert len(computation.instructions) == len(computation.lines)
        assert sum(one.is_root for one in computation.instructions) == 1


@pytest.mark.parametrize(
    "name", ["resnet_v6e_loop", "resnet_v6e_4_chips", "resnet_v3", "vit_v4", "resnet_v5e"]
)
def test_operands_and_called_computations_of_a_real_program_exist(name):
    module = sample(name)
    for computation in module.computations.values():
        for one in computation.instructions:
            assert set(one.operands) <= computation.by_name.keys()
            assert set(one.called) <= module.computations.keys()


def test_starts_and_ends_of_transfers_come_in_pairs():
    for name in ("resnet_v6e_loop", "vit_v4", "resnet_v5e"):
        opcodes = _opcodes(sample(name))
        assert opcodes["copy-start"] == opcodes["copy-done"] > 10


def test_a_product_for_a_tpu_is_a_fused_convolution():
    (fusion,) = (one for one in sample("matmul_v6e").entry.instructions if one.opcode == "fusion")
    assert fusion.shape.dims == (8192, 8192)
    assert fusion.estimated_cycles == 2977840
    assert len(fusion.operands) == 2
    assert fusion.op_name.endswith("dot_general")


@pytest.mark.parametrize(
    ("written", "cycles"),
    [("1200", 1200), ("0", 0), (str(2**63 - 1), None), ("-1", None), ("-9223372036854775808", None)],
)
def test_an_estimate_that_is_none_is_not_taken_for_one(written, cycles):
    config = f'{{"window_config":{{"estimated_cycles":"{written}"}}}}'
    module = program(f"  ROOT %a = f32[8] iota(), iota_dimension=0, backend_config={config}")
    assert module.entry.root.estimated_cycles == cycles


@pytest.mark.parametrize(
    ("costs", "seconds"),
    [
        ('{"exec_time_us":3.5,"name":""},{"exec_time_us":9,"name":"sol"}', 3.5e-6),
        ('{"exec_time_us":3700,"name":""},{"exec_time_us":0.75,"name":"indexing-cost-model"}', 0.75e-6),
        ('{"exec_time_us":9,"name":"sol"}', None),
        ("", None),
    ],
)
def test_the_estimate_for_a_gpu_is_that_of_the_model_that_fits_the_kernel(costs, seconds):
    config = f'{{"reification_cost":[{costs}]}}'
    module = program(f"  ROOT %a = f32[8] iota(), iota_dimension=0, backend_config={config}")
    assert module.entry.root.estimated_s == (None if seconds is None else pytest.approx(seconds))


def test_an_operation_without_a_remark_has_no_estimate():
    module = program("  ROOT %a = f32[8] iota(), iota_dimension=0")
    assert module.entry.root.estimated_cycles is None
    assert module.entry.root.estimated_s is None
    assert module.entry.root.backend_config == {}


def test_names_with_commas_brackets_and_quotes_are_read_whole():
    module = program(
        "  %x = f32[8] parameter(0), metadata={op_name=\"state.params[\\'a/b\\']\"}\n"
        '  ROOT %y = (f32[8], /*index=1*/f32[8]) custom-call(%x, /*index=1*/%x), custom_call_target="a, b)",'
        ' metadata={op_name="jit(step)/bd,dc->bc/dot_general" stack_frame_id=3}, '
        'backend_config={"custom_call_config":{"body":"}\\",{"}}'
    )
    x, y = module.entry.instructions
    assert x.op_name == "state.params['a/b']"
    assert y.op_name == "jit(step)/bd,dc->bc/dot_general"
    assert y.operands == ("x", "x")
    assert y.target == "a, b)"
    assert y.backend_config["custom_call_config"]["body"] == '}",{'
    assert len(y.shape.elements) == 2


def test_the_branches_of_a_conditional_are_called():
    line = "  ROOT %c = f32[] conditional(%p, %a, %b), branch_computations={%one, %two}"
    module = program(
        "  %p = s32[] parameter(0)\n  %a = f32[] parameter(1)\n  %b = f32[] parameter(2)\n" + line
    )
    assert module.entry.root.called == ("one", "two")


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("mesh['data'=4] {'data'}", 4),
        ("mesh['x'=4,'y'=2] {'y'}", 2),
        ("mesh['x'=4,'y'=2] {'x','y'}", 8),
        ("{{0,1,2,3},{4,5,6,7}}", 4),
        ("[4,2]<=[8]", 2),
        ("[2,4]<=[4,2]T(1,0)", 4),
        ("{}", 8),
    ],
)
def test_the_group_of_a_collective_is_read_in_each_notation(groups, size):
    line = f"  ROOT %r = f32[8] all-reduce(%x), channel_id=1, replica_groups={groups}, to_apply=%add"
    module = program(f"  %x = f32[8] parameter(0)\n{line}", devices=8)
    assert module.entry.root.group_size(module.devices) == size


def test_a_real_collective_takes_all_chips():
    module = sample("resnet_v6e_4_chips")
    sizes = {one.group_size(4) for one in module.entry.instructions if one.opcode == "all-reduce"}
    assert sizes == {4}


def test_operands_may_carry_their_shapes_and_names_no_percent_sign():
    module = program("  x = f32[8]{0} parameter(0)\n  ROOT y = f32[8]{0} negate(f32[8]{0} x)")
    assert module.entry.root.operands == ("x",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("module @jit_f {\n}\n", "not a compiled XLA program"),
        ("HloModule jit_f\n\n%f (a: f32[]) -> f32[] {\n  ROOT %a = f32[] parameter(0)\n}\n", "has no entry"),
        (
            "HloModule jit_f\n\nENTRY %f (a: f32[]) -> f32[] {\n  ROOT %a = f32[] parameter(0\n",
            "has no entry",
        ),
    ],
)
def test_what_is_no_whole_program_is_refused(text, problem):
    with pytest.raises(ValueError, match=problem):
        hlo.parse(text)


def test_a_damaged_line_is_named():
    module = program("  ROOT %a = f32[8] negate(%b")
    with pytest.raises(ValueError, match=r"unclosed bracket .* %a = "):
        _ = module.entry.instructions
