"""What devices have to send each other in an optimizer step, from sizes and places of the parameters alone.

By a ring, as `compiled.collectives` counts what a compiled program sends:

- a parameter that all n devices hold: its gradient is summed over them, 2 (n-1)/n of its bytes;
- one that is split over s devices: it is gathered for the forward pass and again for the backward pass,
  (s-1)/s of its bytes each, and its gradient is summed where each part lies, (s-1)/s more (ZeRO stage 3,
  Rajbhandari et al. 2020, https://arxiv.org/abs/1910.02054). Where n/s groups split it alike, each device
  then sums its part over them.

Left out, being no sizes of parameters: the loss (4 bytes), and the batch statistics of synchronised batch
normalisation. A compiler may send more than this: see docs/communication.md.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from trainbench.compiled.collectives import ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER
from trainbench.training.parallel import TENSOR

_CPU_BYTES = 4


@dataclass(frozen=True)
class ElementBytes:
    """Of one element on its way: of a parameter that is gathered, and of a gradient that is reduced."""

    gathered: int
    reduced: int


def element_bytes(platform: str, param_dtype: Any, compute_dtype: Any, micro_batches: int) -> ElementBytes:
    """Bytes of an element as compilers send it.

    Parameters are cast to the dtype of the arithmetic before they are gathered. A gradient is reduced as it
    comes out of the product, in the dtype of the arithmetic. A sum over micro-batches is in the parameters'
    dtype: XLA for TPUs reduces it so, XLA for GPUs casts it first (jaxlib 0.10.2). XLA:CPU has no collectives
    of 16 bits and sends 32.
    """
    compute, parameter = np.dtype(compute_dtype).itemsize, np.dtype(param_dtype).itemsize
    summed = micro_batches > 1 and platform == "tpu"
    least = _CPU_BYTES if platform == "cpu" else 1
    return ElementBytes(max(least, compute), max(least, parameter if summed else compute))


def expected_bytes(parameters: Iterable[Any], element: ElementBytes) -> dict[str, float] | None:
    """By kind of collective, the bytes that each device sends per optimizer step.

    None where layers are split: what activations send is no matter of the parameters' sizes.

    Args:
      parameters: abstract arrays, placed on the mesh by `NamedSharding`s.
    """
    sent = {ALL_REDUCE: 0.0, ALL_GATHER: 0.0, REDUCE_SCATTER: 0.0}
    for parameter in parameters:
        sharding = parameter.sharding
        assert isinstance(sharding, jax.sharding.NamedSharding)
        if dict(sharding.mesh.shape).get(TENSOR, 1) > 1:
            return None
        split = _split(sharding)
        groups = sharding.mesh.size // split
        gradient = parameter.size * element.reduced
        sent[ALL_GATHER] += 2 * _share(split) * parameter.size * element.gathered
        sent[REDUCE_SCATTER] += _share(split) * gradient
        sent[ALL_REDUCE] += 2 * _share(groups) * gradient / split
    return sent


def _split(sharding: jax.sharding.NamedSharding) -> int:
    """Over how many devices an array is split."""
    entries = ((entry,) if isinstance(entry, str) else entry for entry in sharding.spec if entry)
    return math.prod(sharding.mesh.shape[axis] for entry in entries for axis in entry)


def _share(devices: int) -> float:
    return (devices - 1) / devices
