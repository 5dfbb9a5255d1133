"""Grain pipelines: from records at random access to endless host batches, in an order that the seed fixes.

Worker processes import this module: nothing in it may start a JAX backend.
"""

import gc
import json
import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grain
import numpy as np

from trainbench.data.bad_records import BadRecord, BadRecords
from trainbench.data.spec import HostBatch
from trainbench.errors import UserError, first_line

Sample = dict[str, np.ndarray]

# Below this many cores a worker process costs more than it gives: it takes seconds to start, and its batches
# are copied once more.
LEAST_CORES_FOR_WORKERS = 8
CORES_PER_WORKER = 4
MOST_THREADS = 16


@dataclass(frozen=True)
class Shard:
    """Which part of the records this process reads: each `count`-th, from `index` on."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Reading:
    """How the records are read: worker processes (0: none) and threads in each process."""

    workers: int
    threads: int

    @property
    def batches_ahead(self) -> int:
        """Batches at most that lie ready here: one that is being made, and two in each worker process."""
        return 1 + 2 * self.workers


def choose_workers(cores: int) -> tuple[int, str]:
    """(worker processes, reason)."""
    if cores < LEAST_CORES_FOR_WORKERS:
        return 0, f"threads alone: with {cores} cores a process of its own takes more than it gives"
    return cores // CORES_PER_WORKER, f"one for {CORES_PER_WORKER} of {cores} cores"


def choose_threads(cores: int, workers: int) -> tuple[int, str]:
    """(threads in each process that reads, reason)."""
    share = max(1, min(MOST_THREADS, cores // max(1, workers)))
    return share, f"one a core{' of the worker' if workers else ''}, {MOST_THREADS} at most"


@dataclass(frozen=True)
class Record:
    """One stored record with its name; `error` says why it cannot be read."""

    name: str
    content: Mapping[str, Any] | None
    error: str = ""


class Records:
    """A TFDS data source whose damaged records come back as such instead of ending the iteration.

    Args:
      source: random access to stored records, picklable.
      name: what to call them, for example "imagenet2012 train".
    """

    def __init__(self, source: Sequence[Any], name: str) -> None:
        self._source = source
        self._name = name

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        name = f"{self._name}[{int(index)}]"
        try:
            return Record(name, self._source[int(index)])
        except Exception as error:
            return Record(name, None, f"{type(error).__name__}: {first_line(error)}")


class Transform(grain.transforms.RandomMap):
    """A function of (record content, random generator); None for a record that is damaged.

    Args:
      function: picklable; raises BadRecord for content that it cannot use.
      bad: takes note of what is left out.
      patience: damaged records in a row after which there is no hope for a sound one; None: without end.
    """

    def __init__(
        self,
        function: Callable[[Mapping[str, Any], np.random.Generator], Any],
        bad: BadRecords,
        patience: int | None = None,
    ) -> None:
        self._function = function
        self._bad = bad
        self._patience = patience
        self._in_a_row = 0

    def with_patience(self, patience: int) -> "Transform":
        return Transform(self._function, self._bad, patience)

    def random_map(self, element: Record, rng: np.random.Generator) -> Any:
        try:
            if element.content is None:
                raise BadRecord(element.error)
            sample = self._function(element.content, rng)
        except BadRecord as error:
            return self._left_out(element.name, str(error))
        self._in_a_row = 0
        return sample

    def _left_out(self, name: str, why: str) -> None:
        self._bad.report(name, why)
        self._in_a_row += 1
        if self._patience is not None and self._in_a_row > self._patience:
            raise UserError(
                f"every record is damaged: {name}: {why}",
                allowed="at least one that can be used",
                fix="prepare the data set again, or name its features with data.image_key, data.label_key "
                "or data.text_key",
            )


def shuffled(
    records: Records, seed: int, shard: Shard, transform: Transform, reading: Reading
) -> grain.IterDataset:
    """The endless stream of transformed records of this process, shuffled anew each epoch; none is None.

    Raises:
      UserError: this process has no record to read.
    """
    dataset = grain.MapDataset.source(records).seed(seed).shuffle()[shard.index :: shard.count]
    if not len(dataset):
        raise UserError(
            f"{len(records)} records for {shard.count} processes that read them",
            allowed="at least one record for each",
            fix="a larger split, with data.split=NAME",
        )
    # No more is read ahead than keeps the threads busy: what lies ready when the measurement starts would
    # make the pipeline look faster than it is.
    options = grain.ReadOptions(num_threads=reading.threads, prefetch_buffer_size=max(1, reading.threads))
    # An endless stream of damaged records would wait for a sound one without end. The only sound one can
    # stand first in one epoch and last in the next.
    transform = transform.with_patience(2 * len(dataset) + reading.threads)
    return dataset.repeat().random_map(transform).to_iter_dataset(options)


class Batches:
    """Endless host batches of a Grain data set, with a state from which to go on.

    The state has the form that `grain.checkpoint.CheckpointSave` takes, so Orbax can keep it.
    """

    def __init__(self, dataset: grain.IterDataset, reading: Reading) -> None:
        if reading.workers:
            _parse_absl_flags()
            options = grain.MultiprocessingOptions(num_workers=reading.workers, per_worker_buffer_size=1)
            dataset = dataset.mp_prefetch(options, _end_with_the_parent)
        self._iterator: Any = iter(dataset)
        self._in_shared_memory = reading.workers > 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HostBatch:
        try:
            batch: HostBatch = next(self._iterator)
        except RuntimeError as error:
            if "Worker process was terminated" in str(error):
                raise _worker_ended(error) from error
            raise
        # A worker's arrays lie in memory that Grain takes back, whoever still looks at it.
        return {name: np.array(array) for name, array in batch.items()} if self._in_shared_memory else batch

    def get_state(self) -> bytes:
        """Where the next batch comes from; JSON."""
        return json.dumps(self._iterator.get_state()).encode()

    def set_state(self, state: bytes) -> None:
        self._iterator.set_state(json.loads(state, object_hook=_with_tuples))

    def start_prefetch(self) -> None:
        """Nothing; Grain calls it after it has restored a state."""

    def close(self) -> None:
        """Stop threads and worker processes; no batch comes after that."""
        self._iterator.close()
        # Grain closes once more when an iterator is collected, which fails aloud at the end of the program.
        self._iterator = iter(())
        gc.collect()


def in_order(records: Records, transform: Transform) -> Iterator[Any]:
    """Every record once, transformed, in stored order; damaged ones are left out."""
    dataset = grain.MapDataset.source(records).seed(0).random_map(transform)
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    yield from dataset.to_iter_dataset(options)


def _with_tuples(state: dict[str, Any]) -> dict[str, Any]:
    """A state out of JSON as Grain's packing needs it.

    It knows "nothing left over" by comparing slices with a tuple; given lists, it drops a document instead.
    """
    if "remainder_slices" in state:
        state["remainder_slices"] = {name: tuple(ends) for name, ends in state["remainder_slices"].items()}
    return state


def _end_with_the_parent(index: int, count: int) -> None:
    """Have this worker end when the process that it reads for is gone, killed ones included."""
    del index, count
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _parse_absl_flags() -> None:
    """Grain reads an absl flag when it starts workers, which fails in a program that does not use absl."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _worker_ended(error: RuntimeError) -> UserError:
    """What to raise for Grain's error: a worker that the system has killed is no defect of the program."""
    code = re.search(r"exit code (-?\d+)", str(error))
    return UserError(
        f"a worker process that reads the data was ended from outside (exit code {code[1] if code else '?'})",
        allowed="enough memory for every worker; -9 often means that it ran out",
        fix="data.workers=0 reads without worker processes",
    )
