"""Rows of tokens for masked language modelling: documents packed, then masked.

B batch, T tokens of a row, P predictions of a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import grain
import numpy as np

from trainbench.data.bad_records import BadRecord, BadRecords
from trainbench.data.pipeline import Batches, Reading, Records, Shard, Transform, shuffled
from trainbench.data.settings import PACKINGS
from trainbench.data.spec import HostBatch
from trainbench.data.tokenizer import Encoder
from trainbench.errors import UserError

Sample = dict[str, np.ndarray]

# Devlin et al. 2019, arXiv:1810.04805, section 3.1: the share of tokens that is predicted, and what of it is
# replaced by [MASK], and by a random token; the rest is kept.
PREDICTED = 0.15
MASKED = 0.8
RANDOM = 0.1

# [CLS], [SEP], and one token to predict.
LEAST_LENGTH = 3
# So many documents without text, and there is none to be expected.
MOST_EMPTY = 10_000


@dataclass(frozen=True)
class Rows:
    """The form of a row.

    Attributes:
      sequence_length: tokens of a row (T).
      predictions: positions that a row predicts at most (P).
      packing: "concat" joins documents in the order they come, [SEP] behind each, and cuts the stream into
        [CLS] and T - 1 tokens: FULL-SENTENCES of RoBERTa (Liu et al. 2019, arXiv:1907.11692, section 4.2),
        where attention sees across documents. "none" makes a row of each document, [CLS] tokens [SEP],
        cut at T or filled up with [PAD].
    """

    sequence_length: int
    predictions: int
    packing: str = "concat"


@dataclass(frozen=True)
class Encode:
    """A record's content to {"tokens": int32 [n]}, [SEP] at the end; None for a document without tokens."""

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
    """Endless batches with the arrays of `MaskedLanguageModel.batch_spec`, in an order fixed by the seed.

    Arrays: token_ids, segment_ids int32 [B, T]; padding_mask bool [B, T], True where a token is;
    masked_positions, masked_labels int32 [B, P]; masked_weights float32 [B, P], 1 where a prediction is.

    Raises:
      UserError: the rows cannot be made, or this process's part of the records holds no text.
    """
    _check(rows)
    encode = Encode(encoder, text_key)
    _check_text(records, encode, shard)
    tokens = shuffled(records, seed, shard, Transform(encode, bad), reading)
    # Processes mask differently even where they read the same.
    mask_seed = int(np.random.SeedSequence([seed, shard.index]).generate_state(1)[0])
    masked = _packed(tokens, rows, encoder.sep).random_map(Mask(encoder, rows), seed=mask_seed)
    return Batches(masked.batch(batch_size, drop_remainder=True), reading)


def held_out_batches(
    records: Records, encoder: Encoder, rows: Rows, text_key: str, batch_size: int, bad: BadRecords
) -> Iterator[HostBatch]:
    """Each document once, in stored order and masked always alike; arrays as in `train_batches`.

    The last batch may be smaller, and with packing "concat" the last row shorter.

    Raises:
      UserError: the rows cannot be made, or the records hold no text.
    """
    _check(rows)
    encode = Encode(encoder, text_key)
    _check_text(records, encode, Shard())
    stored = grain.MapDataset.source(records).seed(0).random_map(Transform(encode, bad))
    tokens = stored.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    masked = _packed(tokens, rows, encoder.sep).random_map(Mask(encoder, rows), seed=0)
    return iter(masked.batch(batch_size, drop_remainder=False))


def useful_tokens(batch: HostBatch) -> int:
    """Tokens of a batch that are no padding; [CLS] and [SEP] count."""
    return int(np.count_nonzero(batch["padding_mask"]))


class Mask(grain.transforms.RandomMap):
    """A row's tokens to the arrays of one sample, some of the tokens masked.

    As create_pretraining_data.py of https://github.com/google-research/bert does, apart from two things: the
    15 % are of the tokens without [CLS] and [SEP], and a random token is never a special one.

    Args:
      encoder: for the ids of the special tokens.
      rows: T and P.
    """

    def __init__(self, encoder: Encoder, rows: Rows) -> None:
        self._length, self._predictions = rows.sequence_length, rows.predictions
        self._pad, self._cls, self._mask = encoder.pad, encoder.cls, encoder.mask
        self._predictable = np.ones(encoder.size, np.bool_)
        self._predictable[[encoder.pad, encoder.cls, encoder.sep, encoder.mask]] = False
        self._ordinary = np.setdiff1d(np.arange(encoder.size), list(encoder.special.values())).astype(
            np.int32
        )

    def random_map(self, tokens: np.ndarray, rng: np.random.Generator) -> Sample:
        """Tokens int32 [n], n < T, with [SEP] where documents end; token_ids begins with [CLS]."""
        row = np.full(self._length, self._pad, np.int32)
        row[0], row[1 : 1 + len(tokens)] = self._cls, tokens
        positions = self._choose(row, rng)
        labels = row[positions]
        row[positions] = self._replacements(labels, rng)
        return {
            "token_ids": row,
            "segment_ids": np.zeros(self._length, np.int32),
            "padding_mask": np.arange(self._length) <= len(tokens),
            "masked_positions": self._filled(positions),
            "masked_labels": self._filled(labels),
            "masked_weights": (np.arange(self._predictions) < len(positions)).astype(np.float32),
        }

    def _choose(self, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Sorted positions to predict; none only where nothing can be."""
        candidates = np.flatnonzero(self._predictable[row])
        count = min(len(candidates), self._predictions, max(1, round(PREDICTED * len(candidates))))
        return np.sort(rng.choice(candidates, count, replace=False, shuffle=False)) if count else candidates

    def _replacements(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        draws = rng.random(len(labels))
        ordinary = self._ordinary[rng.integers(len(self._ordinary), size=len(labels))]
        return np.where(draws < MASKED, self._mask, np.where(draws < MASKED + RANDOM, ordinary, labels))

    def _filled(self, values: np.ndarray) -> np.ndarray:
        filled = np.zeros(self._predictions, np.int32)
        filled[: len(values)] = values
        return filled


def _packed(samples: grain.IterDataset, rows: Rows, sep: int) -> grain.IterDataset:
    """The tokens of each row, [CLS] and padding left out: int32 [n], n < T."""
    room = rows.sequence_length - 1
    if rows.packing == "none":
        return samples.map(partial(_cut, room=room, sep=sep))
    joined = grain.experimental.ConcatThenSplitIterDataset(samples, length_struct={"tokens": room})
    return joined.map(_without_padding)


def _cut(sample: Sample, room: int, sep: int) -> np.ndarray:
    tokens = sample["tokens"][:room]
    tokens[-1] = sep
    return tokens


def _without_padding(sample: Sample) -> np.ndarray:
    return sample["tokens"][: np.count_nonzero(sample["tokens_segment_ids"])]


def _check(rows: Rows) -> None:
    if rows.packing not in PACKINGS:
        raise UserError(
            f"data.packing={rows.packing} is not known",
            allowed=", ".join(PACKINGS),
            fix=f"data.packing={PACKINGS[0]}",
        )
    if rows.sequence_length < LEAST_LENGTH:
        raise UserError(
            f"sequence_length={rows.sequence_length} leaves no token to predict beside [CLS] and [SEP]",
            allowed=f"at least {LEAST_LENGTH}",
            fix="sequence_length=128",
        )


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
