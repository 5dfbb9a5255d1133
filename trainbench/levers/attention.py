"""What computes attention in training; `models.attention.attend` says how each does.

Plain XLA operations write all logits to memory and read them again. cuDNN's fused kernels (NVIDIA) and the
kernel that JAX calls splash attention (TPU) keep them on the chip, in both passes (Dao et al. 2022,
arXiv:2205.14135). Neither drops probabilities.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from trainbench import models
from trainbench.auto import Auto
from trainbench.compiled.attention import BACKWARD, MOSAIC
from trainbench.compiled.attention import CUDNN as FUSED
from trainbench.compiled.hlo import Instruction
from trainbench.data.span_lengths import target_length
from trainbench.errors import UserError
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.measure.attention_flops import splash_phase
from trainbench.models.attention import Calls
from trainbench.models.blocks import is_stacked

if TYPE_CHECKING:
    from trainbench.config import Request

XLA, CUDNN, SPLASH = "xla", "cudnn", "splash"

# From how many tokens on a kernel is the default. Below, the logits of a batch are small beside its other
# activations. Neither number is measured here.
LEAST_FOR_CUDNN = 128
LEAST_FOR_SPLASH = 2048

# As JAX checks them (jax/_src/cudnn/fused_attention_stablehlo.py, check_is_flash_attention): the first NVIDIA
# generation with fused attention (Ampere), widest heads there, and from Hopper on.
AMPERE, HOPPER = 8.0, 9.0
WIDEST_ON_AMPERE, WIDEST_ON_HOPPER = 128, 256


def calls(request: "Request") -> tuple[Calls, ...]:
    """The calls of attention in a forward pass of the requested model; empty where there is none."""
    model = request.model
    if model.image_size is not None:
        size = {"image_size": model.image_size}
    else:
        assert model.sequence_length is not None
        size = {"sequence_length": model.sequence_length}
        if model.task == "span_corruption":
            size["target_length"] = target_length(model.sequence_length)
    found: tuple[Calls, ...] = models.FAMILIES[model.family].attention_calls(model.architecture, **size)
    return found


def _applies(request: "Request") -> bool:
    return bool(calls(request))


def _default(situation: Situation) -> Auto:
    kernel, least = {"gpu": (CUDNN, LEAST_FOR_CUDNN), "tpu": (SPLASH, LEAST_FOR_SPLASH)}.get(
        situation.platform, (None, 0)
    )
    if kernel is None:
        return Auto(XLA, "there are no kernels for a CPU")
    obstacle = _obstacle(kernel, situation)
    if obstacle is not None:
        return Auto(XLA, f"{kernel} {obstacle[0]}")
    tokens = min(min(one.length, one.keys) for one in calls(situation.request))
    if tokens < least:
        return Auto(XLA, f"{tokens:,} tokens make few logits")
    return Auto(kernel, f"keeps the logits of {tokens:,} tokens out of memory")


def _obstacle(value: str, situation: Situation) -> tuple[str, str] | None:
    """(why a kernel cannot be had, what to type instead); None where it can."""
    obstacle = (_obstacle_to_cudnn if value == CUDNN else _obstacle_to_splash)(situation)
    if obstacle is None and any(one.dropout_rate for one in calls(situation.request)):
        rate = situation.request.model.architecture.dropout_rate
        why = f"drops no attention probabilities, and this model drops {rate:g} of them"
        return why, f"attention={value} model.architecture.dropout_rate=0"
    return obstacle


def _obstacle_to_cudnn(situation: Situation) -> tuple[str, str] | None:
    capability = situation.compute_capability
    if situation.platform != "gpu" or capability is None or capability < AMPERE:
        return "needs an NVIDIA GPU of the Ampere generation or later", "attention=xla"
    dtype = jnp.dtype(situation.request.precision.compute_dtype)
    if dtype not in (jnp.bfloat16, jnp.float16):
        return f"takes 16-bit numbers, no {dtype}", "attention=cudnn precision=bf16"
    widest = WIDEST_ON_HOPPER if capability >= HOPPER else WIDEST_ON_AMPERE
    for one in calls(situation.request):
        if one.head_width > widest or one.head_width % 8:
            return (
                f"takes heads of up to {widest} features, by eights; here {one.head_width}",
                "attention=xla",
            )
    return None


def _obstacle_to_splash(situation: Situation) -> tuple[str, str] | None:
    if situation.platform != "tpu":
        return "needs a TPU", "attention=xla"
    if any(one.biased for one in calls(situation.request)):
        return "adds no bias to the logits, and this model's positions are one", "attention=xla"
    return None


def _check(value: Any, situation: Situation) -> None:
    obstacle = None if value == XLA else _obstacle(value, situation)
    if obstacle is not None:
        why, fix = obstacle
        raise UserError(f"attention={value} {why}", allowed="attention=xla, or default", fix=fix)


def _prove(value: Any, program: Program) -> str:
    found = calls(program.situation.request)
    # In a loop over blocks each call stands once.
    scanned = any(map(is_stacked, program.state.params))
    expected = len(found) if scanned else sum(one.count for one in found)
    forward, backward = (_cudnn_kernels if value == CUDNN else _splash_kernels)(program)
    if min(forward, backward) < expected:
        raise NotProven(
            f"attention={value}, yet the compiled step has {forward} such kernels forward and {backward} "
            f"backward, {expected} of each expected"
        )
    return f"{forward} {value} kernels forward and {backward} backward in the compiled step"


def _cudnn_kernels(program: Program) -> tuple[int, int]:
    """(forward, backward) calls."""
    targets = [one.target for one in _instructions(program) if one.target.startswith(FUSED)]
    backward = sum(BACKWARD in target for target in targets)
    return len(targets) - backward, backward


def _splash_kernels(program: Program) -> tuple[int, int]:
    """(forward, backward) calls; backward one for queries and one for keys and values make a whole."""
    names = [one.name for one in _instructions(program) if one.target == MOSAIC]
    found = Counter(splash_phase(name) for name in names)
    return found["fwd"], min(found["dq"], found["dkv"])


def _instructions(program: Program) -> Iterator[Instruction]:
    for computation in program.module.computations.values():
        yield from computation.instructions


LEVER = Lever(
    key="attention",
    summary="what computes attention",
    plain=XLA,
    values=(XLA, CUDNN, SPLASH),
    applies=_applies,
    default=_default,
    prove=_prove,
    check=_check,
)
