"""Scores of forecasts against published figures as CSV, and as a table in a document."""

import csv
import io
from collections.abc import Mapping, Sequence

from trainbench.forecast.tables import documents
from trainbench.forecast.timing.calibration import rounded
from trainbench.forecast.timing.scoring import Score
from trainbench.report.numbers import number

COLUMNS = ("id", "chip", "model", "published", "fitted", "without_chip", "without_model")
_TITLES = {
    "id": "figure",
    "published": "published",
    "fitted": "fitted to all",
    "without_chip": "other chips only",
    "without_model": "other models only",
}


def name(platform: str) -> str:
    """What the place of a platform's table in a document is called."""
    return f"scores of {platform}"


def written(scores: Sequence[Score]) -> str:
    """A CSV line for each figure; rates are samples/s per chip, of matrix products TFLOP/s per device."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    for one in scores:
        rates = (one.case.published, one.fitted, one.without_chip, one.without_model)
        shown = [f"{rounded(rate, 4):g}" for rate in rates]
        lines.writerow([one.case.id, one.case.chip, one.case.model, *shown])
    return text.getvalue()


def read(text: str) -> list[dict[str, str]]:
    """The lines of `written`, by column."""
    return list(csv.DictReader(io.StringIO(text)))


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as a table: what was published, and what is expected with its error."""
    numbers = [title for column, title in _TITLES.items() if column != "id"]
    return documents.table(list(_TITLES.values()), map(_cells, rows), numbers)


def _cells(row: Mapping[str, str]) -> list[str]:
    published = float(row["published"])
    expected = [float(row[column]) for column in ("fitted", "without_chip", "without_model")]
    errors = [f"{number(rate)} ({rate / published - 1:+.0%})" for rate in expected]
    return [f"`{row['id']}`", number(published), *errors]
