"""How often the loops of a compiled program run.

XLA for GPUs and CPUs writes `known_trip_count` beside a loop; for TPUs it does not. There the condition of
a loop is `counter < limit`: the counter's start, its step in the body and the limit are followed to their
constants.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from trainbench.compiled.hlo import Computation, Instruction, Module

# Operations that hand a number on as it is.
_TRANSPARENT = frozenset({"copy", "bitcast", "reshape", "convert", "broadcast", "copy-start", "copy-done"})
_WHOLE_NUMBER = re.compile(r"-?\d+")
# Limits of following a number through the program; no real loop comes near.
_DEPTH = 40


@dataclass(frozen=True)
class Number:
    """`offset`, or `offset` more than what the loop carries at place `carried`."""

    offset: int
    carried: int | None = None


# What a parameter of a computation stands for.
Argument = Callable[[int], Number | None]


def trips(module: Module, caller: Computation, loop: Instruction) -> int | None:
    """How often the body of `loop`, a `while` of `caller`, runs; None where that cannot be told."""
    known = loop.backend_config.get("known_trip_count")
    if isinstance(known, dict) and "n" in known:
        return int(known["n"])
    condition = module.computations[loop.attributes["condition"].lstrip("%")]
    body = module.computations[loop.attributes["body"].lstrip("%")]
    compared = _Reader(module, condition, _nothing, carries=True).comparison()
    if compared is None:
        return None
    counter, limit, inclusive = compared
    start = _Reader(module, caller, _nothing).of_part(loop.operands[0], counter.carried or 0)
    following = _Reader(module, body, _nothing, carries=True).of_part(body.root.name, counter.carried or 0)
    last = _limit(module, caller, loop, body, limit)
    if start is None or following is None or last is None or following.carried != counter.carried:
        return None
    if start.carried is not None or following.offset <= 0:
        return None
    distance = last - counter.offset - start.offset + (1 if inclusive else 0)
    return max(0, -(-distance // following.offset))


def _limit(
    module: Module, caller: Computation, loop: Instruction, body: Computation, limit: Number
) -> int | None:
    """The limit as a number; one that the loop carries has to stay as it was before the loop."""
    if limit.carried is None:
        return limit.offset
    unchanged = _Reader(module, body, _nothing, carries=True).of_part(body.root.name, limit.carried)
    before = _Reader(module, caller, _nothing).of_part(loop.operands[0], limit.carried)
    if unchanged != Number(0, limit.carried) or before is None or before.carried is not None:
        return None
    return before.offset + limit.offset


def _nothing(parameter: int) -> Number | None:
    del parameter
    return None


@dataclass(frozen=True)
class _Reader:
    """Follows whole numbers to where they come from.

    `carries` tells that the computation's one parameter is the tuple that a loop carries.
    """

    module: Module
    computation: Computation
    argument: Argument
    carries: bool = False
    depth: int = 0

    def of(self, name: str) -> Number | None:
        """The number that the instruction yields."""
        one = self.computation.by_name.get(name)
        if one is None or self.depth > _DEPTH:
            return None
        if one.opcode == "constant":
            return Number(int(one.literal)) if _WHOLE_NUMBER.fullmatch(one.literal) else None
        if one.opcode == "parameter":
            return self.argument(int(one.literal))
        if one.opcode in _TRANSPARENT:
            return self._deeper().of(one.operands[0])
        if one.opcode == "get-tuple-element":
            return self._deeper().of_part(one.operands[0], int(one.attributes["index"]))
        if one.opcode in ("add", "subtract"):
            return _sum(self.of(one.operands[0]), self.of(one.operands[1]), one.opcode == "subtract")
        if one.opcode == "fusion":
            inner = self._inside(one)
            return inner.of(inner.computation.root.name)
        return None

    def of_part(self, name: str, index: int) -> Number | None:
        """The number at place `index` of the tuple that the instruction yields."""
        one = self.computation.by_name.get(name)
        if one is None or self.depth > _DEPTH:
            return None
        if one.opcode == "parameter":
            return Number(0, index) if self.carries else None
        if one.opcode == "tuple":
            return self._deeper().of(one.operands[index])
        if one.opcode == "fusion":
            inner = self._inside(one)
            return inner.of_part(inner.computation.root.name, index)
        return None

    def comparison(self) -> tuple[Number, Number, bool] | None:
        """What the computation's result compares: (counter, limit, whether equal still holds)."""
        return self._comparison_of(self.computation.root.name)

    def _comparison_of(self, name: str) -> tuple[Number, Number, bool] | None:
        one = self.computation.by_name[name]
        if one.opcode == "fusion":
            inner = self._inside(one)
            return inner._comparison_of(inner.computation.root.name)
        if one.opcode in _TRANSPARENT:
            return self._comparison_of(one.operands[0])
        if one.opcode != "compare":
            return None
        left, right = self.of(one.operands[0]), self.of(one.operands[1])
        direction = one.attributes.get("direction")
        if direction in ("GT", "GE"):
            left, right = right, left
        if left is None or right is None or left.carried is None or direction in ("EQ", "NE"):
            return None
        return left, right, direction in ("LE", "GE")

    def _deeper(self) -> "_Reader":
        return _Reader(self.module, self.computation, self.argument, self.carries, self.depth + 1)

    def _inside(self, fusion: Instruction) -> "_Reader":
        def argument(parameter: int) -> Number | None:
            return self._deeper().of(fusion.operands[parameter])

        fused = self.module.computations[fusion.called[0]]
        return _Reader(self.module, fused, argument, False, self.depth + 1)


def _sum(left: Number | None, right: Number | None, minus: bool) -> Number | None:
    if left is None or right is None:
        return None
    if minus:
        return None if right.carried is not None else Number(left.offset - right.offset, left.carried)
    if left.carried is not None and right.carried is not None:
        return None
    carried = right.carried if left.carried is None else left.carried
    return Number(left.offset + right.offset, carried)
