"""Whether like blocks are written out, or are one block in a loop; `models.blocks` says what that changes."""

from typing import TYPE_CHECKING, Any

from trainbench import models
from trainbench.auto import Auto
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.levers.loops import loop_lengths
from trainbench.models.blocks import SCANNED, is_stacked

if TYPE_CHECKING:
    from trainbench.config import Request

UNROLLED = "unrolled"
# From how many blocks on a loop is the default. Deeper models are larger than any that is scored here.
LEAST_DEPTH = 64


def _depth(request: "Request") -> int:
    """Blocks one after the other that are alike; 1 where nothing can be a loop."""
    has_blocks = models.FAMILIES[request.model.family].LIKE_BLOCKS
    return int(request.model.architecture.depth) if has_blocks else 1


def _applies(request: "Request") -> bool:
    return _depth(request) > 1


def _default(situation: Situation) -> Auto:
    depth = _depth(situation.request)
    if depth >= LEAST_DEPTH:
        return Auto(SCANNED, f"{depth} blocks written out would take very long to compile")
    return Auto(UNROLLED, "the compiler sees all blocks, and moves nothing in and out of stacks of them")


def _prove(value: Any, program: Program) -> str:
    request = program.situation.request
    depth, lengths = _depth(request), loop_lengths(program)
    # One loop forward and one backward for each stack; other loops may happen to be as long.
    stacks = len({path.partition("blocks/")[0] for path in program.state.params if is_stacked(path)})
    others = (request.steps_per_call, request.gradient_accumulation).count(depth)
    found = lengths.count(depth) - others
    expected = 2 * max(stacks, 1)
    if found < expected:
        raise NotProven(
            f"layers={value}, yet {found} loops of {depth} blocks are in the compiled step, "
            f"{expected} expected"
        )
    return f"{found} loops over {depth} blocks in the compiled step"


LEVER = Lever(
    key="layers",
    summary="like blocks written out, or as a loop",
    plain=UNROLLED,
    values=(UNROLLED, SCANNED),
    applies=_applies,
    default=_default,
    prove=_prove,
)
