"""Rows added to tables of tokens, up to a multiple; `models.vocabulary` says what becomes of them.

It is no condition that comparisons name: the model and its loss are the same, and published runs do it
themselves (nanoGPT and llm.c: 50,304 rows for GPT-2's 50,257 tokens).
"""

from math import lcm
from typing import TYPE_CHECKING, Any

from trainbench.auto import Auto
from trainbench.levers.lever import Lever, NotProven, Program, Situation
from trainbench.models.vocabulary import added_rows

if TYPE_CHECKING:
    from trainbench.config import Request

# What nanoGPT and llm.c round up to; the lanes of a TPU's vector unit, and a whole number of the tiles that
# NVIDIA's tensor cores multiply.
USUAL = 128


def _vocabulary(request: "Request") -> int | None:
    return getattr(request.model.architecture, "vocabulary", None)


def _applies(request: "Request") -> bool:
    return _vocabulary(request) is not None


def _default(situation: Situation) -> Auto:
    vocabulary, axes = _vocabulary(situation.request), situation.axes
    assert vocabulary is not None
    parts = axes.fsdp * axes.tensor
    if vocabulary % parts:
        return Auto(lcm(USUAL, parts), f"{vocabulary:,} tokens cannot be split over {parts} devices")
    if situation.platform == "gpu" and vocabulary % USUAL:
        return Auto(USUAL, f"tensor cores multiply tiles, which {vocabulary:,} tokens do not fill")
    if situation.platform == "tpu":
        return Auto(1, "XLA for TPUs pads all arrays to its tiles")
    return Auto(1, "nothing to gain")


def _prove(value: Any, program: Program) -> str:
    vocabulary = _vocabulary(program.situation.request)
    assert vocabulary is not None
    rows = -(-vocabulary // value) * value
    if rows == vocabulary:
        return f"{vocabulary:,} tokens are a multiple of {value} already"
    padded = {path: array for path, array in program.state.params.items() if rows in array.shape}
    taken = {one.shape.dims for one in program.module.entry.parameters}
    missing = [path for path, array in padded.items() if _on_one_device(array) not in taken]
    if not added_rows(padded, vocabulary) or missing:
        raise NotProven(f"vocabulary_multiple={value}, yet the compiled step takes no table of {rows:,} rows")
    return f"{', '.join(padded)}: {rows:,} rows in the compiled step"


def _on_one_device(array: Any) -> tuple[int, ...]:
    return tuple(array.sharding.shard_shape(array.shape))


LEVER = Lever(
    key="vocabulary_multiple",
    summary="what the rows of token tables are rounded up to",
    plain=1,
    values=(1, USUAL),
    applies=_applies,
    default=_default,
    prove=_prove,
    number=True,
)
