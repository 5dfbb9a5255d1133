"""A collection as one polars table: one row for each result, flat columns, unknown as null.

Before the record's columns stands `file`, beside its `status` stands `outcome`; after them stand those of the
configurations, `config.KEY`, with the key as one types it (`config.measure.steps`). Their values are text, as
one key may hold 32 here and auto there.
"""

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import polars
from pydantic_core import to_json

from trainbench.results.collect import Collection, Loaded
from trainbench.results.columns import Column, Kind, columns
from trainbench.results.outcome import outcome

_TYPES: dict[Kind, Any] = {
    "text": polars.String,
    "integer": polars.Int64,
    "number": polars.Float64,
    "boolean": polars.Boolean,
    "time": polars.Datetime("us", "UTC"),
    "JSON": polars.String,
}


def frame(collection: Collection) -> polars.DataFrame:
    """The loaded results, one a row, in their order; what was skipped is not in it."""
    loaded = collection.loaded
    files = polars.Series("file", [_name(one) for one in loaded], polars.String)
    outcomes = polars.Series("outcome", [outcome(one.result) for one in loaded], polars.String)
    record = [_series(column, [column.value(one.result) for one in loaded]) for column in columns()]
    beside = 1 + next(place for place, one in enumerate(record) if one.name == "status")
    return polars.DataFrame([files, *record[:beside], outcomes, *record[beside:], *_configurations(loaded)])


def _name(one: Loaded) -> str:
    """The file's name; bytes of it that are no text as escapes."""
    return os.fsencode(one.file).decode("utf-8", "backslashreplace")


def _series(column: Column, values: list[Any]) -> polars.Series:
    if column.kind == "JSON":
        values = [None if value is None else to_json(value).decode() for value in values]
    elif column.kind == "time":
        values = [_utc(value) for value in values]
    inner = _TYPES[column.kind]
    if column.listed:
        values = [None if value is None else list(value) for value in values]
        inner = polars.List(inner)
    return polars.Series(column.name, values, inner)


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # within a day of the calendar's ends
        return moment.replace(tzinfo=UTC)


def _configurations(loaded: Iterable[Loaded]) -> Iterator[polars.Series]:
    rows = [dict(_flat(one.result.config)) for one in loaded]
    for key in dict.fromkeys(key for row in rows for key in row):
        yield polars.Series(f"config.{key}", [row.get(key) for row in rows], polars.String)


def _flat(config: dict[str, Any], before: str = "") -> Iterator[tuple[str, str | None]]:
    """Each key as it is typed, and its value as text."""
    for name, value in config.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", _text(value)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
