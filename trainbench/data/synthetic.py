"""Random batches of a task's own shapes, made on the host from a seed."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from trainbench.data.spec import ArraySpec, HostBatch

# Host-fed runs cycle through this many ready batches: enough that no cache on the way to the device can serve
# them, few enough to be made beforehand.
POOL = 8


def host_batch(spec: Mapping[str, ArraySpec], seed: int) -> HostBatch:
    """One batch of uniformly random values within each array's range."""
    generator = np.random.default_rng(seed)
    return {name: _array(array, generator) for name, array in spec.items()}


def host_batches(spec: Mapping[str, ArraySpec], seed: int) -> Iterator[HostBatch]:
    """Endless different batches."""
    for offset in itertools.count():
        yield host_batch(spec, seed + offset)


def _array(spec: ArraySpec, generator: np.random.Generator) -> np.ndarray:
    if spec.dtype == np.uint8:
        return generator.integers(spec.low, spec.high, spec.shape, dtype=np.uint8, endpoint=True)
    return generator.integers(spec.low, spec.high, spec.shape, endpoint=True).astype(spec.dtype)
