"""The published figures: `published.csv` beside this file, read and checked.

One row is one number that somebody printed, or one division of such numbers. Columns (blank = not stated):

  id                      unique name
  anchor                  "A" marks a row chosen as the best reference for its model and accelerator
  model, task, dataset    as published; `vocabulary` translates model and task
  accelerator, accelerator_variant   family (one name per family), and board, memory or slice as published
  num_accelerators        as the source counts; for TPU v2, v3, v4 that may be TensorCores
  num_chips               chips: half the TensorCores for TPU v2, v3, v4, v5p
  precision               fp32, tf32, bf16, fp16, fp16-amp, fp8, int8
  per_device_batch, global_batch     samples; the first is the micro-batch where gradients are accumulated
  grad_accum              micro-batches per optimizer step
  seq_len, image_size     tokens; pixels a side
  framework, framework_version
  data                    real or synthetic
  metric, value, value_per_chip      as published; the value divided by chips
  derivation              "published", "aggregated: how" (median of logs), "derived: how" (inputs in note)
  source_repo_or_url, source_path, source_commit, date   where and when (last commit of the file, or the run)
  note                    conditions that no column holds
"""

import csv
import functools
import io
import math
import re
from collections.abc import Mapping
from datetime import date
from importlib import resources

from trainbench.reference import vocabulary
from trainbench.reference.figure import Figure

COLUMNS = (
    "id",
    "anchor",
    "model",
    "task",
    "dataset",
    "accelerator",
    "accelerator_variant",
    "num_accelerators",
    "num_chips",
    "precision",
    "per_device_batch",
    "global_batch",
    "grad_accum",
    "seq_len",
    "image_size",
    "framework",
    "framework_version",
    "data",
    "metric",
    "value",
    "value_per_chip",
    "derivation",
    "source_repo_or_url",
    "source_path",
    "source_commit",
    "date",
    "note",
)

# value_per_chip is printed with five significant digits.
_PER_CHIP_TOLERANCE = 1e-3
# Slice names of these TPU generations count TensorCores, two a chip (cloud.google.com/tpu/docs/v4, v5p);
# those of v5e and v6e count chips.
_TENSORCORE_SLICE = re.compile(r"\bv(?:2|3|4|5p)-(\d+)\b")


class FigureError(ValueError):
    """Rows of a table that cannot be trusted, each named by its line."""


@functools.cache
def load() -> tuple[Figure, ...]:
    """The published figures that ship with the package, in the table's order."""
    text = resources.files("trainbench.reference").joinpath("published.csv").read_text(encoding="utf-8")
    return parse(text, name="published.csv")


