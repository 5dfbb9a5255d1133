"""FLOPs of attention kernels, whose products no program shows.

Forward, a kernel makes two products of [T, H] and [S, H] (logits, weighted sum). Backward it computes the
logits again and makes four more; JAX's kernels for TPUs share these out over two calls, both of which need
the logits and the gradient of the probabilities. Under a causal mask a kernel leaves out what is masked, by
blocks: half is counted. Plain operations compute all of it, and count all of it.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

from jax.extend import core

# Products that each kernel makes; JAX's names (splash_attention_kernel.get_kernel_name, cuDNN's primitives).
_SPLASH_PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}
CUDNN_PRODUCTS = {"fwd": 2, "bwd": 5}
_CUDNN = {f"dot_product_attention_{phase}_wrapper": count for phase, count in CUDNN_PRODUCTS.items()}
CAUSAL = "CAUSAL"


def splash_phase(name: str) -> str | None:
    """What the TPU kernel of this name does: "fwd", "dq" or "dkv"; None of any other.

    >>> splash_phase("splash_mha_fwd_segmented_residuals.3")
    'fwd'
    """
    words = name.split("_")
    known = len(words) > 2 and words[0] == "splash" and words[2] in _SPLASH_PRODUCTS
    return words[2] if known else None


def splash_products(name: str) -> int:
    """Products of the TPU kernel of this name; 0 of any other."""
    return _SPLASH_PRODUCTS.get(splash_phase(name) or "", 0)


def of_equation(equation: core.JaxprEqn) -> tuple[str, int] | None:
    """(dtype of the operands, FLOPs) of an attention kernel; None of any other equation."""
    primitive, params = equation.primitive.name, equation.params
    arrays: list[Any] = [variable.aval for variable in equation.invars]
    if primitive in _CUDNN:
        query, key = arrays[:2]
        batch, length, heads, width = query.shape
        flops = _CUDNN[primitive] * product_flops((batch, heads, length, width), key.shape[1])
        return str(query.dtype), flops // 2 if CAUSAL in params["mask_type"].name else flops
    if primitive != "pallas_call":
        return None
    products = splash_products(str(params.get("name") or ""))
    if not products:
        return None
    query, key = splash_operands(arrays)
    flops = products * product_flops(query.shape, key.shape[-2])
    return str(query.dtype), flops // 2 if is_causal_splash(arrays) else flops


def splash_operands(arrays: Sequence[Any]) -> tuple[Any, Any]:
    """Queries [B, N, T, H] and keys [B, K, S, H] among what a TPU kernel is called with."""
    query, key = [array for array in arrays if str(array.dtype).startswith(("bf", "f"))][:2]
    return query, key


def is_causal_splash(arrays: Sequence[Any]) -> bool:
    """Whether a TPU kernel computes a mask: the positions of queries then come last, without a batch."""
    return str(arrays[-1].dtype) in ("int32", "s32") and _ndim(arrays[-1]) == 2


def _ndim(array: Any) -> int:
    return len(array.shape if hasattr(array, "shape") else array.dims)


def product_flops(query: Sequence[int], keys: int) -> int:
    """FLOPs of the product of queries [..., T, H] with so many keys.

    >>> product_flops((2, 3, 8, 4), 16)
    6144
    """
    return 2 * prod(query) * keys
