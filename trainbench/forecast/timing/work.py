"""What one operation of a compiled program has to do: multiply-adds, and bytes between core and main memory.

FLOPs are those of matrix products and convolutions, as `products` counts them, everything else 0: the rest
runs on other units, whose time is in the compiler's own estimate.

Bytes are those of arrays in main memory as they lie there, padded to tiles, each read or written once. Only
the part is counted of an array of which only a slice is read, or into which only a slice is written; of one
that is scattered to in place, as many elements are read and written as there are updates.
"""

from dataclasses import dataclass

from trainbench.compiled import attention, products
from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.compiled.products import Product
from trainbench.compiled.shape import Shape
from trainbench.forecast.targets import Platform

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
# Kernels whose products nothing tells, attention apart: of Pallas for TPUs, of Triton and Mosaic for GPUs.
UNTOLD = (attention.MOSAIC, attention.CUDNN, "__gpu$xla.gpu.triton", "mosaic_gpu")
# Custom calls that only tell the compiler something.
FREE_TARGETS = frozenset({"AllocateBuffer", "AssumeGatherIndicesInBound", "Sharding", "MarkBuffer"})

_SLICES = frozenset({"slice", "dynamic-slice", "gather"})


@dataclass(frozen=True)
class Work:
    """What an operation does once.

    Attributes:
      flops: by the rate that applies ("bf16", "fp16", "tf32", "fp32", "fp8", "int8"), passes counted.
      bytes: read from and written to main memory.
    """

    flops: tuple[tuple[str, float], ...] = ()
    bytes: int = 0

    @property
    def total_flops(self) -> float:
        return sum(count for _, count in self.flops)


def work_of(
    module: Module, computation: Computation, instruction: Instruction, platform: Platform = "tpu"
) -> Work:
    """The work of an instruction of `computation`, loops and calls apart: what they call counts there."""
    if instruction.opcode in FREE or instruction.target in FREE_TARGETS:
        return Work()
    if instruction.opcode == "custom-call":
        known = stated_cost(instruction) or _attention(module, computation, instruction)
        if known is not None:
            return known
    flops = _flops(module, computation, instruction, platform)
    return Work(flops, _bytes(module, computation, instruction))


def stated_cost(call: Instruction) -> Work | None:
    """The cost that the author of a kernel stated; None where they did not."""
    cost = (call.backend_config.get("custom_call_config") or {}).get("cost_estimate")
    if not cost:
        return None
    return Work((("bf16", float(cost.get("flops", 0))),), int(cost.get("bytes_accessed", 0)))


def is_untold(computation: Computation, call: Instruction) -> bool:
    """Whether nothing tells what a kernel computes: only its arguments and results can count."""
    known = stated_cost(call) or attention.kernel_flops(computation, call)
    return call.target.startswith(UNTOLD) and known is None


def _attention(module: Module, computation: Computation, call: Instruction) -> Work | None:
    """The work of an attention kernel; None of any other call."""
    found = attention.kernel_flops(computation, call)
    if found is None:
        return None
    rate = {"bf16": "bf16", "f16": "fp16"}.get(found[0], "fp32")
    return Work(((rate, float(found[1])),), _bytes(module, computation, call))


def _flops(
    module: Module, computation: Computation, instruction: Instruction, platform: Platform
) -> tuple[tuple[str, float], ...]:
    totals: dict[str, float] = {}
    for product in _products(module, computation, instruction):
        rate, passes = _multiplied(product, platform)
        totals[rate] = totals.get(rate, 0.0) + passes * product.flops
    return tuple(sorted(totals.items()))


def _products(module: Module, computation: Computation, instruction: Instruction) -> list[Product]:
    """The matrix products and convolutions that `instruction` is or has fused."""
    product = products.product_of(computation, instruction)
    if product is not None:
        return [product]
    if instruction.opcode != "fusion":
        return []
    fused = [module.computations[name] for name in instruction.called]
    return [found for inner in fused for one in inner.instructions for found in _products(module, inner, one)]


def _multiplied(product: Product, platform: Platform) -> tuple[str, int]:
    """(rate that applies, passes over the matrix unit).

    A TPU multiplies float32 as one or more products of bfloat16. An NVIDIA GPU does so in TF32, unless the
    highest precision is asked for: https://docs.jax.dev/en/latest/jax.lax.html#jax.lax.Precision (2026-11).
    """
    dtype = product.dtype
    if dtype == "f16":
        return "fp16", 1
    if dtype.startswith("f8"):
        return "fp8", 1
    if dtype in ("s8", "u8", "s4", "u4"):
        return "int8", 1
    if dtype != "f32":
        return "bf16", 1
    if platform == "gpu":
        return "fp32" if "highest" in product.precision else "tf32", 1
    return "bf16", max((PASSES.get(precision, 1) for precision in product.precision), default=1)


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
    if instruction.opcode == "scatter" and not instruction.shape.is_tuple:
        updated = min(instruction.shape.main_memory_bytes, _updated(computation, instruction))
        return sum(shape.main_memory_bytes for shape in shapes[1:]) + 2 * updated
    result = products.result_of(instruction) if products.is_library_call(instruction) else instruction.shape
    return sum(shape.main_memory_bytes for shape in shapes) + result.main_memory_bytes


def _part(whole: Shape, part: Shape) -> int:
    """Main memory of a part of `whole` that is as large as `part`."""
    return part.bytes if whole.main_memory_bytes else 0


def _updated(computation: Computation, scatter: Instruction) -> int:
    """Bytes of what a scatter changes; its operands are arrays, the places, and as many arrays of updates."""
    updates = scatter.operands[len(scatter.operands) // 2 + 1 :]
    return sum(computation.by_name[name].shape.bytes for name in updates)


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
    if user.opcode == "scatter" and user.operands[0] == name:
        return _updated(inside, user)
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
    if root.opcode == "scatter":
        return min(outside.main_memory_bytes, _updated(inside, root))
    if root.opcode == "parameter":
        return 0
    if root.opcode == "fusion":
        called = module.computations[root.called[0]]
        return _written(module, called, called.root, outside)
    return outside.main_memory_bytes
