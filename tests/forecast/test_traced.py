"""What a traced step takes for certain: products without padding, state, batch, gradients."""

import io

import jax
import jax.numpy as jnp
import pytest

from trainbench import recompose
from trainbench.errors import UserError
from trainbench.forecast.bounds import traced
from trainbench.forecast.compiler import build
from trainbench.forecast.compiler.build import CompilerFailed
from trainbench.forecast.compiler.messages import Request
from trainbench.forecast.targets import find
from trainbench.measure import flops
from trainbench.report.progress import ProgressLine

TINY = ("model=vit_tiny", "batch_size=4")
WHY = UserError("no compiler is here", allowed="one", fix="install one")


def reply(target, *overrides):
    request = Request(tree=recompose.compose(list(overrides)), target=target)
    return traced.traced(request, ProgressLine(io.StringIO()))


def demand(monkeypatch, target, *overrides):
    """What `bound` is asked about."""
    asked = []
    monkeypatch.setattr(traced.bound, "of_chips", lambda demand, target: asked.append(demand))
    reply(target, *overrides)
    return asked[0]


def counted(function, *shapes, dtype=jnp.bfloat16, count=traced.least):
    arguments = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    return flops.walk(jax.jit(function).trace(*arguments).jaxpr, count)


def conv(padding, stride=1):
    def apply(image, kernel):
        return jax.lax.conv_general_dilated(
            image, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    return apply


def test_taps_on_padding_are_no_work_that_is_certain():
    shapes = (2, 4, 4, 8), (3, 3, 8, 16)
    # Along each side 10 of 12 pairs of a place and a tap meet the image.
    assert counted(conv("SAME"), *shapes).total == 2 * 2 * 16 * 8 * 10 * 10
    assert counted(conv("SAME"), *shapes, count=flops.product).total == 2 * 2 * 16 * 8 * 12 * 12
    assert counted(conv("VALID"), *shapes).total == 2 * 2 * 16 * 8 * (2 * 3) ** 2


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_and_its_two_gradients_are_equally_much(stride):
    def training(image, kernel, cotangent):
        result, gradients = jax.vjp(conv("SAME", stride), image, kernel)
        return result, gradients(cotangent)

    shapes = (2, 8, 8, 4), (3, 3, 4, 16)
    one = counted(conv("SAME", stride), *shapes).total
    size = 8 // stride
    assert counted(training, *shapes, (2, size, size, 16)).total == 3 * one


def test_what_no_result_needs_is_no_work():
    def half_idle(left, right, unread):
        del unread
        idle = left @ right
        return left + right, idle.shape[0] * right

    arguments = [jax.ShapeDtypeStruct((4, 4), jnp.float32)] * 3
    needed, read = traced.live(jax.jit(half_idle).trace(*arguments).jaxpr)
    assert read == [True, True, False]
    assert flops.walk(needed, traced.least).total == 0


@pytest.mark.parametrize(
    ("dtypes", "precision", "kind"),
    [
        (("bfloat16", "bfloat16"), None, "bfloat16"),
        (("float32", "bfloat16"), "highest", "bfloat16"),
        (("float32", "float32"), None, "float32*1"),
        (("float32", "float32"), "tensorfloat32", "float32*3"),
        (("float32", "float32"), "highest", "float32*6"),
        (("float32", "float32"), "F32_F32_F32", "float32*1"),
    ],
)
def test_products_are_told_apart_by_what_they_run_at(dtypes, precision, kind):
    def product(left, right):
        return jax.lax.dot_general(left, right, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)

    arguments = [jax.ShapeDtypeStruct((4, 4), dtype) for dtype in dtypes]
    with jax.default_matmul_precision(precision):
        program = jax.jit(product).trace(*arguments).jaxpr
    assert flops.walk(program, traced.least).by_inputs == {kind: 2 * 4**3}


def test_state_moves_twice_and_the_batch_once(monkeypatch):
    small, large = (demand(monkeypatch, "v6e-1", "model=vit_tiny", f"batch_size={size}") for size in (4, 8))
    batch = 4 * (32 * 32 * 3 + 4)
    assert large.moved_bytes - small.moved_bytes == batch
    assert large.held_bytes - small.held_bytes == batch
    # Parameters and AdamW's two moments, in float32, beside a few scalars.
    state = 3 * 4 * 142_026
    assert 0 <= small.moved_bytes - 2 * state - batch < 100
    assert 0 <= small.held_bytes - state - batch < 100


def test_gradients_have_the_dtype_of_the_arithmetic(monkeypatch):
    assert demand(monkeypatch, "v6e-4", *TINY).gradient_bytes == 2 * 142_026
    assert demand(monkeypatch, "v6e-4", *TINY, "precision=fp32").gradient_bytes == 4 * 142_026


def test_accumulation_does_the_same_products(monkeypatch):
    whole = demand(monkeypatch, "v6e-1", "model=vit_tiny", "batch_size=8")
    parts = demand(monkeypatch, "v6e-1", "model=vit_tiny", "batch_size=8", "gradient_accumulation=4")
    assert parts.flops == whole.flops
    assert parts.moved_bytes == whole.moved_bytes


def test_several_steps_a_call_move_the_state_once(monkeypatch):
    one = demand(monkeypatch, "v6e-1", *TINY)
    ten = demand(monkeypatch, "v6e-1", *TINY, "steps_per_call=10")
    assert sum(ten.flops.values()) == 10 * sum(one.flops.values())
    assert ten.moved_bytes == one.moved_bytes
    assert ten.gradient_bytes == 10 * one.gradient_bytes


def test_the_facts_are_those_of_all_devices():
    facts = reply("v3-8", *TINY).facts
    assert (facts.workload.batch_size, facts.workload.global_batch_size) == (4, 32)
    assert (facts.hardware.device_count, facts.hardware.chip_count, facts.hardware.chip) == (8, 4, "tpu-v3")
    assert facts.program_flops == pytest.approx(8 * reply("v3-1", *TINY).facts.program_flops / 2)
    assert facts.entry == ""


def test_a_cpu_is_this_machine():
    found = reply("cpu", *TINY)
    assert found.facts.hardware.host.memory_bytes == found.bound.memory_bytes
    assert found.facts.hardware.device_kind == "cpu"


@pytest.mark.parametrize(
    ("target", "override", "words"),
    [
        ("v6e-1", "data=photos", "training step alone"),
        ("v100-1", "precision=bf16", "bfloat16 matrix units"),
        ("v6e-1", "precision=tf32", "NVIDIA GPU"),
    ],
)
def test_what_cannot_be_trained_there_is_refused(target, override, words):
    with pytest.raises(UserError, match=words):
        reply(target, *TINY, override)


def test_the_bound_comes_from_a_process_of_its_own(capfd):
    found = build.traced(recompose.compose([*TINY, "precision=fp32"]), find("v100-8"), WHY)
    assert found.bound.seconds > 0
    assert found.facts.workload.global_batch_size == 32
    assert found.why is WHY
    assert "tracing" in capfd.readouterr().err


def test_a_mistake_in_that_process_is_raised_here():
    with pytest.raises(UserError, match="bfloat16 matrix units"):
        build.traced(recompose.compose(list(TINY)), find("v100-1"), WHY)


def test_the_largest_batch_is_not_searched_without_a_compiler():
    with pytest.raises(UserError, match="found by compiling, but no compiler is here") as error:
        build.traced({"batch_size": "auto"}, find("v6e-1"), WHY)
    assert error.value.fix == "batch_size=32; or install one"


def test_a_process_that_dies_is_a_failure(monkeypatch):
    monkeypatch.setattr(build, "TRACING", "tests.forecast.fake_compiler")
    with pytest.raises(CompilerFailed, match="last words"):
        build.traced({"does": "die", "batch_size": 4}, find("v6e-1"), WHY)
