"""FLOPs of matrix products and convolutions: XLA's own, and those that cuBLAS and cuDNN are called for.

FLOPs count 2 for each multiply-add. Taps of a convolution that fall on padding, or between the elements of a
dilated input, are left out as in XLA's own cost analysis; XLA for TPUs also writes batched matrix products as
such convolutions.
"""

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.compiled.shape import Shape

# cuBLAS and cuBLASLt, as "__cublas$gemm" and "__cublas$lt$matmul".
MATRIX_CALL = "__cublas$"
# cuDNN's convolutions. Window and dimensions are those of the forward convolution in all of them.
CONVOLUTION_CALL = "__cudnn$conv"
_TO_INPUT, _TO_KERNEL = "__cudnn$convBackwardInput", "__cudnn$convBackwardFilter"

_DIM_LABELS = re.compile(r"(?P<input>\w+)_(?P<kernel>\w+)->(?P<output>\w+)")
_PRECISIONS = re.compile(r"operand_precision=\{([^}]*)\}")


@dataclass(frozen=True)
class Product:
    """What is multiplied (`dtype` as XLA names it), how precisely (empty: "default"), and how much."""

    dtype: str
    precision: frozenset[str]
    flops: float


def product_of(computation: Computation, one: Instruction) -> Product | None:
    """The product that an instruction of `computation` is; None for all others, fusions among them."""
    if one.opcode == "dot":
        flops = dot_flops(computation, one)
    elif one.opcode == "convolution":
        flops = convolution_flops(one, *_operands(computation, one), one.shape)
    elif is_library_call(one):
        return _library_call(computation, one)
    else:
        return None
    return Product(_operands(computation, one)[0].dtype, _precision(one), flops)


def named_products(module: Module, scope: str) -> list[Instruction]:
    """The products, wherever they are in the program, that a `jax.named_scope` of this name encloses."""
    return [
        one
        for computation in module.computations.values()
        for one in computation.instructions
        if (one.opcode in ("dot", "convolution") or is_library_call(one)) and scope in one.op_name
    ]


def is_library_call(one: Instruction) -> bool:
    """Whether this calls cuBLAS or cuDNN for a product."""
    return one.target.startswith((MATRIX_CALL, CONVOLUTION_CALL))


def result_of(call: Instruction) -> Shape:
    """The product that a library call yields; beside it lies the library's own scratch memory."""
    return call.shape.elements[0] if call.shape.is_tuple else call.shape


def dot_flops(computation: Computation, product: Instruction) -> float:
    """2 x the result's elements x the contracted sizes."""
    contracted = product.attributes.get("lhs_contracting_dims", "{}").strip("{}")
    dims = [int(dim) for dim in contracted.split(",") if dim]
    return _contracted(product.shape, _operands(computation, product)[0], dims)


def _contracted(result: Shape, left: Shape, dims: Sequence[int]) -> float:
    return 2.0 * result.size * math.prod(left.dims[dim] for dim in dims)


def convolution_flops(one: Instruction, image: Shape, kernel: Shape, output: Shape) -> float:
    """2 x batch x output features x input features of a group x pairs of output place and tap that meet."""
    labels = _DIM_LABELS.match(one.attributes["dim_labels"])
    assert labels is not None
    batch = output.dims[labels["output"].index("b")]
    features = output.dims[labels["output"].index("f")]
    contracted = kernel.dims[labels["kernel"].index("i")]
    window = _window(one.attributes.get("window", "{}"))
    pairs = 1
    for place, label in enumerate(sorted(label for label in labels["output"] if label.isdigit())):
        sizes = (
            image.dims[labels["input"].index(label)],
            kernel.dims[labels["kernel"].index(label)],
            output.dims[labels["output"].index(label)],
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


def _library_call(computation: Computation, call: Instruction) -> Product:
    first, second = _operands(computation, call)
    if call.target.startswith(MATRIX_CALL):
        config = call.backend_config["gemm_backend_config"]
        dims = [int(dim) for dim in config["dot_dimension_numbers"]["lhs_contracting_dimensions"]]
        stated = config.get("precision_config", {}).get("operand_precision", [])
        precision = frozenset(str(each).lower() for each in stated)
        return Product(first.dtype, precision, _contracted(result_of(call), first, dims))
    shapes = (first, second, result_of(call))
    if call.target == _TO_INPUT:
        shapes = (result_of(call), second, first)
    elif call.target == _TO_KERNEL:
        shapes = (first, result_of(call), second)
    return Product(first.dtype, _precision(call), convolution_flops(call, *shapes))


def _operands(computation: Computation, one: Instruction) -> tuple[Shape, Shape]:
    left, right = (computation.by_name[name].shape for name in one.operands[:2])
    return left, right


def _precision(one: Instruction) -> frozenset[str]:
    """What the operands ask for; empty where nothing is said, which is the default."""
    found = _PRECISIONS.search(one.rest)
    return frozenset(part.strip() for part in found[1].split(",")) if found else frozenset()


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
