"""Forecasts as rows of a table that is kept as CSV, each with a published figure of the same chip."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from trainbench import published
from trainbench.errors import UserError, first_line
from trainbench.forecast.targets import Target, find
from trainbench.forecast.timing.limits import COLLECTIVES
from trainbench.reference import match
from trainbench.reference.figure import Figure
from trainbench.results import forecast_rate
from trainbench.results.record import Result, Section, Workload


class Row(Section):
    """One forecast; None or an empty text for what is not known.

    Attributes:
      size: "224 px" or "512 tokens".
      batch_size: samples per device and optimizer step.
      needs_bytes, has_bytes: of the memory of one device.
      bound, compiler, expected: samples per second and chip: by peak rates, by the compiler's own estimate,
        and after calibration.
      low, high: the 95 % interval of `expected`.
      limit, limit_share: what takes most of the step; collectives: their share of it.
      published: samples per second and chip of the nearest figure of the same chip; published_id: its id.
      date: when it was forecast, ISO 8601.
      command: what gives it.
    """

    model: str
    size: str = ""
    batch_size: int | None = None
    target: str
    chip: str
    chips: int
    devices: int
    status: str
    basis: str = ""
    needs_bytes: int | None = None
    has_bytes: int | None = None
    bound: float | None = None
    compiler: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    limit: str = ""
    limit_share: float | None = None
    collectives: float | None = None
    published: float | None = None
    published_id: str = ""
    jax: str = ""
    libtpu: str = ""
    date: str
    command: str


def row(result: Result, command: str, figures: Iterable[Figure] = ()) -> Row:
    """The row of a forecast.

    Args:
      command: what gives it, without where its file goes.
      figures: published ones, of any chip.
    """
    about, work, memory, software = result.forecast, result.workload, result.memory, result.software
    assert about is not None, "a forecast says its target"
    target, rate = find(about.target), forecast_rate.rate(result)
    expected = rate if rate and rate.kind == forecast_rate.EXPECTED else None
    low, high = (expected.interval if expected else None) or (None, None)
    longest = about.limits[0] if about.limits else None
    shares = {part.name: part.share for part in about.limits}
    near = nearest(work, target, figures) if work else None
    return Row(
        model=work.model if work else _asked_for(result),
        size=_size(work) if work else "",
        batch_size=work.batch_size if work else None,
        target=about.target,
        chip=target.chip,
        chips=target.chips,
        devices=target.devices,
        status=result.status,
        basis=about.basis,
        needs_bytes=memory.peak_bytes_compiled if memory else None,
        has_bytes=memory.limit_bytes if memory else None,
        bound=_per(about.bound_samples_per_s, target.chips),
        compiler=_per(about.compiler_samples_per_s, target.chips),
        expected=_rounded(expected.value) if expected else None,
        low=_rounded(low),
        high=_rounded(high),
        limit=longest.name if longest else "",
        limit_share=_rounded(longest.share) if longest else None,
        collectives=_rounded(shares.get(COLLECTIVES, 0.0)) if shares else None,
        published=near.value if near else None,
        published_id=near.reference_id if near else "",
        jax=software.jax if software else "",
        libtpu=(software.libtpu or "") if software else "",
        date=result.created_utc.date().isoformat(),
        command=command,
    )


def nearest(work: Workload, target: Target, figures: Iterable[Figure]) -> match.Comparison | None:
    """The figure of the target's chip whose conditions are nearest to the work on that target."""
    run = published.conditions(
        work, target.chips, chip_id=target.chip, devices_per_chip=target.devices_per_chip
    )
    found = match.compare(run, [figure for figure in figures if figure.chip == target.chip], limit=1)
    return found[0] if found else None


def merged(known: Sequence[Row], new: Row) -> list[Row]:
    """The rows with `new` in the place of the one of the same model and target, else at the end."""
    place = (new.model, new.target)
    if place not in {(one.model, one.target) for one in known}:
        return [*known, new]
    return [new if (one.model, one.target) == place else one for one in known]


def written(rows: Sequence[Row]) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(list(Row.model_fields))
    for one in rows:
        table.writerow(["" if value is None else value for value in one.model_dump().values()])
    return text.getvalue()


def read(file: Path) -> list[Row]:
    """The rows of a CSV file that `written` made; none where there is no such file.

    Raises:
      UserError: it is no such file.
    """
    if not file.exists():
        return []
    try:
        rows = csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")), strict=True)
        # An empty cell is what the field is without a value.
        return [Row.model_validate({name: text for name, text in cells.items() if text}) for cells in rows]
    except (csv.Error, TypeError, ValidationError) as error:
        raise UserError(
            f"{file} is not a table of forecasts: {first_line(error)}",
            allowed=f"columns {', '.join(Row.model_fields)}",
            fix="delete it and make it again",
        ) from None


def _asked_for(result: Result) -> str:
    """The model of a forecast that failed before it was known what it is."""
    model = result.config.get("model")
    return str(model.get("name")) if isinstance(model, dict) else "unknown"


def _size(work: Workload) -> str:
    return f"{work.image_size} px" if work.image_size else f"{work.sequence_length} tokens"


def _per(rate: float | None, chips: int) -> float | None:
    return None if rate is None else _rounded(rate / chips)


def _rounded(value: float | None) -> float | None:
    """Five significant digits: more than it is worth, and the same when it is read back."""
    return None if value is None else float(f"{value:.5g}")
