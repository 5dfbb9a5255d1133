"""The table of forecasts in the documents: models by chips, beside what was published of the same chip."""

from collections.abc import Iterator, Sequence

from trainbench.forecast.tables import documents
from trainbench.forecast.tables.rows import Row
from trainbench.forecast.targets import ONE_CHIP
from trainbench.report.numbers import number, percent, size

NAME = "forecasts"
# One chip of each generation, and the batches per device at which figures are published; of BERT-Large, where
# these do not fit (14 on a v3, 32 on a v4), the largest multiple of 4 that does.
TARGETS = tuple(target for target in ONE_CHIP if target != "v2-1")
MODELS = ("resnet50", "vit_b16", "bert_large")
_BATCH, _TEXT_BATCH = 128, 32
_SMALLER_TEXT_BATCHES = {"v3-1": 12, "v4-1": 28, "v5e-1": 12, "v6e-1": 28}
_LENGTH = 512

_TITLES = (
    "model",
    "batch",
    "target",
    "memory",
    "expected /s",
    "95 %",
    "at most /s",
    "limited by",
    "published /s",
)
_NUMBERS = frozenset(("batch", "expected /s", "95 %", "at most /s", "published /s"))
_UNKNOWN = "-"


def overrides(model: str, target: str) -> list[str]:
    """What is typed for one cell of the table, besides the target."""
    is_text = model.startswith("bert")
    batch = _SMALLER_TEXT_BATCHES.get(target, _TEXT_BATCH) if is_text else _BATCH
    length = [f"sequence_length={_LENGTH}"] if is_text else []
    # All rows alike, whether a chip is one device or two.
    norm = [] if is_text or model.startswith("vit") else ["batch_norm=synchronised"]
    return [f"model={model}", "precision=bf16", f"batch_size={batch}", *length, *norm]


def markdown(rows: Sequence[Row], *, ids: bool = False) -> str:
    """The rows as a table, in the order of models and targets.

    Args:
      ids: name the published figures.
    """
    ordered = sorted(rows, key=_place)
    drawn = documents.table(_TITLES, (_cells(row, ids) for row in ordered), _NUMBERS)
    return f"{drawn}\n\n{_made(rows)}" if rows else drawn


def _place(row: Row) -> tuple[int, str, int]:
    model = MODELS.index(row.model) if row.model in MODELS else len(MODELS)
    return model, row.model, TARGETS.index(row.target) if row.target in TARGETS else len(TARGETS)


def _cells(row: Row, ids: bool) -> Iterator[str]:
    yield f"{row.model}, {row.size}" if row.size else row.model
    yield _UNKNOWN if row.batch_size is None else f"{row.batch_size:,}"
    yield row.target
    yield _memory(row)
    yield _rate(row.expected) if row.status == "ok" else row.status
    yield _UNKNOWN if row.low is None or row.high is None else f"{number(row.low)} to {number(row.high)}"
    yield _rate(row.bound)
    yield _UNKNOWN if row.limit_share is None else f"{row.limit} {percent(row.limit_share)}"
    named = f" (`{row.published_id}`)" if ids and row.published_id else ""
    yield f"{_rate(row.published)}{named}"


def _memory(row: Row) -> str:
    if row.needs_bytes is None:
        return _UNKNOWN
    return size(row.needs_bytes) + (f" of {size(row.has_bytes)}" if row.has_bytes else "")


def _rate(value: float | None) -> str:
    return _UNKNOWN if value is None else number(value)


def _made(rows: Sequence[Row]) -> str:
    """With what, and when."""
    dates = sorted({row.date for row in rows})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = {"jax": {row.jax for row in rows}, "libtpu": {row.libtpu for row in rows}}
    named = [f"{name} {', '.join(sorted(found - {''}))}" for name, found in versions.items() if found - {""}]
    return (
        f"Rates are images or sequences per second and chip, memory is per device. Forecast with "
        f"{' and '.join(named)}, {when}; each row's command is in `docs/forecasts.csv`."
    )
