"""Pairs of token rows for span corruption (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4).

T inputs of a row, U targets.
"""

from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import grain
import numpy as np

from trainbench.data import span_lengths, tokenizer
from trainbench.data.text_rows import Sample, check_packing, joined
from trainbench.data.tokenizer import Encoder


@dataclass(frozen=True)
class SpanRows:
    """The form of a row.

    A text of n tokens alternates between spans that are kept and spans that are replaced. The inputs are the
    kept ones, a sentinel of its own in place of each replaced one; the targets are the sentinels, each
    followed by what it stands for. Both end as a document does. The decoder's inputs are the targets one
    later, padding first.

    Attributes:
      sequence_length: inputs of a row (T), which fix the targets (U) and the length of the text.
      vocabulary: tokens of the model. The sentinels are its last ids, from the very last one downwards, as
        T5's are the last of its tokenizer; no tokenizer may use them.
      packing: "concat" joins documents in the order they come, a separator behind each, and cuts the stream
        into texts that fill a row. "none" makes a row of each document, cut or filled up.
    """

    sequence_length: int
    vocabulary: int
    packing: str = "concat"

    def __post_init__(self) -> None:
        check_packing(self.packing)

    @property
    def special(self) -> tokenizer.Alternatives:
        return tokenizer.SPANS

    @property
    def reserved(self) -> int:
        return span_lengths.sentinels(self.sequence_length)

    def assemble(self, documents: grain.IterDataset, encoder: Encoder, seed: int) -> grain.IterDataset:
        """Samples with the arrays of `SpanCorruption.batch_spec`, spans chosen as `seed` says."""
        length = span_lengths.text_length(self.sequence_length)
        if self.packing == "none":
            rows = documents.map(partial(_cut, length=length))
        else:
            rows = joined(documents, length, ("tokens",)).map(itemgetter("tokens"))
        return rows.random_map(Corrupt(encoder, self), seed=seed)


class Corrupt(grain.transforms.RandomMap):
    """A text to the arrays of one sample.

    Args:
      encoder: for the ids of padding and of the end of a text.
      rows: T, U and the sentinels.
    """

    def __init__(self, encoder: Encoder, rows: SpanRows) -> None:
        self._inputs = rows.sequence_length
        self._targets = span_lengths.target_length(rows.sequence_length)
        self._pad, self._end = encoder.pad, encoder.sep
        self._last = rows.vocabulary - 1

    def random_map(self, tokens: np.ndarray, rng: np.random.Generator) -> Sample:
        """Tokens int32 [n], no more than fill a row; of a single one nothing is replaced."""
        kept, replaced = self._apart(tokens, rng)
        inputs, targets = np.append(kept, self._end), np.append(replaced, self._end)
        target_ids = self._filled(targets, self._targets)
        return {
            "token_ids": self._filled(inputs, self._inputs),
            "padding_mask": np.arange(self._inputs) < len(inputs),
            "decoder_ids": np.concatenate([[self._pad], target_ids[:-1]]).astype(np.int32),
            "target_ids": target_ids,
            "target_weights": (np.arange(self._targets) < len(targets)).astype(np.float32),
        }

    def _apart(self, tokens: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that are kept and those that are replaced, with the sentinels in both."""
        if len(tokens) < 2:
            return tokens, tokens[:0]
        noise, spans = span_lengths.replaced(len(tokens))
        # A text begins with a span that is kept and ends with one that is replaced, as T5's do.
        widths = np.stack([partition(len(tokens) - noise, spans, rng), partition(noise, spans, rng)], axis=1)
        parts = np.split(tokens, np.cumsum(widths)[:-1])
        marks = self._last - np.arange(spans)
        kept = [piece for part, mark in zip(parts[::2], marks, strict=True) for piece in (part, [mark])]
        taken = [piece for part, mark in zip(parts[1::2], marks, strict=True) for piece in ([mark], part)]
        return np.concatenate(kept), np.concatenate(taken)

    def _filled(self, values: np.ndarray, length: int) -> np.ndarray:
        filled = np.full(length, self._pad, np.int32)
        filled[: len(values)] = values
        return filled


def partition(items: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Sizes [parts], 1 or more each, of consecutive parts of so many items; all ways are equally likely."""
    borders = np.sort(rng.choice(items - 1, parts - 1, replace=False, shuffle=False)) + 1
    return np.diff(borders, prepend=0, append=items)


def _cut(document: Sample, length: int) -> np.ndarray:
    return document["tokens"][:length]
