"""How batch normalisation takes mean and variance.

In one pass over its inputs; in two, the mean first; or in one, by sums of slices (models/batch_sums.py).
"""

from typing import Any

from trainbench.auto import Auto
from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.levers.convolution import of_resnets
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.models.batch_norm import FIRST_PASS, ONE_PASS, SECOND_PASS, SLICES, TWO_PASS
from trainbench.models.batch_sums import SCOPE


def _default(situation: Situation) -> Auto:
    if situation.platform == "cpu":
        return Auto(SLICES, "XLA for CPUs sums a channel element by element, slices in vectors")
    return Auto(ONE_PASS, "reads the activations once less than two passes")


def _prove(value: Any, program: Program) -> str:
    if value == SLICES:
        return _prove_slices(program)
    module = program.module
    found = sum(_waiting(module, computation) for computation in module.computations.values())
    if not found:
        raise NotProven(f"batch_statistics={value}, yet no sum of squares in the compiled step awaits a mean")
    return f"{found} sums of squares of the compiled step await a mean"


def _prove_slices(program: Program) -> str:
    computations = program.module.computations.values()
    slices = sum(
        one.opcode == "add" and SCOPE in one.op_name for each in computations for one in each.instructions
    )
    # What is summed over groups of samples, each with statistics of its own, is no activations.
    groups = program.situation.axes.replicas
    others = sum(
        one.shape.size * groups < each.by_name[one.operands[0]].shape.size
        for each in computations
        for one in each.instructions
        if one.opcode == "reduce" and "batch_norm/" in one.op_name and SCOPE not in one.op_name
    )
    if others or not slices:
        raise NotProven(
            f"batch_statistics={SLICES}, yet the compiled step adds {slices} slices and reduces {others} "
            "activations to channels in other ways"
        )
    return f"{slices:,} additions of slices in the compiled step, and no other sum over activations"


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
