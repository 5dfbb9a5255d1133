"""Feeds: how the training loop gets its next batch on the device."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

import jax
import numpy as np

from trainbench.data.spec import HostBatch

DeviceBatch = Mapping[str, jax.Array]

# Batches that lie ready on the device; one more is on its way, and the queued steps hold theirs.
DEPTH = 2
CLOSE_S = 5.0


class Feed(Protocol):
    """A source of device batches; `next` blocks until there is one."""

    def next(self) -> DeviceBatch: ...

    def state(self) -> bytes | None:
        """From where to go on after the batch that `next` returned last; None without such a thing."""

    def close(self) -> None: ...


class Resident:
    """The same batch, put on the device once: what the accelerator does when input costs nothing."""

    def __init__(self, batch: DeviceBatch) -> None:
        self._batch = batch

    def next(self) -> DeviceBatch:
        return self._batch

    def state(self) -> None:
        return None

    def close(self) -> None:
        self._batch = {}


class Prefetched:
    """Host batches put on the device by a background thread that keeps `depth` of them ready.

    An exception of the source is raised by the `next` that would have returned its batch.

    Args:
      source: endless host batches; closed with the feed if it has a `close`.
      put: starts the transfer of a host batch to the device.
      state_of: tells from where the source would go on; None when it keeps no state.
    """

    def __init__(
        self,
        source: Iterator[HostBatch],
        put: Callable[[HostBatch], DeviceBatch],
        depth: int = DEPTH,
        state_of: Callable[[], bytes] | None = None,
    ) -> None:
        self._source = source
        self._ready: queue.Queue[tuple[DeviceBatch, bytes | None] | Exception] = queue.Queue(maxsize=depth)
        self._stopping = threading.Event()
        self._state_of = state_of
        self._state = state_of() if state_of else None
        self._thread = threading.Thread(target=self._fill, args=(put,), name="prefetch", daemon=True)
        self._thread.start()

    def next(self) -> DeviceBatch:
        item = self._ready.get()
        if isinstance(item, Exception):
            raise item
        batch, self._state = item
        return batch

    def state(self) -> bytes | None:
        """From where to go on after the batch that `next` returned last, whatever lies ready beyond it."""
        return self._state

    def close(self) -> None:
        self._stopping.set()
        while not self._ready.empty():
            self._ready.get_nowait()
        self._thread.join(timeout=CLOSE_S)
        # A source that still works on a batch is stopped in the middle of it; generators refuse to be.
        with contextlib.suppress(ValueError):
            close_batches(self._source)
        self._thread.join(timeout=CLOSE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, put: Callable[[HostBatch], DeviceBatch]) -> None:
        try:
            for host_batch in self._source:
                state = self._state_of() if self._state_of else None
                # A batch counts as ready only once it has arrived: a transfer still under way would hide
                # behind the steps that are queued before it.
                if not self._offer((jax.block_until_ready(put(host_batch)), state)):
                    return
            self._offer(RuntimeError("the input ended before the run did"))
        except Exception as error:
            self._offer(error)

    def _offer(self, item: tuple[DeviceBatch, bytes | None] | Exception) -> bool:
        while not self._stopping.is_set():
            try:
                self._ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


class Cycle:
    """The batches of a pool, over and over, with a state from which to go on."""

    def __init__(self, pool: Sequence[HostBatch]) -> None:
        self._pool = pool
        self._next = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HostBatch:
        batch = self._pool[self._next]
        self._next = (self._next + 1) % len(self._pool)
        return batch

    def get_state(self) -> bytes:
        return str(self._next).encode()

    def set_state(self, state: bytes) -> None:
        self._next = int(state)


class Stacked:
    """Groups of `length` batches with a new leading axis, for several steps in one device call."""

    def __init__(self, batches: Iterator[HostBatch], length: int) -> None:
        self._batches = batches
        self._length = length

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HostBatch:
        group = [next(self._batches) for _ in range(self._length)]
        return {name: np.stack([batch[name] for batch in group]) for name in group[0]}

    def close(self) -> None:
        close_batches(self._batches)


def close_batches(batches: Iterator[HostBatch]) -> None:
    """Stop the threads and processes behind the batches, if there are any."""
    close = getattr(batches, "close", None)
    if close is not None:
        close()
