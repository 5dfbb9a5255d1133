"""Where batches come from: the feed of each input mode, for synthetic and real data alike."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from trainbench.data import synthetic
from trainbench.data.bad_records import BadRecords
from trainbench.data.feed import DEPTH, Cycle, DeviceBatch, Feed, Prefetched, Resident, Stacked, close_batches
from trainbench.data.spec import ArraySpec, HostBatch, ImageWire, Share
from trainbench.data.synthetic import POOL

# The input of one call on its way to the device, and of one in the making.
UNDER_WAY = 2


class RealData(Protocol):
    """A data set that has been opened for a model: an `ImageSet` or a `TextSet`."""

    @property
    def choices(self) -> Mapping[str, tuple[Any, str]]:
        """What was left open and is now chosen: (value, reason) by configuration key."""

    @property
    def wire(self) -> ImageWire | None:
        """How images travel to the device; None for text."""

    @property
    def bad(self) -> BadRecords:
        """The records that were left out."""

    @property
    def batches_ahead(self) -> int:
        """Batches at most that lie ready inside the reader."""

    def batches(self, batch_size: int, seed: int) -> Iterator[HostBatch]:
        """Endless batches of this process's share of the records, in an order that `seed` fixes."""

    def held_out(self, batch_size: int) -> Iterator[HostBatch] | None:
        """Every sample of the held-out split once; None when there is no such split."""

    def padding_fraction(self) -> float | None:
        """Share of the tokens fed so far that are padding; None for images, and before any was fed."""


@dataclass(frozen=True)
class Source:
    """What batches are made of.

    Attributes:
      real: None for synthetic data.
      spec: of the global batch.
      global_batch_size: samples of all processes in a batch.
      share: of this process.
    """

    real: RealData | None
    spec: Mapping[str, ArraySpec]
    global_batch_size: int
    seed: int
    share: Share = field(default_factory=Share)

    @property
    def batch_size(self) -> int:
        """Samples of this process in a batch."""
        return self.share.batch_size(self.global_batch_size)

    def real_batches(self) -> Iterator[HostBatch]:
        assert self.real is not None
        return self.real.batches(self.batch_size, self.seed)


def open_feed(
    source: Source,
    mode: str,
    steps_per_call: int,
    *,
    stacked: bool,
    put: Callable[[HostBatch], DeviceBatch],
    state: bytes | None = None,
) -> Feed:
    """The feed of an input mode.

    Args:
      mode: "resident" keeps one batch on the device; "host" cycles through a pool of ready host batches, so
        that only the way to the device is paid for; "real" reads the data set.
      stacked: whether a batch holds those of several steps, one for each step of a call.
      put: starts the transfer of a host batch to the device.
      state: of an earlier feed of this kind, from which to go on; None begins at the beginning.
    """

    def shaped(batches: Iterator[HostBatch]) -> Iterator[HostBatch]:
        return Stacked(batches, steps_per_call) if stacked else batches

    if mode == "resident":
        return Resident(put(next(shaped(itertools.cycle(_pool(source, 1))))))
    batches: Any = source.real_batches() if mode == "real" else Cycle(_pool(source, POOL))
    if state is not None:
        batches.set_state(state)
    return Prefetched(shaped(batches), put, state_of=getattr(batches, "get_state", None))


def calls_ahead(source: Source, mode: str, steps_per_call: int) -> int:
    """Device calls at most whose input lies ready when the first one starts.

    The feed keeps the input of whole calls ready, the reader single batches.
    """
    if mode == "resident":
        return 0
    reader = source.real.batches_ahead if mode == "real" and source.real else 0
    return DEPTH + UNDER_WAY + -(-reader // steps_per_call)


def _pool(source: Source, length: int) -> list[HostBatch]:
    if source.real is None:
        return list(itertools.islice(synthetic.host_batches(source.spec, source.seed, source.share), length))
    batches = source.real_batches()
    try:
        return list(itertools.islice(batches, length))
    finally:
        close_batches(batches)
