"""What tables and texts show of a forecast, each figure found in one way everywhere. Rates are per chip."""

import re
from collections.abc import Sequence

from trainbench.report import facts
from trainbench.report.numbers import number, percent
from trainbench.results.forecast_rate import BOUND, chips, rate
from trainbench.results.record import Beside, Forecast, Result

LEGEND = (
    "Forecasts are no measurements. Expected: by the target's compiler, calibrated against published "
    "figures, whose errors are the interval. At most: a bound by published peak rates; the step is slower."
)


def per_watt(result: Result) -> float | None:
    """Expected samples per second and watt of rated power; None where either is unknown."""
    joules = result.power.joules_per_sample if result.power else None
    return 1 / joules if joules else None


def per_dollar(result: Result) -> float | None:
    """Expected samples per US dollar; None where rate or price is unknown."""
    dollars = result.cost.usd_per_million_samples if result.cost else None
    return 1e6 / dollars if dollars else None


def economy_columns(results: Sequence[Result]) -> dict[str, list[float | None]]:
    """Values per watt and per dollar by their title, one for each result; only what is known of any."""
    unit = facts.unit(next((one for one in results if one.workload), results[0]))
    found = {
        f"{unit}/s/W": [per_watt(one) for one in results],
        f"{unit}/$": [per_dollar(one) for one in results],
    }
    return {title: values for title, values in found.items() if any(value is not None for value in values)}


def economy(result: Result) -> list[str]:
    """Per watt with the kind of power, per dollar with the price; their sources stand in the record."""
    unit, watt, dollar = facts.unit(result), per_watt(result), per_dollar(result)
    said = []
    if watt is not None and result.power:
        said.append(f"{number(watt)} {unit}/s per watt · {_short(result.power.source or '')}")
    if dollar is not None and result.cost:
        said.append(f"{number(dollar)} {unit} per dollar · {_short(result.cost.price_source or '')}")
    return said


def economy_basis(result: Result) -> list[str]:
    """The power and the price behind `economy_columns` in short; the record has their sources."""
    known = {
        f"{facts.unit(result)}/s/W": result.power.source if per_watt(result) and result.power else None,
        f"{facts.unit(result)}/$": result.cost.price_source if per_dollar(result) and result.cost else None,
    }
    return [f"{title}: {_short(text)}" for title, text in known.items() if text]


def _short(source: str) -> str:
    """A power or a price without where it was read."""
    return re.split("; source: | [(]http", source)[0]


def ends(interval: tuple[float, float]) -> str:
    """An interval in words: that of a forecast is wider above the rate than below.

    >>> ends((800.0, 1250.0))
    '800 to 1,250'
    """
    return f"{number(interval[0])} to {number(interval[1])}"


def limit(about: Forecast) -> str:
    """What takes most of the step, with its share; empty where that isn't known."""
    return f"{about.limits[0].name} {percent(about.limits[0].share)}" if about.limits else ""


def beside(result: Result) -> list[tuple[str, str]]:
    """The run beside a forecast in labelled lines: its rate, the error, what is unlike; empty without."""
    run = result.forecast.beside if result.forecast else None
    if run is None:
        return []
    lines = [("measured", f"{number(run.samples_per_s)} {facts.unit(result)}/s, run {run.result_id}")]
    lines.append(("error", error(result, run)))
    return [*lines, *(("unlike", text) for text in run.differences)]


def error(result: Result, run: Beside) -> str:
    """By how much a forecast missed the run beside it, and whether interval or bound hold the run."""
    found = rate(result)
    if found and found.kind == BOUND:
        missed = f"{signed(run.error)} (bound / measured - 1)"
        if run.error < 0:
            return f"{missed}; the run is faster than the bound: one of the two is wrong"
        return f"{missed}; the run reached {percent(1 / (1 + run.error))} of the bound"
    missed = f"{signed(run.error)} (expected / measured - 1)"
    if found is None or found.interval is None:
        return missed
    low, high = (end * chips(result) for end in found.interval)
    where = "inside" if low <= run.samples_per_s <= high else "outside"
    return f"{missed}; the run is {where} the interval"


def signed(share: float) -> str:
    """A share with its sign.

    >>> signed(-0.042), signed(0.2)
    ('-4.2 %', '+20.0 %')
    """
    return f"{100 * share:+.1f} %"


def name(result: Result) -> str:
    """What was forecast: "v6e-1, resnet50 batch 256"."""
    target = result.forecast.target if result.forecast else "unknown target"
    work = result.workload
    return f"{target}, {work.model} batch {work.batch_size:,}" if work else target


def words(result: Result) -> str:
    """A forecast on one line: its rate, what that rests on and what limits it; else why there is none."""
    about, found = result.forecast, rate(result)
    basis = about.basis if about else ""
    if result.status != "ok":
        return f"{result.status}: {result.status_reason}"
    if about is None or found is None:
        return f"no rate ({basis})" if basis else "no rate"
    unit = f"{facts.unit(result)}/s per chip"
    sure = f", 95 %: {ends(found.interval)}" if found.interval else ""
    limited = f" · {limit(about)}" if about.limits else ""
    return f"{found.kind} {number(found.value)} {unit}{sure} ({basis}){limited}"
