"""A text set, opened for a language model: its tokenizer and its rows of tokens."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainbench.data import text, tokenizer
from trainbench.data.bad_records import BadRecords
from trainbench.data.pipeline import Reading, Records, Shard
from trainbench.data.prepared import Prepared
from trainbench.data.reading import Choices, Surroundings, check_splits
from trainbench.data.settings import TextData
from trainbench.data.spec import HostBatch
from trainbench.data.text_rows import Rows
from trainbench.data.tokenizer import Encoder


@dataclass
class Tally:
    """Tokens fed so far; counted where batches are made, read when the run has ended."""

    tokens: int = 0
    useful: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, batch: HostBatch) -> None:
        with self.lock:
            self.tokens += batch["token_ids"].size
            self.useful += text.useful_tokens(batch)


class Counted:
    """Batches whose tokens are counted as they pass; state and end are those of the batches."""

    def __init__(self, batches: Any, tally: Tally) -> None:
        self._batches = batches
        self._tally = tally
        self.get_state = batches.get_state
        self.start_prefetch = batches.start_prefetch
        self.set_state = batches.set_state
        self.close = batches.close

    def __iter__(self) -> Iterator[HostBatch]:
        return self

    def __next__(self) -> HostBatch:
        batch: HostBatch = next(self._batches)
        self._tally.count(batch)
        return batch


@dataclass(frozen=True)
class TextSet:
    """Rows of a prepared set, tokenised."""

    settings: TextData
    prepared: Prepared
    rows: Rows
    encoder: Encoder
    reading: Reading
    shard: Shard
    bad: BadRecords
    choices: Choices
    tally: Tally

    @property
    def wire(self) -> None:
        """Text has none."""
        return None

    @property
    def batches_ahead(self) -> int:
        return self.reading.batches_ahead

    def batches(self, batch_size: int, seed: int) -> Iterator[HostBatch]:
        """The arrays of the `batch_spec` of the task that the rows are for."""
        batches = text.train_batches(
            self._records(self.settings.split),
            self.encoder,
            self.rows,
            self.settings.text_key,
            batch_size,
            seed,
            self.shard,
            self.reading,
            self.bad,
        )
        return Counted(batches, self.tally)

    def held_out(self, batch_size: int) -> Iterator[HostBatch] | None:
        """As `batches`, but each document once, always alike; the last batch may be smaller."""
        if self.settings.held_out is None:
            return None
        records = self._records(self.settings.held_out)
        return text.held_out_batches(
            records, self.encoder, self.rows, self.settings.text_key, batch_size, self.bad
        )

    def padding_fraction(self) -> float | None:
        with self.tally.lock:
            return 1 - self.tally.useful / self.tally.tokens if self.tally.tokens else None

    def _records(self, split: str) -> Records:
        return self.prepared.records(split)


def open_text(settings: TextData, surroundings: Surroundings, rows: Rows, vocabulary: int) -> TextSet:
    """The set that `settings` name, for a model of `vocabulary` tokens.

    Raises:
      UserError: it is not prepared, has not what the settings name, or the tokenizer does not fit the model.
    """
    found = surroundings.open_set(settings)
    found.check_text(settings.text_key)
    check_splits(settings, found)
    choices: dict[str, tuple[Any, str]] = {}
    trained = tokenizer.obtain(
        lambda: text.documents(found.records(settings.split), settings.text_key),
        f"{found.fingerprint()} {settings.split} {settings.text_key}",
        vocabulary,
        surroundings.cache,
        settings.tokenizer,
        rows.special,
        rows.reserved,
    )
    content = f"{trained.size:,} word pieces, content {trained.hash}"
    if settings.tokenizer is None:
        choices["data.tokenizer"] = Path(trained.path).name, f"{trained.reason}; {content}"
    return TextSet(
        settings=settings,
        prepared=found,
        rows=rows,
        encoder=Encoder(trained.path, rows.special),
        reading=surroundings.reading(settings.workers, settings.threads, choices),
        shard=surroundings.shard,
        bad=surroundings.bad_records(settings.bad_records, found),
        choices=choices,
        tally=Tally(),
    )
