"""From documents to rows of tokens: what masked and causal language models share."""

from functools import partial
from typing import Protocol

import grain
import numpy as np

from trainbench.data.settings import PACKINGS
from trainbench.data.tokenizer import Alternatives, Encoder
from trainbench.errors import UserError

Sample = dict[str, np.ndarray]


class Rows(Protocol):
    """The form of a row."""

    @property
    def special(self) -> Alternatives:
        """The special tokens that a tokenizer must have for such rows."""

    @property
    def reserved(self) -> int:
        """Token ids at the end of the model's vocabulary that no tokenizer may use."""

    def assemble(self, documents: grain.IterDataset, encoder: Encoder, seed: int) -> grain.IterDataset:
        """The samples of a stream of documents.

        Args:
          documents: each {"tokens": int32 [n]}, n > 1, the separator at its end.
          seed: of what is random in a row.
        """


def joined(documents: grain.IterDataset, length: int, arrays: tuple[str, ...]) -> grain.IterDataset:
    """Rows {name: [n]} of these arrays of the documents, joined in the order they come and cut.

    n is `length`, but for the last row of a stream that ends.
    """
    rows = grain.experimental.ConcatThenSplitIterDataset(
        documents, length_struct=dict.fromkeys(arrays, length)
    )
    return rows.map(partial(_without_padding, arrays=arrays))


def _without_padding(row: Sample, arrays: tuple[str, ...]) -> Sample:
    return {name: row[name][: np.count_nonzero(row[f"{name}_segment_ids"])] for name in arrays}


def check_packing(packing: str) -> None:
    """Nothing, or a UserError when there is no such packing."""
    if packing not in PACKINGS:
        raise UserError(
            f"data.packing={packing} is not known",
            allowed=", ".join(PACKINGS),
            fix=f"data.packing={PACKINGS[0]}",
        )
