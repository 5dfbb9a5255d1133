"""The tokenizer of a run: from a file, or trained on the data and kept; and the encoder that uses it."""

import contextlib
import functools
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainbench.data import wordpiece
from trainbench.data.wordpiece import CLS, MASK, PAD, SEP, SPECIAL
from trainbench.errors import UserError

# The one special token of GPT-2's tokenizer, which ends a document (Radford et al. 2019).
END_OF_TEXT = "<|endoftext|>"

# Those of T5's (Raffel et al. 2020).
T5_PAD, T5_END = T5_SPECIAL = ("<pad>", "</s>")

# The special tokens that a tokenizer must have, as alternatives: BERT's for masked language modelling; for a
# causal model something that ends a document; for span corruption padding beside that.
MASKED = (SPECIAL,)
CAUSAL = ((END_OF_TEXT,), SPECIAL)
SPANS = (T5_SPECIAL, SPECIAL)

Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Trained:
    """A vocabulary ready for use.

    Attributes:
      path: its file, for `Encoder`.
      hash: of the file's content, 16 hexadecimal digits.
      size: token ids are below it.
      reason: why this one.
    """

    path: str
    hash: str
    size: int
    reason: str


def obtain(
    texts: Callable[[], Iterator[str]],
    fingerprint: str,
    vocabulary: int,
    cache: Path,
    file: str | None,
    special: Alternatives = MASKED,
    reserved: int = 0,
) -> Trained:
    """The tokenizer in `file`; without one, that of the cache, trained first if it is not there yet.

    Training gives the same vocabulary in every process and on every machine, so all processes of a run agree.

    Args:
      texts: begins anew to go through the documents; gone through twice, and only when training.
      fingerprint: identifies the documents.
      vocabulary: tokens that the model knows; as many, less `reserved`, are trained at most.
      cache: the directory that trained vocabularies are kept below.
      file: a `tokenizer.json`, or a BERT `vocab.txt`, which is taken to be of lower-cased text.
      special: what the file must have. A vocabulary that is trained is WordPiece and has BERT's, for other
        models too.
      reserved: ids at the end of the model's vocabulary that are no tokenizer's.

    Raises:
      UserError: the file cannot be used or has more tokens than the model, there is no text to train on, or
        the cache cannot be written to.
    """
    if file is not None:
        path = Path(file).expanduser()
        return _fitting(path, vocabulary, f"the file of data.tokenizer={file}", special, reserved)
    room = vocabulary - reserved
    path = cache / "tokenizers" / f"wordpiece-{room}-{_settings_hash(fingerprint)}.json"
    with contextlib.suppress(UserError):
        # One that is damaged is as good as none.
        return _fitting(path, room, "trained on this data before")
    _save(wordpiece.train(texts, room), path)
    return _fitting(path, room, f"at most the model's {room} word pieces, trained on this data")


