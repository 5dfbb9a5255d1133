"""FLOPs of a traced program, counted from its jaxpr.

Counts what the program says, before XLA: dots, convolutions and attention kernels only (everything else is at
most a few per cent of a training step and has no agreed count), 2 per multiply-add, padded taps included as
text books do, loop bodies times their trip count. `Compiled.cost_analysis()` differs in each of these (see
JAX's docs on ahead-of-time lowering: it describes the compiled program, loop bodies once).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.extend import core

from trainbench.measure import attention_flops

# Primitives outside jax.lax that hold no dot.
_RANDOM = ("random_bits", "random_seed", "random_wrap", "random_unwrap", "random_fold_in", "random_split")
_SHARDING = ("pvary", "pcast", "mesh_cast", "reshard", "layout_constraint", "psum_invariant")
_BOOKKEEPING = ("add_any", "name", "debug_callback", "debug_print", "threefry2x32", "random_gamma")
_REFERENCES = ("get", "swap", "addupdate", "new_ref", "ref", "freeze", "empty2")
_FREE = frozenset(_RANDOM + _SHARDING + _BOOKKEEPING + _REFERENCES)

# Primitives whose jaxpr parameters don't say how often they run (a kernel's grid, a solver's iterations).
_OPAQUE = frozenset(["pallas_call", "linear_solve", "custom_linear_solve", "custom_root", "run_state"])

# In jax.lax, but real work that is not a dot or a convolution.
_UNCOUNTED = frozenset(["fft"])

_LAX = frozenset(getattr(jax.lax, name).name for name in dir(jax.lax) if name.endswith("_p"))


@dataclass(frozen=True)
class FlopCount:
    """FLOPs of one execution of a program over all its devices.

    `by_inputs` maps the dtypes of the two operands, joined by "*" in alphabetical order when they differ, to
    FLOPs. `unseen` counts equations that hide work from the walk (kernels, foreign calls, solvers) by
    primitive; `unknown_loops` counts `while` loops, whose body is counted once because the jaxpr does not
    say how often it runs. Where either is not empty the total is a lower bound.
    """

    by_inputs: Counter[str] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)
    unknown_loops: int = 0

    @property
    def total(self) -> int:
        """All dot and convolution FLOPs."""
        return sum(self.by_inputs.values())

    @property
    def complete(self) -> bool:
        """Whether nothing hides work from the count."""
        return not self.unseen and self.unknown_loops == 0

    def share(self, dtype: str) -> float:
        """Share of the FLOPs with both operands of `dtype` ("bfloat16"); nan when there are no FLOPs."""
        return self.by_inputs[dtype] / self.total if self.total else math.nan

    def __add__(self, other: "FlopCount") -> "FlopCount":
        return FlopCount(
            self.by_inputs + other.by_inputs,
            self.unseen + other.unseen,
            self.unknown_loops + other.unknown_loops,
        )

    def times(self, factor: int) -> "FlopCount":
        """The count of `factor` executions; what is unseen stays listed once."""
        scaled = Counter({name: flops * factor for name, flops in self.by_inputs.items()})
        return FlopCount(scaled, self.unseen, self.unknown_loops)


# What one `dot_general` or `conv_general_dilated` equation counts.
Count = Callable[[core.JaxprEqn], FlopCount]


def product(equation: core.JaxprEqn) -> FlopCount:
    """The FLOPs of a product, as text books count them, by the dtypes of its operands."""
    flops = dot_flops(equation) if equation.primitive.name == "dot_general" else conv_flops(equation)
    names = {str(_aval(operand).dtype) for operand in equation.invars[:2]}
    return FlopCount(Counter({"*".join(sorted(names)): flops}))


def walk(closed_jaxpr: core.ClosedJaxpr, count: Count = product) -> FlopCount:
    """FLOPs of `jax.jit(f).trace(*args).jaxpr`, following every nested jaxpr.

    scan counts length times, cond its most expensive branch, while once (flagged), shard_map once per device
    of its manual axes (its inner shapes are per device), remat as often as it appears: a differentiated
    program contains the recomputation as equations of its own.
    """
    return _walk(closed_jaxpr.jaxpr, count)


def _walk(jaxpr: core.Jaxpr, count: Count) -> FlopCount:
    total = FlopCount()
    for equation in jaxpr.eqns:
        total += _equation(equation, count)
    return total


def _equation(equation: core.JaxprEqn, count: Count) -> FlopCount:
    name, params = equation.primitive.name, equation.params
    kernel = attention_flops.of_equation(equation)
    if kernel is not None:
        return FlopCount(Counter(dict([kernel])))
    if name in _OPAQUE or name in _UNCOUNTED:
        return FlopCount(unseen=Counter([name]))
    match name:
        case "dot_general" | "conv_general_dilated":
            return count(equation)
        case "scan":
            return _nested(params, count).times(params["length"])
        case "while":
            return _nested(params, count) + FlopCount(unknown_loops=1)
        case "cond":
            branches = (_walk(branch, count) for branch in _jaxprs(params))
            return max(branches, key=_total, default=FlopCount())
        case "shard_map":
            return _nested(params, count).times(_manual_devices(params))
    if any(True for _ in _jaxprs(params)):
        return _nested(params, count)
    hidden = name not in _LAX and name not in _FREE
    return FlopCount(unseen=Counter([name])) if hidden else FlopCount()


def _total(count: FlopCount) -> int:
    return count.total


def _nested(params: dict[str, Any], count: Count) -> FlopCount:
    return sum((_walk(jaxpr, count) for jaxpr in _jaxprs(params)), FlopCount())


def _jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """Every jaxpr among the parameters of an equation, directly or in a tuple."""
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            # Open first: from jax 0.12 the closed type is the open one.
            if isinstance(item, core.Jaxpr):
                yield item
            elif isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr


def _manual_devices(params: dict[str, Any]) -> int:
    sizes = params["mesh"].shape
    return math.prod(sizes[axis] for axis in params["newly_manual_axes"])


def _aval(operand: Any) -> Any:
    """Shape and dtype of an operand; untyped because JAX's abstract values have no common typed base."""
    return operand.aval


