"""How the maximum over the windows of a ResNet's stem, and its gradient, are computed."""

from typing import Any

from trainbench.auto import Auto
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.levers.stem import of_imagenet_stems
from trainbench.models.pooling import SCOPE, SLICES, WINDOWS

# As JAX names, in the metadata of operations, the maximum over windows.
BY_WINDOWS = "reduce_window_max"


# Compiled for one TPU v5e (libtpu 0.0.43.2; one block a stage, batch 64), slices are forecast 20 % slower.
def _default(situation: Situation) -> Auto:
    if situation.platform == "cpu":
        return Auto(SLICES, "XLA for CPUs has no kernel for the gradient of a maximum over windows")
    return Auto(WINDOWS, "the compiler's own operation")


def _prove(value: Any, program: Program) -> str:
    lines = program.text.splitlines()
    by_slices, by_windows = (sum(name in line for line in lines) for name in (SCOPE, BY_WINDOWS))
    if by_windows or not by_slices:
        raise NotProven(
            f"max_pool={value}, yet {by_windows} operations of the compiled step are of windows and "
            f"{by_slices} of slices"
        )
    return f"{by_slices} operations of the compiled step are of slices, none of windows"


LEVER = Lever(
    key="max_pool",
    summary="how the maximum over windows is taken",
    plain=WINDOWS,
    values=(WINDOWS, SLICES),
    applies=of_imagenet_stems,
    default=_default,
    prove=_prove,
)
