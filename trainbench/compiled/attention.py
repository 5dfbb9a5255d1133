"""FLOPs of attention kernels in compiled programs; see `measure.attention_flops`."""

from trainbench.compiled.hlo import Computation, Instruction
from trainbench.compiled.shape import Shape
from trainbench.measure import attention_flops

# As the kernels are called: JAX's for TPUs like any of Pallas, cuDNN's by what they fuse.
MOSAIC, CUDNN, BACKWARD = "tpu_custom_call", "__cudnn$fmha", "Backward"


def kernel_flops(computation: Computation, call: Instruction) -> tuple[str, int] | None:
    """(dtype of the operands, FLOPs) of an attention kernel; None of any other operation."""
    if not call.target.startswith((MOSAIC, CUDNN)):
        return None
    shapes = [computation.by_name[name].shape for name in call.operands if name in computation.by_name]
    if call.target.startswith(CUDNN):
        return _of_cudnn(shapes, call)
    products = attention_flops.splash_products(call.name)
    if not products:
        return None
    query, key = attention_flops.splash_operands(shapes)
    flops = products * attention_flops.product_flops(query.dims, key.dims[-2])
    return query.dtype, flops // 2 if attention_flops.is_causal_splash(shapes) else flops


def _of_cudnn(shapes: list[Shape], call: Instruction) -> tuple[str, int] | None:
    if [len(shape.dims) for shape in shapes[:2]] != [4, 4]:
        return None
    phase = "bwd" if BACKWARD in call.target else "fwd"
    (batch, length, heads, width), keys = shapes[0].dims, shapes[1].dims[1]
    one = attention_flops.product_flops((batch, heads, length, width), keys)
    flops = attention_flops.CUDNN_PRODUCTS[phase] * one
    mask = (call.backend_config.get("cudnn_fmha_backend_config") or {}).get("mask_type", "")
    return shapes[0].dtype, flops // 2 if attention_flops.CAUSAL in mask else flops
