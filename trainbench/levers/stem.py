"""How a ResNet's first convolution, 7x7 of stride 2 on three channels, is computed.

Model FLOPs stay those of the 7x7 kernel; the other way multiplies a third more, a row and a column of zeros.
"""

from typing import TYPE_CHECKING, Any

from trainbench.auto import Auto
from trainbench.compiled.products import named_products
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.models.convolutions import CONVOLUTION, SPACE_TO_DEPTH

if TYPE_CHECKING:
    from trainbench.config import Request


def of_imagenet_stems(request: "Request") -> bool:
    """Whether the model begins with a 7x7 convolution of stride 2 and a max-pool."""
    return getattr(request.model.architecture, "stem", None) == "imagenet"


# Compiled for one TPU v5e (libtpu 0.0.43.2, one block a stage, batch 64), the other is forecast 2 % slower.
def _default(situation: Situation) -> Auto:
    if situation.platform == "tpu":
        return Auto(CONVOLUTION, "the compiler for TPUs estimates space_to_depth as no faster")
    return Auto(CONVOLUTION, "as the model is written")


def _prove(value: Any, program: Program) -> str:
    named = named_products(program.module, SPACE_TO_DEPTH)
    found = sum("size=4x4" in one.attributes.get("window", "") for one in named)
    if not found:
        raise NotProven(f"stem={value}, yet no convolution of the compiled step has its 4x4 window")
    return "the first convolution of the compiled step has a 4x4 window"


LEVER = Lever(
    key="stem",
    summary="how the first convolution, 7x7 of stride 2, is computed",
    plain=CONVOLUTION,
    values=(CONVOLUTION, SPACE_TO_DEPTH),
    applies=of_imagenet_stems,
    default=_default,
    prove=_prove,
)