def dot_flops(equation: core.JaxprEqn) -> int:
    """2 x elements of the output x length of the contraction, for a `dot_general` equation."""
    (contracting, _), _ = equation.params["dimension_numbers"]
    left = _aval(equation.invars[0]).shape
    return 2 * math.prod(_aval(equation.outvars[0]).shape) * math.prod(left[axis] for axis in contracting)


def conv_flops(equation: core.JaxprEqn) -> int:
    """2 x output positions x taps x input features per group, for a `conv_general_dilated` equation.

    Along a dimension with `lhs_dilation` (the data gradient of a strided convolution, or a transposed
    convolution) zeros are inserted between the inputs; multiplying by them is no work. There each input
    meets each tap once, so positions of the undilated input are counted in place of output positions. A
    strided convolution and its two gradients then have equal counts, also where the stride does not divide
    the size. Feature groups are in the kernel's input dimension, batch groups in the output's batch.

    Known error: JAX pads the data gradient of an unpadded convolution, and those taps count as any padding
    (+31 % of that gradient for 3x3 on 16x16; nothing for "SAME", for strides equal to the kernel, or 1x1).
    """
    numbers = equation.params["dimension_numbers"]
    left, right = (_aval(operand).shape for operand in equation.invars[:2])
    out = _aval(equation.outvars[0]).shape
    out_batch, out_features, *out_space = numbers.out_spec
    _, kernel_inputs, *kernel_space = numbers.rhs_spec
    positions = [
        left[left_axis] if dilation > 1 else out[out_axis]
        for left_axis, out_axis, dilation in zip(
            numbers.lhs_spec[2:], out_space, equation.params["lhs_dilation"], strict=True
        )
    ]
    taps = math.prod(right[axis] for axis in kernel_space)
    return 2 * out[out_batch] * out[out_features] * math.prod(positions) * taps * right[kernel_inputs]
