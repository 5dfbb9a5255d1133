"""What one operation of a compiled program has to do: multiply-adds, and bytes between core and main memory.

FLOPs count 2 for each multiply-add of a matrix product or convolution, everything else 0: the rest runs on
other units, whose time is in the compiler's own estimate. Taps of a convolution that fall on padding, or
between the elements of a dilated input, are left out as in XLA's own cost analysis; XLA for TPUs also writes
batched matrix products as such convolutions.

Bytes are those of arrays in main memory as they lie there, padded to tiles, each read or written once. Only
the part is counted of an array of which only a slice is read, or into which only a slice is written.
"""

import functools
import math
import re
from dataclasses import dataclass

import numpy as np

from trainbench.forecast.hlo import Computation, Instruction, Module
from trainbench.forecast.shape import Shape

# Passes of the matrix unit for an fp32 product at each precision: bf16, three and six bf16 products,
# https://docs.jax.dev/en/latest/jax.lax.html#jax.lax.Precision (2026-11).
PASSES = {"default": 1, "high": 3, "highest": 6}

# They move nothing: names for results, or for memory.
FREE = frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id"),
        *("replica-id", "opt-barrier", "domain", "add-dependency", "get-dimension-size"),
    }
)
# A kernel written in Pallas.
KERNEL = "tpu_custom_call"
# Custom calls that only tell the compiler something.
FREE_TARGETS = frozenset({"AllocateBuffer", "AssumeGatherIndicesInBound", "Sharding", "MarkBuffer"})

_SLICES = frozenset({"slice", "dynamic-slice", "gather"})
_DIM_LABELS = re.compile(r"(?P<input>\w+)_(?P<kernel>\w+)->(?P<output>\w+)")
_PRECISIONS = re.compile(r"operand_precision=\{([^}]*)\}")


@dataclass(frozen=True)
class Work:
    """What an operation does once.

    Attributes:
      flops: by dtype of what is multiplied ("bf16", "fp16", "fp8", "int8"), passes counted.
      bytes: read from and written to main memory.
    """

    flops: tuple[tuple[str, float], ...] = ()
    bytes: int = 0

    @property
    def total_flops(self) -> float:
        return sum(count for _, count in self.flops)


def work_of(module: Module, computation: Computation, instruction: Instruction) -> Work:
    """The work of an instruction of `computation`, loops and calls apart: what they call counts there."""
    if instruction.opcode in FREE or instruction.target in FREE_TARGETS:
        return Work()
    if instruction.opcode == "custom-call":
        stated = stated_cost(instruction)
        if stated is not None:
            return stated
    return Work(_flops(module, computation, instruction), _bytes(module, computation, instruction))


def stated_cost(call: Instruction) -> Work | None:
    """The cost that the author of a kernel stated; None where they did not."""
    cost = (call.backend_config.get("custom_call_config") or {}).get("cost_estimate")
    if not cost:
        return None
    return Work((("bf16", float(cost.get("flops", 0))),), int(cost.get("bytes_accessed", 0)))


def _flops(
    module: Module, computation: Computation, instruction: Instruction
) -> tuple[tuple[str, float], ...]:
    totals: dict[str, float] = {}
    for place, product in _products(module, computation, instruction):
        dtype, passes = _multiplied(place, product)
        count = dot_flops(place, product) if product.opcode == "dot" else convolution_flops(place, product)
        totals[dtype] = totals.get(dtype, 0.0) + passes * count
    return tuple(sorted(totals.items()))


def _products(
    module: Module, computation: Computation, instruction: Instruction
) -> list[tuple[Computation, Instruction]]:
    """The matrix products and convolutions that `instruction` is or has fused, each with where it stands."""
    if instruction.opcode in ("dot", "convolution"):
        return [(computation, instruction)]
    if instruction.opcode != "fusion":
        return []
    fused = [module.computations[name] for name in instruction.called]
    return [found for inner in fused for one in inner.instructions for found in _products(module, inner, one)]


def _multiplied(computation: Computation, product: Instruction) -> tuple[str, int]:
    """(rate that applies, passes over the matrix unit)."""
    dtype = computation.by_name[product.operands[0]].shape.dtype
    if dtype == "f16":
        return "fp16", 1
    if dtype.startswith("f8"):
        return "fp8", 1
    if dtype in ("s8", "u8", "s4", "u4"):
        return "int8", 1
    if dtype != "f32":
        return "bf16", 1
    found = _PRECISIONS.search(product.rest)
    stated = found[1].split(",") if found else ["default"]
    return "bf16", max(PASSES.get(precision.strip(), 1) for precision in stated)


def dot_flops(computation: Computation, product: Instruction) -> float:
    """2 x the result's elements x the contracted sizes."""
    left = computation.by_name[product.operands[0]].shape
    contracted = product.attributes.get("lhs_contracting_dims", "{}").strip("{}")
    sizes = [left.dims[int(dim)] for dim in contracted.split(",") if dim]
    return 2.0 * product.shape.size * math.prod(sizes)


