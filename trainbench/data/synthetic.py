"""Random batches of a task's own shapes, made on the host from a seed."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from trainbench.data.spec import ArraySpec, HostBatch, Share

# Host-fed runs cycle through this many ready batches: enough that no cache on the way to the device can serve
# them, few enough to be made beforehand.
POOL = 8
# Samples that come from one generator. A sample's values depend on its place in the global batch alone, so a
# batch is the same however many processes make it.
GROUP = 64


def host_batch(spec: Mapping[str, ArraySpec], seed: int, share: Share | None = None) -> HostBatch:
    """One batch of uniformly random values within each array's range.

    Args:
      spec: of the global batch; samples are along the first axis of each array.
      share: the samples that are made; None: all.
    """
    size = next(iter(spec.values())).shape[0]
    rows = (share or Share()).rows(size)
    parts = [_rows(spec, seed, samples) for samples in rows]
    return {
        name: np.concatenate([part[name] for part in parts]) if len(parts) > 1 else parts[0][name]
        for name in spec
    }


def host_batches(spec: Mapping[str, ArraySpec], seed: int, share: Share | None = None) -> Iterator[HostBatch]:
    """Endless different batches."""
    for offset in itertools.count():
        yield host_batch(spec, seed + offset, share)


def _rows(spec: Mapping[str, ArraySpec], seed: int, samples: range) -> dict[str, np.ndarray]:
    """Consecutive samples, cut out of whole groups."""
    first = samples.start // GROUP
    groups = range(first, -(-samples.stop // GROUP))
    generators = [np.random.default_rng([seed, group]) for group in groups]
    cut = slice(samples.start - first * GROUP, samples.stop - first * GROUP)
    return {
        name: np.concatenate([_group(array, generator) for generator in generators])[cut]
        for name, array in spec.items()
    }


def _group(spec: ArraySpec, generator: np.random.Generator) -> np.ndarray:
    shape = (GROUP, *spec.shape[1:])
    if spec.dtype == np.uint8:
        return generator.integers(spec.low, spec.high, shape, dtype=np.uint8, endpoint=True)
    return generator.integers(spec.low, spec.high, shape, endpoint=True).astype(spec.dtype)
