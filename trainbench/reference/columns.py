"""The columns of a table of figures, in order: what each holds, and how a cell of it is read."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from trainbench.reference import vocabulary

# What a row of one's own has to state.
NEEDED = ("id", "model", "task", "accelerator", "metric", "value", "source")
# The longest list of allowed words that an error message prints.
_SHOWN_WORDS = 12


@dataclass(frozen=True)
class Column:
    """One column: its name, what it holds in words, the words it may hold (empty: no list), its reader."""

    name: str
    text: str
    read: Callable[[str], Any]
    words: Sequence[str] = ()


def _text(cell: str) -> str:
    return cell


def _optional_text(cell: str) -> str | None:
    return cell or None


def _identifier(cell: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", cell, re.ASCII):
        raise ValueError(f"{cell!r} is not made of letters, digits, dots, - and _")
    return cell


def _flag(mark: str) -> Callable[[str], bool]:
    def read(cell: str) -> bool:
        if cell not in ("", mark):
            raise ValueError(f"{cell!r} is neither {mark} nor blank")
        return bool(cell)

    return read


def _count(cell: str) -> int | None:
    if not cell:
        return None
    if not re.fullmatch(r"\d{1,12}", cell, re.ASCII) or int(cell) < 1:
        raise ValueError(f"{cell!r} is not a positive whole number")
    return int(cell)


def _positive(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{cell!r} is not a positive number")
    return value


def _optional_positive(cell: str) -> float | None:
    return _positive(cell) if cell else None


def _one_of(words: Sequence[str]) -> Callable[[str], str | None]:
    def read(cell: str) -> str | None:
        if cell and cell not in words:
            listed = ", ".join(words[:_SHOWN_WORDS]) + (", ..." if len(words) > _SHOWN_WORDS else "")
            raise ValueError(f"{cell!r} is not one of {listed}")
        return cell or None

    return read


def _model(cell: str) -> str:
    if cell in vocabulary.MODEL_ALIASES:
        raise ValueError(f"{cell!r} is short for {vocabulary.MODEL_ALIASES[cell]}: write that")
    _refuse_other_spelling(cell, vocabulary.MODELS)
    if not re.fullmatch(r"[a-z0-9_]+", cell):
        raise ValueError(f"{cell!r} is not a name of small letters, digits and _")
    return cell


def _accelerator(cell: str) -> str:
    _refuse_other_spelling(cell, vocabulary.ACCELERATORS)
    return cell


def _refuse_other_spelling(cell: str, known: Sequence[str]) -> None:
    """ "resnet_50" would be another model than "resnet50", and no run would ever meet it."""
    meant = next((word for word in known if vocabulary.plain(word) == vocabulary.plain(cell)), cell)
    if meant != cell:
        raise ValueError(f"{cell!r} is spelt {meant!r} here")


def _derivation(cell: str) -> str:
    if not re.fullmatch(r"published|(?:aggregated|derived): .+", cell or "published"):
        raise ValueError(f"{cell!r} is not published, aggregated: ... or derived: ...")
    return cell or "published"


def _date(cell: str) -> str | None:
    try:
        return date.fromisoformat(cell).isoformat() if cell else None
    except ValueError:
        raise ValueError(f"{cell!r} is not a date like 2024-04-25") from None


def _worded(name: str, text: str, words: Sequence[str]) -> Column:
    return Column(name, text, _one_of(words), words)


COLUMNS = (
    Column("id", "unique name, which reproduce=ID takes", _identifier),
    Column("best", "A: the best reference for its model and accelerator", _flag("A"), ("A",)),
    Column("model", "name here of a model of the same shape; for others a name_like_this", _model),
    Column("published_model", "the model as the source calls it; blank: as model has it", _text),
    Column("model_variant", "what is known of the variant, such as v1.5", _text),
    _worded("task", "what one sample costs: a pass through the same graph", vocabulary.TASKS),
    Column("dataset", "data set", _text),
    Column("accelerator", "family, such as A100", _accelerator, vocabulary.ACCELERATORS),
    Column("board", "board, memory or slice as published, such as SXM4 80GB or v3-8", _text),
    _worded("chip", "id of the chip where the source leaves no doubt", tuple(vocabulary.ACCELERATOR_OF_CHIP)),
    Column("num_chips", "chips; a v3-8 has 4", _count),
    Column("num_devices", "devices as the source counts; a v3-8 has 8 TensorCores", _count),
    _worded("precision", "of the matrix products", tuple(vocabulary.PRECISION_CLASSES)),
    Column("per_device_batch", "samples per micro-batch and device", _count),
    Column("global_batch", "samples per optimizer step over all devices", _count),
    Column("gradient_accumulation", "micro-batches per optimizer step", _count),
    Column("sequence_length", "tokens per row", _count),
    Column("image_size", "pixels a side", _count),
    _worded("optimizer", "optimizer", vocabulary.OPTIMIZERS),
    _worded("objective", "of pre-training with masked words", vocabulary.OBJECTIVES),
    _worded("padding", "what becomes of rows that a text does not fill", vocabulary.PADDING),
    Column("includes_evaluation", "yes: the time includes evaluation or the like", _flag("yes"), ("yes",)),
    Column("framework", "program, such as JAX/Flax", _text),
    Column("framework_version", "its version or container", _text),
    _worded("data", "whether an input pipeline fed the steps", vocabulary.DATA_KINDS),
    _worded("metric", "unit of value", tuple(vocabulary.METRICS)),
    Column("value", "the number as published", _positive),
    Column("value_per_chip", "of a rate: divided by the chips; blank: divided here", _optional_positive),
    Column(
        "derivation", "published; aggregated: how (from logs); derived: how (inputs in note)", _derivation
    ),
    Column("source", "repository or address where the number stands", _text),
    Column("source_path", "file in the repository", _text),
    Column("source_commit", "commit at which it was read", _text),
    Column("date", "of the file's last commit, or of the run: 2024-04-25", _date),
    Column("note", "conditions that no column holds", _text),
)
NAMES = tuple(column.name for column in COLUMNS)
NUMBERS = tuple(column.name for column in COLUMNS if column.read in (_count, _positive, _optional_positive))


def read_row(row: Mapping[str, str]) -> dict[str, Any]:
    """The value of every column of a row; columns that the row lacks are blank.

    Raises:
      ValueError: every cell that cannot be read, as "column: why".
    """
    values, problems = {}, []
    for column in COLUMNS:
        cell = row.get(column.name, "").strip()
        try:
            if column.name in NEEDED and not cell:
                raise ValueError("must not be blank")
            values[column.name] = column.read(cell)
        except ValueError as error:
            problems.append(f"{column.name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return values