def convolution_flops(computation: Computation, product: Instruction) -> float:
    """2 x batch x output features x input features of a group x pairs of output place and tap that meet."""
    labels = _DIM_LABELS.match(product.attributes["dim_labels"])
    assert labels is not None
    image, kernel = (computation.by_name[name].shape for name in product.operands[:2])
    batch = product.shape.dims[labels["output"].index("b")]
    features = product.shape.dims[labels["output"].index("f")]
    contracted = kernel.dims[labels["kernel"].index("i")]
    window = _window(product.attributes.get("window", "{}"))
    pairs = 1
    for place, label in enumerate(sorted(label for label in labels["output"] if label.isdigit())):
        sizes = (
            image.dims[labels["input"].index(label)],
            kernel.dims[labels["kernel"].index(label)],
            product.shape.dims[labels["output"].index(label)],
        )
        pairs *= meeting_pairs(*sizes, **{key: values[place] for key, values in window.items()})
    return 2.0 * batch * features * contracted * pairs


@functools.lru_cache(maxsize=4096)
def meeting_pairs(
    inputs: int,
    taps: int,
    outputs: int,
    *,
    stride: int = 1,
    pad: int = 0,
    lhs_dilate: int = 1,
    rhs_dilate: int = 1,
) -> int:
    """Pairs of an output place and a tap, along one dimension, that meet an element of the input.

    >>> meeting_pairs(4, 3, 4, pad=1)  # "same" padding: the outer taps fall off at both ends
    10
    """
    places = np.arange(outputs)[:, None] * stride + np.arange(taps)[None, :] * rhs_dilate - pad
    meets = (places >= 0) & (places < (inputs - 1) * lhs_dilate + 1) & (places % lhs_dilate == 0)
    return int(np.count_nonzero(meets))


def _window(text: str) -> dict[str, list[int]]:
    """The window's sizes by kind and spatial dimension; what is absent is at its default."""
    fields = dict(part.split("=") for part in text.strip("{}").split() if "=" in part)
    found: dict[str, list[int]] = {
        key: [int(value) for value in fields[key].split("x")]
        for key in ("stride", "lhs_dilate", "rhs_dilate")
        if key in fields
    }
    if "pad" in fields:
        found["pad"] = [int(pair.split("_")[0]) for pair in fields["pad"].split("x")]
    return found


def _bytes(module: Module, computation: Computation, instruction: Instruction) -> int:
    shapes = [computation.by_name[name].shape for name in instruction.operands if name in computation.by_name]
    if instruction.opcode == "fusion":
        inner = module.computations[instruction.called[0]]
        read = sum(
            _read(module, inner, parameter.name, shape)
            for parameter, shape in zip(inner.parameters, shapes, strict=False)
        )
        return read + _written(module, inner, inner.root, instruction.shape)
    if instruction.opcode in _SLICES:
        indices = sum(shape.main_memory_bytes for shape in shapes[1:])
        return indices + _part(shapes[0], instruction.shape) + instruction.shape.main_memory_bytes
    if instruction.opcode == "dynamic-update-slice":
        return shapes[1].main_memory_bytes + _part(instruction.shape, shapes[1])
    return sum(shape.main_memory_bytes for shape in shapes) + instruction.shape.main_memory_bytes


def _part(whole: Shape, part: Shape) -> int:
    """Main memory of a part of `whole` that is as large as `part`."""
    return part.bytes if whole.main_memory_bytes else 0


def _read(module: Module, inside: Computation, parameter: str, outside: Shape) -> int:
    """Bytes that a fused computation reads of the argument of one parameter."""
    whole = outside.main_memory_bytes
    if not whole:
        return 0
    parts = [_read_by(module, inside, user, parameter, outside) for user in inside.users.get(parameter, ())]
    # No user and a result at once: handed through, or overwritten in place.
    return min(whole, sum(parts))


def _read_by(module: Module, inside: Computation, user: Instruction, name: str, outside: Shape) -> int:
    if user.opcode in _SLICES and user.operands[0] == name:
        return user.shape.bytes
    if user.opcode == "dynamic-update-slice" and user.operands[0] == name:
        return 0
    if user.opcode in ("bitcast", "tuple"):
        return _read(module, inside, user.name, outside) if user.opcode == "bitcast" else 0
    if user.opcode == "fusion":
        called = module.computations[user.called[0]]
        numbers = [number for number, operand in enumerate(user.operands) if operand == name]
        return sum(_read(module, called, called.parameters[number].name, outside) for number in numbers)
    return outside.main_memory_bytes


def _written(module: Module, inside: Computation, root: Instruction, outside: Shape) -> int:
    """Bytes that a fused computation writes of the result `root`, which has the shape `outside`."""
    if root.opcode == "tuple" and outside.is_tuple:
        roots = [inside.by_name[name] for name in root.operands]
        pairs = zip(roots, outside.elements, strict=False)
        return sum(_written(module, inside, part, shape) for part, shape in pairs)
    if not outside.main_memory_bytes:
        return 0
    if root.opcode == "bitcast":
        return _written(module, inside, inside.by_name[root.operands[0]], outside)
    if root.opcode == "dynamic-update-slice":
        return inside.by_name[root.operands[1]].shape.bytes
    if root.opcode == "parameter":
        return 0
    if root.opcode == "fusion":
        called = module.computations[root.called[0]]
        return _written(module, called, called.root, outside)
    return outside.main_memory_bytes
