"""WordPiece vocabularies as BERT has (Devlin et al. 2019, arXiv:1810.04805), the same wherever trained."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from trainbench import extras
from trainbench.errors import UserError

PAD, UNKNOWN, CLS, SEP, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"

# Training reads this many characters and no more, so that it ends soon on sets of any size.
MOST_CHARACTERS = 50_000_000
# Limit of the alphabet and least frequency of a merge, as in the BertWordPieceTokenizer of `tokenizers`.
MOST_LETTERS = 1000
LEAST_FREQUENCY = 2
# Fewer leave no room for pieces beside the special tokens and an alphabet.
LEAST_VOCABULARY = 64

# What a vocabulary depends on beside the texts and its size.
SETTINGS = (MOST_CHARACTERS, MOST_LETTERS, LEAST_FREQUENCY)


def train(texts: Callable[[], Iterator[str]], vocabulary: int) -> str:
    """The `tokenizer.json` of a lower-casing BERT WordPiece vocabulary of at most `vocabulary` tokens.

    Special tokens are the ids 0 to 4, in the order of `SPECIAL`.

    Raises:
      UserError: there is no text, or the vocabulary is smaller than any that makes sense.
    """
    if vocabulary < LEAST_VOCABULARY:
        raise UserError(
            f"no tokenizer can be trained for model.architecture.vocabulary={vocabulary}",
            allowed=f"at least {LEAST_VOCABULARY}",
            fix=f"model.architecture.vocabulary={LEAST_VOCABULARY}, or more",
        )
    tokenizers = library()
    letters = _alphabet(_first_characters(texts()), most=min(MOST_LETTERS, (vocabulary - len(SPECIAL)) // 4))
    # The library numbers continuing letters as its hash tables happen to yield them, and breaks ties between
    # merges by number: its vocabulary would differ from run to run. Letters that are known from the start,
    # as special tokens are, have fixed numbers.
    continuing = [CONTINUATION + letter for letter in letters if not _stands_alone(letter)]
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=vocabulary,
        min_frequency=LEAST_FREQUENCY,
        special_tokens=[*SPECIAL, *continuing],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    learner = bert({})
    learner.train_from_iterator(_first_characters(texts()), trainer)
    return bert(learner.get_vocab()).to_str()


def library() -> Any:
    """The package `tokenizers`.

    Raises:
      UserError: it is not installed.
    """
    # Grain's threads and processes share the cores out already; and where this is not set, versions of the
    # library warn whenever a process forks. A user's own setting stays.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            "text needs the package tokenizers, which is not installed",
            allowed="data=synthetic, and image sets, without it",
            fix=extras.install("text"),
        ) from error
    return tokenizers


def bert(vocabulary: dict[str, int]) -> Any:
    """A lower-casing BERT tokenizer with these ids."""
    tokenizers = library()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.add_special_tokens([token for token in SPECIAL if token in vocabulary])
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece(prefix=CONTINUATION)
    return tokenizer


def _first_characters(texts: Iterator[str]) -> Iterator[str]:
    left = MOST_CHARACTERS
    for text in texts:
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return


def _alphabet(texts: Iterator[str], most: int) -> list[str]:
    """The most frequent letters, sorted."""
    normalize = library().normalizers.BertNormalizer(lowercase=True).normalize_str
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalize(text))
    letters = sorted(
        (letter for letter in counts if not letter.isspace()), key=lambda one: (-counts[one], one)
    )
    if not letters:
        raise UserError(
            "a tokenizer is trained on the data, and the data has no text",
            allowed="a split with text in data.text_key, or data.tokenizer=FILE",
            fix="choose another data.split or data.text_key",
        )
    return sorted(letters[:most])


def _stands_alone(letter: str) -> bool:
    """Whether BERT takes the character for a word of its own: ASCII's and Unicode's punctuation."""
    return (letter.isascii() and not letter.isalnum()) or unicodedata.category(letter).startswith("P")
