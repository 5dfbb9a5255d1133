"""How the 1x1 convolutions of a ResNet are computed: as convolutions, or as products of matrices."""

import math
from typing import TYPE_CHECKING, Any

import jax

from trainbench.auto import Auto
from trainbench.compiled.products import named_products
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.models.convolutions import CONVOLUTION, POINTWISE_DOT

if TYPE_CHECKING:
    from trainbench.config import Request


# Compiled for one TPU v5e (libtpu 0.0.43.2; one block a stage, batch 64), products are forecast 6 % slower.
_REASONS = {
    "tpu": "the compiler for TPUs estimates products as slower",
    "gpu": "cuDNN has kernels for 1x1 convolutions",
}


def of_resnets(request: "Request") -> bool:
    """Whether the model has convolutions, batch statistics and 1x1 kernels."""
    return request.model.family == "resnet"


def _default(situation: Situation) -> Auto:
    if situation.platform == "cpu":
        return Auto(POINTWISE_DOT, "XLA for CPUs has slow convolutions for the gradients of 1x1 kernels")
    return Auto(CONVOLUTION, _REASONS[situation.platform])


def _prove(value: Any, program: Program) -> str:
    kernels = sum(_is_pointwise(leaf.shape) for leaf in jax.tree.leaves(program.state.params))
    found = len(named_products(program.module, POINTWISE_DOT))
    # Each is a product and has two gradients; compilers merge some that have an operand in common.
    if found < 2 * kernels:
        raise NotProven(
            f"convolution={value}, yet the compiled step has {found} products for {kernels} 1x1 kernels"
        )
    return f"{found} products of matrices in the compiled step for {kernels} 1x1 kernels"


def _is_pointwise(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and math.prod(shape[:2]) == 1


LEVER = Lever(
    key="convolution",
    summary="how 1x1 convolutions are computed",
    plain=CONVOLUTION,
    values=(CONVOLUTION, POINTWISE_DOT),
    applies=of_resnets,
    default=_default,
    prove=_prove,
)