def parse(text: str, *, name: str) -> tuple[Figure, ...]:
    """The figures in a CSV text with the columns above; `name` is what its errors call it.

    Raises:
      FigureError: a wrong header, or every bad row with its line and what is wrong with it.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise FigureError(f"{name} line 1: the columns must be {', '.join(COLUMNS)}")
    figures: dict[str, Figure] = {}
    problems = []
    for row in reader:
        try:
            figure = _figure(row)
            if figure.id in figures:
                raise ValueError(f"id: {figure.id!r} is used twice")
            figures[figure.id] = figure
        except ValueError as error:
            problems.append(f"{name} line {reader.line_num}: {error}")
    if problems:
        raise FigureError("\n".join(problems))
    return tuple(figures.values())


def _figure(row: Mapping[str, str]) -> Figure:
    if None in row or None in row.values():
        raise ValueError(f"the row must have {len(COLUMNS)} cells")
    model, variant = vocabulary.MODELS.get(row["model"], (None, ""))
    figure = Figure(
        id=_text(row, "id"),
        model=model,
        published_model=_text(row, "model"),
        model_variant=variant,
        task=vocabulary.task_of(row["task"], row["model"], row["dataset"]),
        dataset=row["dataset"],
        accelerator=_text(row, "accelerator"),
        variant=row["accelerator_variant"],
        num_chips=_count(row, "num_chips"),
        precision=_precision(row),
        per_device_batch=_count(row, "per_device_batch"),
        global_batch=_count(row, "global_batch"),
        grad_accum=_count(row, "grad_accum"),
        sequence_length=_count(row, "seq_len"),
        image_size=_count(row, "image_size"),
        framework=_text(row, "framework"),
        data=_one_of(row, "data", ("real", "synthetic")),
        metric=_metric(row),
        value=_positive(row, "value"),
        value_per_chip=_positive(row, "value_per_chip") if row["value_per_chip"] else None,
        derivation=_derivation(row),
        source=_source(row),
        date=_date(row),
        note=row["note"],
    )
    _check_chips(figure)
    return figure


def _check_chips(figure: Figure) -> None:
    """Refuse a per-chip value that is not value / chips, and a board or a TensorCore counted as a chip."""
    slice_name = _TENSORCORE_SLICE.search(figure.variant)
    if slice_name and figure.num_chips not in (None, int(slice_name.group(1)) // 2):
        raise ValueError(
            f"num_chips: {figure.variant} has {int(slice_name.group(1)) // 2}, not {figure.num_chips}"
        )
    if figure.metric not in vocabulary.SAMPLE_METRICS or figure.num_chips is None:
        return
    expected = figure.value / figure.num_chips if vocabulary.SAMPLE_METRICS[figure.metric] else figure.value
    if figure.value_per_chip is None or not math.isclose(
        figure.value_per_chip, expected, rel_tol=_PER_CHIP_TOLERANCE
    ):
        raise ValueError(f"value_per_chip: {figure.value_per_chip} is not {expected:.5g}")


def _text(row: Mapping[str, str], column: str) -> str:
    if not row[column].strip():
        raise ValueError(f"{column}: must not be blank")
    return row[column]


def _count(row: Mapping[str, str], column: str) -> int | None:
    if not row[column]:
        return None
    if not row[column].isdecimal() or int(row[column]) < 1:
        raise ValueError(f"{column}: {row[column]!r} is not a positive whole number")
    return int(row[column])


def _positive(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        raise ValueError(f"{column}: {row[column]!r} is not a number") from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{column}: {row[column]!r} is not a positive number")
    return value


def _one_of(row: Mapping[str, str], column: str, known: tuple[str, ...]) -> str | None:
    if row[column] and row[column] not in known:
        raise ValueError(f"{column}: {row[column]!r} is not one of {', '.join(known)}")
    return row[column] or None


def _metric(row: Mapping[str, str]) -> str:
    if row["metric"] not in vocabulary.SAMPLE_METRICS and row["metric"] not in vocabulary.OTHER_METRICS:
        raise ValueError(f"metric: {row['metric']!r} is not known")
    return row["metric"]


def _precision(row: Mapping[str, str]) -> str | None:
    precision = _one_of(row, "precision", tuple(vocabulary.PRECISION_CLASSES))
    # Ampere and later run "FP32" matrix products as TF32 unless told otherwise, and the source does not tell.
    return "fp32 or tf32" if precision == "fp32" and "TF32 may be active" in row["note"] else precision


def _derivation(row: Mapping[str, str]) -> str:
    if not re.fullmatch(r"published|(?:aggregated|derived): .+", row["derivation"]):
        raise ValueError(
            f"derivation: {row['derivation']!r} is not published, aggregated: ... or derived: ..."
        )
    return row["derivation"]


def _source(row: Mapping[str, str]) -> str:
    """Repository, path and commit in one line, or an address."""
    place = f"{_text(row, 'source_repo_or_url')} {row['source_path']}".strip()
    return f"{place} @{row['source_commit'][:12]}" if row["source_commit"] else place


def _date(row: Mapping[str, str]) -> str | None:
    try:
        return date.fromisoformat(row["date"]).isoformat() if row["date"] else None
    except ValueError:
        raise ValueError(f"date: {row['date']!r} is not a date like 2024-04-25") from None
