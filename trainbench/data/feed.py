"""Feeds: how the training loop gets its next batch on the device."""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Protocol, Self

import jax
import numpy as np

from trainbench.data.synthetic import HostBatch

DeviceBatch = Mapping[str, jax.Array]

# Batches that lie ready on the device; one more is on its way, and the queued steps hold theirs.
DEPTH = 2


class Feed(Protocol):
    """A source of device batches; `next` blocks until there is one."""

    def next(self) -> DeviceBatch: ...

    def close(self) -> None: ...


class Resident:
    """The same batch, put on the device once: what the accelerator does when input costs nothing."""

    def __init__(self, batch: DeviceBatch) -> None:
        self._batch = batch

    def next(self) -> DeviceBatch:
        return self._batch

    def close(self) -> None:
        self._batch = {}


class Prefetched:
    """Host batches put on the device by a background thread that keeps `depth` of them ready.

    An exception of the source is raised by the `next` that would have returned its batch.
    """

    def __init__(
        self, source: Iterator[HostBatch], put: Callable[[HostBatch], DeviceBatch], depth: int = DEPTH
    ) -> None:
        self._ready: queue.Queue[DeviceBatch | Exception] = queue.Queue(maxsize=depth)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source, put), name="prefetch", daemon=True)
        self._thread.start()

    def next(self) -> DeviceBatch:
        item = self._ready.get()
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        self._stopping.set()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._thread.join(timeout=5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, source: Iterator[HostBatch], put: Callable[[HostBatch], DeviceBatch]) -> None:
        try:
            for host_batch in source:
                # A batch counts as ready only once it has arrived: a transfer still under way would hide
                # behind the steps that are queued before it.
                if not self._offer(jax.block_until_ready(put(host_batch))):
                    return
            self._offer(RuntimeError("the input ended before the run did"))
        except Exception as error:
            self._offer(error)

    def _offer(self, item: DeviceBatch | Exception) -> bool:
        while not self._stopping.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def stack(source: Iterator[HostBatch], length: int) -> Iterator[HostBatch]:
    """Groups of `length` batches with a new leading axis, for several steps in one device call."""
    while True:
        group = [next(source) for _ in range(length)]
        yield {name: np.stack([batch[name] for batch in group]) for name in group[0]}
