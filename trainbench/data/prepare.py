"""Writing a data set to the disk, once: whole or not at all, and by one process at a time."""

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import tensorflow_datasets as tfds

from trainbench.data import catalogue, downloads, embedded, prepare_errors, prepared
from trainbench.data.prepared import RANDOM_ACCESS, Prepared
from trainbench.data.stored import Reference, parse


@dataclass(frozen=True)
class Order:
    """What is to be prepared, and what for that may be used."""

    name: str
    reference: Reference
    directory: Path
    download: bool
    manual_dir: str | None
    file_format: str
    text: bool

    @property
    def command(self) -> str:
        """What to type to prepare the same again."""
        loader = "" if self.file_format in RANDOM_ACCESS else "data.loader=tfdata"
        return catalogue.prepare_command(self.name, self.directory, text=self.text, needs=loader)


def prepare(
    name: str,
    directory: Path,
    *,
    download: bool,
    manual_dir: str | None = None,
    file_format: str = "array_record",
    text: bool = False,
) -> Prepared:
    """The data set `name` under `directory`, written there unless it lies there already.

    Args:
      download: whether the network may be used; embedded sets never need it.
      manual_dir: where files lie that a user must obtain by himself.
      file_format: "array_record", or "tfrecord" for tf.data, which needs TensorFlow.
      text: names the text configuration in error messages.

    Raises:
      UserError: unknown, or it cannot be prepared here and now; nothing half-written is left to be trusted.
    """
    is_embedded = name in embedded.BUILDERS
    reference = prepared.embedded_reference(name) if is_embedded else parse(name)
    order = Order(name, reference, directory.expanduser(), download, manual_dir, file_format, text)
    if found := _found(order):
        return found
    with prepare_errors.explained(order.name, order.directory, order.command):
        order.directory.mkdir(parents=True, exist_ok=True)
        with _alone(order):
            # Another process may have prepared it while this one waited.
            if not (found := _found(order)):
                _write(order, _builder(order))
                found = _found(order)
    if found is None:
        raise RuntimeError(f"{order.reference} was prepared, but does not lie in {order.directory}")
    return found


def _found(order: Order) -> Prepared | None:
    path = prepared.locate(order.name, order.directory)
    if path is None:
        return None
    found = prepared.open_stored(order.name, path)
    formats = RANDOM_ACCESS if order.file_format in RANDOM_ACCESS else (order.file_format,)
    prepared.require_format(found, formats, path, order.text)
    return found


@contextlib.contextmanager
def _alone(order: Order) -> Iterator[None]:
    """No other process prepares the same set; the system frees the lock of one that was killed."""
    lock = filelock.FileLock(order.directory / f".{order.reference.base}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        print(f"waiting for another process that prepares {order.name} in {order.directory}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _builder(order: Order) -> Any:
    options = {"data_dir": str(order.directory), "file_format": order.file_format}
    if order.name in embedded.BUILDERS:
        return embedded.builder_class(order.name)(**options)
    reference = order.reference
    builder_class = catalogue.known(reference)
    if catalogue.is_beam(builder_class):
        prepare_errors.require_beam(reference)
    try:
        return tfds.builder(reference.base, config=reference.config, version=reference.version, **options)
    except (ValueError, AssertionError) as error:
        raise prepare_errors.no_such_version(reference, builder_class, error) from error


def _write(order: Order, builder: Any) -> None:
    _remove_stale(builder)

    def check(url: str) -> None:
        if not order.download:
            raise prepare_errors.download_not_allowed(order.name, builder, order.command)
        if reason := downloads.unreachable(url):
            raise prepare_errors.no_network(order.name, order.directory, reason)

    config = tfds.download.DownloadConfig(manual_dir=order.manual_dir, try_download_gcs=False)
    with (
        prepare_errors.of_builder(builder, order.manual_dir, order.command),
        _announced(order),
        downloads.guarded(check),
    ):
        builder.download_and_prepare(file_format=order.file_format, download_config=config)


def _remove_stale(builder: Any) -> None:
    """Remove what killed processes left of this version; TFDS would leave it for ever."""
    prefix = tfds.core.constants.INCOMPLETE_PREFIX
    for path in Path(builder.data_path).parent.glob(f"{prefix}*_{builder.version}"):
        shutil.rmtree(path)


@contextlib.contextmanager
def _announced(order: Order) -> Iterator[None]:
    """What is prepared where, on stderr, since stdout is for results; not in TFDS's own alarming words.

    Its bars are for people who watch something long.
    """
    is_embedded = order.name in embedded.BUILDERS
    if not is_embedded:
        print(f"preparing {order.reference} in {order.directory}", file=sys.stderr)
    if is_embedded or not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.enable_progress_bar()
