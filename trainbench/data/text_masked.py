"""Rows of tokens for masked language modelling (Devlin et al. 2019, arXiv:1810.04805).

T tokens of a row, P predictions of a row.
"""

from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import grain
import numpy as np

from trainbench.data import tokenizer
from trainbench.data.text_rows import Sample, check_packing, joined
from trainbench.data.tokenizer import Encoder
from trainbench.errors import UserError

# Section 3.1: the share of tokens that is predicted, and what of it is replaced by [MASK], and by a random
# token; the rest is kept.
PREDICTED = 0.15
MASKED = 0.8
RANDOM = 0.1

# [CLS], [SEP], and one token to predict.
LEAST_LENGTH = 3


@dataclass(frozen=True)
class MaskedRows:
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

    def __post_init__(self) -> None:
        check_packing(self.packing)
        if self.sequence_length < LEAST_LENGTH:
            raise UserError(
                f"sequence_length={self.sequence_length} leaves no token to predict beside [CLS] and [SEP]",
                allowed=f"at least {LEAST_LENGTH}",
                fix="sequence_length=128",
            )

    @property
    def special(self) -> tokenizer.Alternatives:
        return tokenizer.MASKED

    @property
    def reserved(self) -> int:
        return 0

    def assemble(self, documents: grain.IterDataset, encoder: Encoder, seed: int) -> grain.IterDataset:
        """Samples with the arrays of `MaskedLanguageModel.batch_spec`, masked as `seed` says."""
        room = self.sequence_length - 1
        if self.packing == "none":
            rows = documents.map(partial(_cut, room=room, sep=encoder.sep))
        else:
            rows = joined(documents, room, ("tokens",)).map(itemgetter("tokens"))
        return rows.random_map(Mask(encoder, self), seed=seed)


class Mask(grain.transforms.RandomMap):
    """A row's tokens to the arrays of one sample, some of the tokens masked.

    As create_pretraining_data.py of https://github.com/google-research/bert does, apart from two things: the
    15 % are of the tokens without [CLS] and [SEP], and a random token is never a special one.

    Args:
      encoder: for the ids of the special tokens.
      rows: T and P.
    """

    def __init__(self, encoder: Encoder, rows: MaskedRows) -> None:
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


def _cut(document: Sample, room: int, sep: int) -> np.ndarray:
    tokens = document["tokens"][:room]
    tokens[-1] = sep
    return tokens
