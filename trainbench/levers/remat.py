"""What the backward pass computes again, in place of keeping it (Chen et al. 2016, arXiv:1604.06174).

The policies are `layers.REMAT_POLICIES`.
"""

from typing import TYPE_CHECKING, Any

from trainbench.auto import Auto
from trainbench.levers.lever import Lever, Program, Situation

if TYPE_CHECKING:
    from trainbench.config import Request

# As JAX names, in the metadata of operations, what a checkpointed function computes for the second time.
COMPUTED_AGAIN = "rematted_computation"


def _always(request: "Request") -> bool:
    del request
    return True


def _none(situation: Situation) -> Auto:
    del situation
    return Auto("none", "memory is spent before time is")


def _prove(value: Any, program: Program) -> str:
    again = sum(COMPUTED_AGAIN in line for line in program.text.splitlines())
    if not again:
        return f"remat={value}: nothing is computed again in the compiled step, the compiler undid it"
    return f"{again:,} operations of the compiled step are computed again"


LEVER = Lever(
    key="remat",
    summary="what the backward pass computes again to save memory",
    plain="none",
    values=("none", "dots", "full"),
    applies=_always,
    default=_none,
    prove=_prove,
    of_request=True,
)
