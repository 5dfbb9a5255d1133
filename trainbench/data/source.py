"""Where batches come from: the feed of each input mode, for synthetic and real data alike."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainbench.data import synthetic
from trainbench.data.feed import DeviceBatch, Feed, Prefetched, Resident, stack
from trainbench.data.spec import ArraySpec
from trainbench.data.synthetic import POOL, HostBatch

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Source:
    """A data set and how it is to be read; `batch_size` is global, `directory` where TFDS data sets live."""

    data: str
    directory: Path
    spec: Mapping[str, ArraySpec]
    batch_size: int
    seed: int


def open_feed(
    source: Source, mode: str, steps_per_call: int, put: Callable[[HostBatch], DeviceBatch]
) -> Feed:
    """The feed of an input mode.

    Args:
      mode: "resident" keeps one batch on the device; "host" cycles through a pool of ready host batches, so
        that only the way to the device is paid for; "real" reads the data set.
      put: starts the transfer of a host batch to the device.
    """
    if mode == "resident":
        return Resident(put(next(_batches(source))))
    batches = _pool(source) if mode == "host" else _batches(source)
    return Prefetched(stack(batches, steps_per_call) if steps_per_call > 1 else batches, put)


def held_out(source: Source) -> HostBatch:
    """Every sample of the test split in one batch."""
    # Imported here: TFDS takes seconds to import and synthetic runs don't need it.
    from trainbench.data import digits

    return digits.whole(source.directory, "test")


def _batches(source: Source) -> Iterator[HostBatch]:
    if source.data == SYNTHETIC:
        return synthetic.host_batches(source.spec, source.seed)
    from trainbench.data import digits

    return digits.batches(source.directory, "train", source.batch_size, source.seed)


def _pool(source: Source) -> Iterator[HostBatch]:
    return itertools.cycle(list(itertools.islice(_batches(source), POOL)))
