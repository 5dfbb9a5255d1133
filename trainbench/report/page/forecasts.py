"""What was forecast: whether it fits, how fast by which figure, and what was measured on the real chip."""

from collections.abc import Callable, Iterable, Sequence

from trainbench.report import facts, forecasts
from trainbench.report.numbers import number, percent, size
from trainbench.report.page.content import Cell, Section, Table
from trainbench.report.series import Run
from trainbench.results import forecast_rate
from trainbench.results.collect import printable
from trainbench.results.record import Forecast, Result

_NOTHING = Cell("-")


def section(found: Sequence[Run]) -> Section | None:
    """A table of all forecasts, and what their rates rest on; None without any."""
    runs = [(run, run.result.forecast) for run in found if run.result.forecast]
    if not runs:
        return None
    columns = {title: [cell(run, about) for run, about in runs] for title, cell in _COLUMNS.items()}
    known = {title: cells for title, cells in columns.items() if any(cell != _NOTHING for cell in cells)}
    table = Table(
        caption="Rates per chip, with their 95 % intervals; memory per device. A heading sorts.",
        titles=tuple(known),
        rows=list(zip(*known.values(), strict=True)),
        numeric=frozenset(known) - _WORDS,
        sortable=True,
    )
    return Section(
        id="forecasts",
        title="Forecasts",
        paragraphs=(forecasts.LEGEND,),
        tables=(table,),
        lines=tuple(_lines(runs)),
    )


def _lines(runs: Iterable[tuple[Run, Forecast]]) -> list[str]:
    """What the rates rest on, each once, then what each is per watt and dollar, and the runs beside."""
    rests = [f"calibration: {about.calibration}" for _, about in runs if about.calibration]
    said = [f"{about.target}: {text}" for run, about in runs for text in forecasts.economy(run.result)]
    beside = [
        f"{run.label}: {label}: {text}" for run, _ in runs for label, text in forecasts.beside(run.result)
    ]
    return [printable(line) for line in dict.fromkeys([*rests, *said, *beside])]


def _number(of: Callable[[Result], float | None]) -> Callable[[Run, Forecast], Cell]:
    """A column of rates: `of` finds one."""

    def cell(run: Run, about: Forecast) -> Cell:
        value = of(run.result)
        return _NOTHING if value is None else Cell(number(value), value)

    return cell


def _per_chip(of: Callable[[Forecast], float | None]) -> Callable[[Run, Forecast], Cell]:
    def per_chip(result: Result) -> float | None:
        value = of(result.forecast) if result.forecast else None
        return None if value is None else value / forecast_rate.chips(result)

    return _number(per_chip)


def _expected(run: Run, about: Forecast) -> Cell:
    rate = forecast_rate.rate(run.result)
    if rate is None or rate.kind != forecast_rate.EXPECTED:
        return _NOTHING
    sure = f" ({forecasts.ends(rate.interval)})" if rate.interval else ""
    return Cell(f"{number(rate.value)} {facts.unit(run.result)}/s{sure}", rate.value)


def _memory(run: Run, about: Forecast) -> Cell:
    memory = run.result.memory
    if memory is None or memory.peak_bytes_compiled is None:
        return _NOTHING
    has = f" of {size(memory.limit_bytes)}" if memory.limit_bytes else ""
    return Cell(f"{size(memory.peak_bytes_compiled)}{has}", memory.peak_bytes_compiled)


def _error(run: Run, about: Forecast) -> Cell:
    return Cell(forecasts.signed(about.beside.error), about.beside.error) if about.beside else _NOTHING


def _limit(run: Run, about: Forecast) -> Cell:
    return Cell(printable(forecasts.limit(about))) if about.limits else _NOTHING


def _guessed(run: Run, about: Forecast) -> Cell:
    share = about.unestimated_fraction
    return _NOTHING if share is None else Cell(percent(share), share)


_COLUMNS: dict[str, Callable[[Run, Forecast], Cell]] = {
    "run": lambda run, about: Cell(run.name),
    "target": lambda run, about: Cell(printable(about.target)),
    "status": lambda run, about: Cell(run.result.status),
    "basis": lambda run, about: Cell(about.basis),
    "needs": _memory,
    "expected": _expected,
    "bound": _per_chip(lambda about: about.bound_samples_per_s),
    "by the compiler": _per_chip(lambda about: about.compiler_samples_per_s),
    "limit": _limit,
    "without cycles": _guessed,
    "per watt": _number(forecasts.per_watt),
    "per dollar": _number(forecasts.per_dollar),
    "error": _error,
}
_WORDS = frozenset(("run", "target", "status", "basis", "limit"))
