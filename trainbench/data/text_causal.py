"""Rows of tokens for causal language modelling, each token with the one that follows it.

B batch, T tokens of a row.
"""

from dataclasses import dataclass
from functools import partial

import grain
import numpy as np

from trainbench.data import tokenizer
from trainbench.data.text_rows import Sample, check_packing, joined
from trainbench.data.tokenizer import Encoder

ARRAYS = ("inputs", "targets")


@dataclass(frozen=True)
class CausalRows:
    """The form of a row.

    A document of n tokens is n + 1 pairs: the separator and the first token, ..., the last token and the
    separator. Documents joined are then one stream in which every token is an input once and a target once,
    wherever it is cut.

    Attributes:
      sequence_length: pairs of a row (T).
      packing: "concat" joins documents in the order they come and cuts the stream into T pairs, as GPT-2 was
        trained (Radford et al. 2018, section 4.1; nanoGPT, llm.c): attention sees across documents. "none"
        makes a row of each document, cut at T or filled up.
    """

    sequence_length: int
    packing: str = "concat"

    def __post_init__(self) -> None:
        check_packing(self.packing)

    @property
    def special(self) -> tokenizer.Alternatives:
        return tokenizer.CAUSAL

    @property
    def reserved(self) -> int:
        return 0

    def assemble(self, documents: grain.IterDataset, encoder: Encoder, seed: int) -> grain.IterDataset:
        """Samples with the arrays of `CausalLanguageModel.batch_spec`; nothing in them is random."""
        del seed
        rows = documents.map(_pairs)
        if self.packing == "concat":
            rows = joined(rows, self.sequence_length, ARRAYS)
        return rows.map(partial(_sample, length=self.sequence_length, fill=encoder.sep))


def _pairs(document: Sample) -> Sample:
    """The separator at the document's end is that of the document before, too."""
    tokens = document["tokens"]
    return {"inputs": np.roll(tokens, 1), "targets": tokens}


def _sample(row: Sample, length: int, fill: int) -> Sample:
    """`length` pairs; those that the row lacks hold `fill` and weigh nothing."""
    known = min(length, len(row["targets"]))
    return {
        "token_ids": _filled(row["inputs"], length, fill),
        "target_ids": _filled(row["targets"], length, fill),
        "target_weights": (np.arange(length) < known).astype(np.float32),
    }


def _filled(tokens: np.ndarray, length: int, fill: int) -> np.ndarray:
    filled = np.full(length, fill, np.int32)
    filled[: len(tokens)] = tokens[:length]
    return filled
