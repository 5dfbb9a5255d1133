"""Batches of tokens from records of text: tokenised, cut into rows, in an order that the seed fixes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from trainbench.data.bad_records import BadRecord, BadRecords
from trainbench.data.pipeline import Batches, Reading, Records, Shard, Transform, shuffled
from trainbench.data.spec import HostBatch
from trainbench.data.text_rows import Rows, Sample
from trainbench.data.tokenizer import Encoder
from trainbench.errors import UserError

# So many documents without text, and there is none to be expected.
MOST_EMPTY = 10_000


@dataclass(frozen=True)
class Encode:
    """A record's content to {"tokens": int32 [n]}, the separator at its end; None for one without tokens."""

    encoder: Encoder
    text_key: str

    def __call__(self, content: Mapping[str, Any], rng: np.random.Generator | None = None) -> Sample | None:
        """Raises BadRecord: there is no such key, or what it holds is not text."""
        if self.text_key not in content:
            raise BadRecord(f"it has no {self.text_key!r}")
        tokens = self.encoder(as_text(content[self.text_key]))
        return {"tokens": np.append(tokens, np.int32(self.encoder.sep))} if len(tokens) else None


def as_text(value: Any) -> str:
    """The text of a feature, which TFDS yields as bytes.

    Raises:
      BadRecord: it is neither bytes in UTF-8 nor a string that has a UTF-8 form.
    """
    if not isinstance(value, str | bytes):
        raise BadRecord(f"{type(value).__name__} instead of text")
    try:
        if isinstance(value, bytes):
            return value.decode()
        value.encode()
    except UnicodeError as error:
        raise BadRecord(f"not text in UTF-8: {error}") from error
    return value


def documents(records: Records, text_key: str) -> Iterator[str]:
    """The texts in stored order; damaged ones are left out, to be named when they are trained on."""
    for index in range(len(records)):
        content = records[index].content
        try:
            if content is not None and text_key in content:
                yield as_text(content[text_key])
        except BadRecord:
            continue


def train_batches(
    records: Records,
    encoder: Encoder,
    rows: Rows,
    text_key: str,
    batch_size: int,
    seed: int,
    shard: Shard,
    reading: Reading,
    bad: BadRecords,
) -> Batches:
    """Endless batches of samples as `rows` assembles them, in an order fixed by the seed.

    Raises:
      UserError: this process's part of the records holds no text.
    """
    encode = Encode(encoder, text_key)
    _check_text(records, encode, shard)
    tokens = shuffled(records, seed, shard, Transform(encode, bad), reading)
    # Processes mask differently even where they read the same.
    row_seed = int(np.random.SeedSequence([seed, shard.index]).generate_state(1)[0])
    samples = rows.assemble(tokens, encoder, row_seed)
    return Batches(samples.batch(batch_size, drop_remainder=True), reading)


def held_out_batches(
    records: Records, encoder: Encoder, rows: Rows, text_key: str, batch_size: int, bad: BadRecords
) -> Iterator[HostBatch]:
    """Each document once, in stored order and always alike; arrays as in `train_batches`.

    The last batch may be smaller, and with packing "concat" the last row shorter.

    Raises:
      UserError: the records hold no text.
    """
    encode = Encode(encoder, text_key)
    _check_text(records, encode, Shard())
    stored = grain.MapDataset.source(records).seed(0).random_map(Transform(encode, bad))
    tokens = stored.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    return iter(rows.assemble(tokens, encoder, 0).batch(batch_size, drop_remainder=False))


def useful_tokens(batch: HostBatch) -> int:
    """Tokens of a batch that are no padding; special ones such as separators count."""
    real = batch["padding_mask"] if "padding_mask" in batch else batch["target_weights"]
    return int(np.count_nonzero(real))


def _check_text(records: Records, encode: Encode, shard: Shard) -> None:
    """Nothing if there is text: an endless stream of nothing would never give a batch."""
    for index in range(shard.index, min(len(records), MOST_EMPTY * shard.count), shard.count):
        content = records[index].content
        try:
            if content is not None and encode(content) is not None:
                return
        except BadRecord:
            continue
    raise UserError(
        f"no record has text in data.text_key={encode.text_key}"
        + (f" for process {shard.index} of {shard.count}" if shard.count > 1 else ""),
        allowed="a data set with a text for each process",
        fix="choose another data.split or data.text_key",
    )
