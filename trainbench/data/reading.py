"""What the machine and the run give to every data set: where it lies, cores, this process's share."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbench.data import prepare, prepared
from trainbench.data.bad_records import BadRecords
from trainbench.data.embedded import BUILDERS
from trainbench.data.pipeline import Reading, Shard, choose_threads, choose_workers
from trainbench.data.prepared import Prepared
from trainbench.data.settings import ImageData, TextData
from trainbench.errors import UserError

WORKERS_PER_CORE = 2

# What was left open and is now chosen: (value, reason) by configuration key.
Choices = Mapping[str, tuple[Any, str]]


def data_directory(settings: ImageData | TextData, cache: Path) -> Path:
    """Where TFDS data sets live: as asked for, else TFDS's own variable, else the cache."""
    if settings.dir:
        return Path(settings.dir).expanduser()
    if settings.name not in BUILDERS and os.environ.get("TFDS_DATA_DIR"):
        return Path(os.environ["TFDS_DATA_DIR"]).expanduser()
    return cache / "tfds"


def check_splits(settings: ImageData | TextData, found: Prepared) -> None:
    """Nothing if the set has the splits that `settings` name, and something in them.

    Raises:
      UserError: it has not.
    """
    found.records(settings.split)
    if settings.held_out is None:
        return
    found.records(settings.held_out, config_key="data.held_out")
    if found.overlap(settings.split, settings.held_out):
        raise UserError(
            f"data.split={settings.split} and data.held_out={settings.held_out} share records: what "
            "was trained on would count as learnt",
            allowed="splits that have no record in common",
            fix="data.held_out=null, or a smaller data.split",
        )


@dataclass(frozen=True)
class Surroundings:
    """The machine and the run that a data set is opened for.

    Attributes:
      cores: that this process may use.
      shard: this process's part of the records.
      scratch: a directory of this run alone.
      cache: the directory that outlives runs.
    """

    cores: int
    shard: Shard
    scratch: Path
    cache: Path

    def open_set(self, settings: ImageData | TextData) -> Prepared:
        """The prepared set that `settings` name; prepared now if it is shipped, or may be downloaded."""
        directory = self.directory(settings)
        return prepared.open_set(settings.name, directory, text=isinstance(settings, TextData))

    def directory(self, settings: ImageData | TextData, file_format: str = "array_record") -> Path:
        """Where the set that `settings` name lies; prepared now in this format if it may be downloaded."""
        directory = data_directory(settings, self.cache)
        if settings.download:
            prepare.prepare(
                settings.name,
                directory,
                download=True,
                manual_dir=settings.manual_dir,
                file_format=file_format,
                text=isinstance(settings, TextData),
            )
        return directory

    def reading(
        self, workers: int | None, threads: int | None, choices: MutableMapping[str, tuple[Any, str]]
    ) -> Reading:
        """Worker processes and threads; those that are None are chosen, and noted in `choices`."""
        if workers is None:
            workers, _ = choices["data.workers"] = choose_workers(self.cores)
        most = max(WORKERS_PER_CORE * self.cores, 1)
        if workers > most:
            raise UserError(
                f"data.workers={workers} on {self.cores} cores: each is a process of some 300 MB",
                allowed=f"0 to {most}",
                fix=f"data.workers={choose_workers(self.cores)[0]}, or leave it out",
            )
        if threads is None:
            threads, _ = choices["data.threads"] = choose_threads(self.cores, workers)
        return Reading(workers, threads)

    def bad_records(self, limit: int, found: Prepared) -> BadRecords:
        """Where damaged records of a set are noted, up to `limit` of them."""
        path = os.fspath(self.scratch / "bad_records.jsonl")
        return BadRecords(path, limit, os.fspath(found.builder.data_path))
