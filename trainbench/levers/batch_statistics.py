"""Whether batch normalisation reads its inputs once for mean and variance, or first for the one, then the other."""

from typing import Any

from trainbench.auto import Auto
from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.levers.convolution import of_resnets
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.models.layers import FIRST_PASS, ONE_PASS, SECOND_PASS, SLICES, TWO_PASS


def _default(situation: Situation) -> Auto:
    del situation
    return Auto(ONE_PASS, "reads the activations once less")


def _prove(value: Any, program: Program) -> str:
    module = program.module
    found = sum(_waiting(module, computation) for computation in module.computations.values())
    if not found:
        raise NotProven(f"batch_statistics={value}, yet no sum of squares in the compiled step awaits a mean")
    return f"{found} sums of squares of the compiled step await a mean"


def _waiting(module: Module, computation: Computation) -> int:
    """How many reductions for the variance take, over any number of operations, one for the mean."""
    behind: set[str] = set()
    found = 0
    for one in computation.instructions:
        is_behind = any(operand in behind for operand in one.operands)
        if is_behind or _reduces(module, one, FIRST_PASS):
            behind.add(one.name)
        found += is_behind and _reduces(module, one, SECOND_PASS)
    return found


def _reduces(module: Module, one: Instruction, scope: str) -> bool:
    """Whether this is, or calls, a reduction that the traced program names so."""
    inner = (part for name in one.called for part in module.computations[name].instructions)
    return any(
        part.opcode == "reduce" and f"/{scope}/" in part.op_name and "transpose(" not in part.op_name
        for part in (one, *inner)
    )


LEVER = Lever(
    key="batch_statistics",
    summary="how batch normalisation takes mean and variance",
    plain=ONE_PASS,
    values=(ONE_PASS, TWO_PASS, SLICES),
    applies=of_resnets,
    default=_default,
    prove=_prove,
)
