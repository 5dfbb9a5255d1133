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


# ResNet-50 of one block a stage, bf16, batch 64: products are forecast 6 % slower on a TPU v5e (compiled with
# libtpu 0.0.43.2), and 3 to 4 % slower on an A100 and an H100.
_REASONS = {
    "tpu": "the compiler for TPUs estimates products as slower",
    "gpu": "products are forecast as slower for A100 and H100",
}


def of_resnets(request: "Request") -> bool:
    """Whether the model has convolutions, batch statistics and 1x1 kernels."""
    return request.model.family == "resnet"


def _default(situation: Situation) -> Auto:
    if situation.platform == "cpu":
        return Auto(POINTWISE_DOT, "XLA for CPUs has slow convolutions for the gradients of 1x1 kernels")
    return Auto(CONVOLUTION, _REASONS.get(situation.platform, "as the model is written"))


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
