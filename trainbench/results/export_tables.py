"""The table of results as a file: CSV for spreadsheets, Parquet for programs."""

import io
import json
from typing import Any

import polars

# A spreadsheet runs what begins so, also where it is quoted; OWASP ASVS 5.0, 1.2.10, has a single quote put
# before it. Carriage return and line feed belong to that list in OWASP's "CSV Injection".
_FORMULA = r"^[=+\-@\t\r\n\x00]"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"


def parquet(frame: polars.DataFrame) -> bytes:
    """The table as a Parquet file, lists as lists."""
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


def csv(frame: polars.DataFrame) -> bytes:
    """The table as UTF-8 CSV (RFC 4180) with a header; null is an empty cell, a list is JSON text.

    A text that a spreadsheet would run as a formula gets a single quote before it, unless it is a number;
    control characters but tab and line feed become "?".
    """
    defused = polars.DataFrame([_defused(_text(series)) for series in frame])
    return defused.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ").encode()


def _text(series: polars.Series) -> polars.Series:
    if not isinstance(series.dtype, polars.List):
        return series
    values: list[Any] = series.to_list()
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return polars.Series(series.name, texts, polars.String)


def _defused(series: polars.Series) -> polars.Series:
    if series.dtype != polars.String:
        return series
    runs = series.str.contains(_FORMULA) & ~series.str.contains(_NUMBER)
    clean = series.str.replace_all(_CONTROL, "?")
    return ("'" + clean).zip_with(runs, clean).alias(series.name)