class Encoder:
    """Texts to token ids; picklable, since it reads its file anew in each process that uses it.

    Raises:
      UserError: on first use, if the file is missing, is no tokenizer, or lacks a special token.
    """

    def __init__(self, path: str, special: Alternatives = MASKED) -> None:
        self.path = path
        self._alternatives = special

    def __reduce__(self) -> tuple[type["Encoder"], tuple[str, Alternatives]]:
        return Encoder, (self.path, self._alternatives)

    def __call__(self, text: str | bytes) -> np.ndarray:
        """int32 [n], without special tokens; those written out in the text are text like any other.

        Raises:
          UnicodeDecodeError: the bytes are not UTF-8.
        """
        decoded = text if isinstance(text, str) else text.decode()
        # Unlike `encode`, the call for batches lets other threads go on, and computes no offsets.
        encodings = self._tokenizer.encode_batch_fast([decoded], add_special_tokens=False)
        return np.array(encodings[0].ids, np.int32)

    @functools.cached_property
    def size(self) -> int:
        """Token ids are below it."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @functools.cached_property
    def special(self) -> dict[str, int]:
        """Ids of the special tokens, by name."""
        names = _found(set(self._tokenizer.get_vocab(with_added_tokens=True)), self._alternatives)
        return {token: self._tokenizer.token_to_id(token) for token in names}

    @property
    def pad(self) -> int:
        return self.special[PAD if PAD in self.special else T5_PAD]

    @property
    def cls(self) -> int:
        return self.special[CLS]

    @property
    def sep(self) -> int:
        """Ends a document: [SEP], GPT-2's <|endoftext|>, or T5's </s>."""
        return next(self.special[name] for name in (SEP, END_OF_TEXT, T5_END) if name in self.special)

    @property
    def mask(self) -> int:
        return self.special[MASK]

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return _read(Path(self.path), self._alternatives)


def _read(path: Path, special: Alternatives) -> Any:
    """The tokenizer of a file of either format, set to leave texts whole."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _unusable(path, why or str(error)) from error
    tokenizer = _from_json(text, path) if text.lstrip().startswith("{") else _from_vocabulary(text, path)
    _check_special(set(tokenizer.get_vocab(with_added_tokens=True)), path, special)
    # Files carry the truncation and padding of the model that they come from.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _from_json(text: str, path: Path) -> Any:
    library = wordpiece.library()
    try:
        return library.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing more special
        raise _unusable(path, str(error)) from error


def _from_vocabulary(text: str, path: Path) -> Any:
    tokens = [line.strip() for line in text.splitlines()]
    _check_special(set(tokens), path, MASKED)
    return wordpiece.bert({token: index for index, token in enumerate(tokens)})


def _found(tokens: set[str], alternatives: Alternatives) -> tuple[str, ...]:
    """The first of the alternatives that is there in full; the empty one when none is."""
    return next((names for names in alternatives if tokens.issuperset(names)), ())


def _check_special(tokens: set[str], path: Path, alternatives: Alternatives) -> None:
    if not _found(tokens, alternatives):
        missing = [token for token in alternatives[0] if token not in tokens]
        raise _unusable(path, f"it has no {' and no '.join(missing)}", alternatives)


def _unusable(path: Path, why: str, special: Alternatives = MASKED) -> UserError:
    needed = ", or ".join(" ".join(names) for names in special)
    return UserError(
        f"the tokenizer data.tokenizer={path} cannot be used: {why}",
        allowed=f"a tokenizer.json or a BERT vocab.txt that has {needed}",
        fix="data.tokenizer=FILE, or data.tokenizer=null, which trains one on the data",
    )


def _fitting(
    path: Path, vocabulary: int, reason: str, special: Alternatives = MASKED, reserved: int = 0
) -> Trained:
    encoder = Encoder(os.fspath(path), special)
    size = encoder.size
    if size <= len(encoder.special):
        raise _unusable(path, "it has no token but the special ones")
    if size > vocabulary - reserved:
        beside = f" beside the {reserved} that stand for spans" if reserved else ""
        raise UserError(
            f"the tokenizer {path} has {size} tokens, more than the model knows{beside}",
            allowed=f"at most model.architecture.vocabulary={vocabulary}"
            + (reserved > 0) * f" less {reserved}",
            fix=f"model.architecture.vocabulary={size + reserved}",
        )
    return Trained(os.fspath(path), hashlib.sha256(path.read_bytes()).hexdigest()[:16], size, reason)


def _settings_hash(fingerprint: str) -> str:
    """16 hexadecimal digits of what a trained vocabulary depends on, beside its size."""
    settings = [fingerprint, *wordpiece.SETTINGS, wordpiece.library().__version__]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]


def _save(text: str, path: Path) -> None:
    """Nothing, after the file is there as a whole: written under another name, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"the trained tokenizer cannot be written to {path.parent}: {error.strerror or error}",
            allowed="a directory that exists or can be made, and written to",
            fix="choose a writable cache with the variable TRAINBENCH_CACHE",
        ) from error
