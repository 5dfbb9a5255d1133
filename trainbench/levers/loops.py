"""Levers that put a loop around a step, or around its parts; what each does stands where it is built.

Their loops are part of the traced program, so a compiler can only unroll them: that is told, and no fault.
"""

from typing import TYPE_CHECKING, Any

from trainbench.auto import Auto
from trainbench.compiled.trips import trips
from trainbench.levers.lever import Lever, Program, Situation

if TYPE_CHECKING:
    from trainbench.config import Request


def loop_lengths(program: Program) -> list[int | None]:
    """How often each loop of the compiled step runs; None where it cannot be told."""
    return [
        trips(program.module, computation, one)
        for computation in program.module.computations.values()
        for one in computation.instructions
        if one.opcode == "while"
    ]


def _prove_loop(value: Any, program: Program) -> str:
    if value in loop_lengths(program):
        return f"a loop of {value:,} in the compiled step"
    return f"no loop of {value:,} in the compiled step: unrolled by the compiler"


def _always(request: "Request") -> bool:
    del request
    return True


def _one(situation: Situation) -> Auto:
    del situation
    return Auto(1, "one at a time")


STEPS_PER_CALL = Lever(
    key="steps_per_call",
    summary="optimizer steps in one device call",
    plain=1,
    values=(1, 4, 10),
    applies=_always,
    default=_one,
    prove=_prove_loop,
    number=True,
    of_request=True,
)
GRADIENT_ACCUMULATION = Lever(
    key="gradient_accumulation",
    summary="micro-batches of an optimizer step",
    plain=1,
    values=(1, 2, 4),
    applies=_always,
    default=_one,
    prove=_prove_loop,
    number=True,
    of_request=True,
)
