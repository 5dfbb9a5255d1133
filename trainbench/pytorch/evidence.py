"""Which attention kernels ran: what was asked for may silently be replaced by what the inputs allow."""

import os
from collections.abc import Callable, Mapping

import torch
from torch.autograd.profiler import profile

# The kernels behind scaled_dot_product_attention, by the names under which PyTorch dispatches them.
BACKENDS = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash (CPU)",
    "aten::_scaled_dot_product_efficient_attention": "memory-efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cuDNN",
    "aten::_scaled_dot_product_attention_math": "math (not fused)",
}


def attention_of(
    step: Callable[[Mapping[str, torch.Tensor]], torch.Tensor], batch: Mapping[str, torch.Tensor]
) -> str | None:
    """The kernels of one training step, by PyTorch's profiler; None where none of them ran.

    To be called after everything that is timed. Forward kernels alone are named: each has its own backward.
    """
    # The names of operations are all that is asked, and the profiler is not to talk of itself.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with profile(use_kineto=False) as seen:
        step(batch)
    counts: dict[str, int] = {}
    for event in seen.key_averages():
        if event.key in BACKENDS:
            counts[BACKENDS[event.key]] = counts.get(BACKENDS[event.key], 0) + event.count
    return ", ".join(f"{name} x {count}" for name, count in sorted(counts.items())) or None
