"""The input tax: what it costs to feed batches from the host or a data set."""

from collections.abc import Sequence
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import number, percent, plus_minus
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.series import Run
from trainbench.results.record import Input, Rate

MOST_RUNS = 20
_WAYS = ("resident", "host", "real")


def section(found: Sequence[Run]) -> Section | None:
    """A bar for each way of feeding, and all rates; None where no run was fed in more than one way.

    Args:
      found: the newest first.
    """
    fed = [run for run in found if facts.usable(run.result) and len(_known(run)) > 1]
    if not fed:
        return None
    drawn = fed[:MOST_RUNS]
    return Section(
        id="input",
        title="Input",
        plots=(_plot(drawn, len(fed)),),
        tables=(_table(drawn),),
    )


def _known(run: Run) -> dict[str, Rate]:
    """The rates by way of feeding, where the resident one, with which they are compared, is there."""
    rates = run.result.input.rates if run.result.input else {}
    here = rates.get("resident")
    return {way: rates[way] for way in rates} if here and here.samples_per_s > 0 else {}


def _plot(drawn: Sequence[Run], fed: int) -> Plot:
    import altair

    from trainbench.report.page import chart

    names = [_name(place, run) for place, run in enumerate(drawn, 1)]
    values = [row for name, run in zip(names, drawn, strict=True) for row in _shares(name, run)]
    x = altair.X("share:Q", title="% of the rate with resident input", axis=altair.Axis(tickCount=6))
    y = chart.rows("run")
    base = altair.Chart(chart.table(values)).encode(y=y, color=chart.colour(_WAYS, "way"))
    tooltip = ["run:N", "way:N", altair.Tooltip("share:Q", title="% of resident", format=".1f")]
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(x=altair.X("low:Q"), x2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(
            x=x, shape=chart.shape(_WAYS, "way"), tooltip=tooltip
        ),
    ]
    left = f" The newest {len(drawn)} of {fed:,} such runs are drawn." if fed > len(drawn) else ""
    return Plot(
        name="input",
        title="Training rate by way of feeding",
        caption=(
            "The rate with batches from the host, and from the real data set, in per cent of the rate with "
            f"one batch kept on the device; bars are the 95 % intervals of the rates.{left}"
        ),
        lines=tuple(f"{name}: {_said(run)}" for name, run in zip(names, drawn, strict=True)),
        chart=chart.finished(layers, "training rate by way of feeding", len(names)),
    )


def _name(place: int, run: Run) -> str:
    return f"{place}. {run.label}"


def _shares(name: str, run: Run) -> list[dict[str, Any]]:
    rates = _known(run)
    full = rates["resident"].samples_per_s
    return [
        {
            "run": name,
            "way": way,
            "share": 100 * rate.samples_per_s / full,
            "low": 100 * (rate.samples_per_s_ci95 or (rate.samples_per_s,))[0] / full,
            "high": 100 * (rate.samples_per_s_ci95 or (rate.samples_per_s,))[-1] / full,
        }
        for way, rate in rates.items()
    ]


def _said(run: Run) -> str:
    return ", ".join(f"{way} {_rate(rate)} {facts.unit(run.result)}/s" for way, rate in _known(run).items())


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "-"
    return f"{number(rate.samples_per_s)} {plus_minus(rate.samples_per_s, rate.samples_per_s_ci95)}"


def _table(drawn: Sequence[Run]) -> Table:
    titles = ("run", "unit", *_WAYS, "loader alone", "input costs", "verdict")
    return Table(
        caption="Samples per second by way of feeding, and the share of a step for which input is to blame.",
        titles=titles,
        rows=[_row(place, run, run.result.input) for place, run in enumerate(drawn, 1) if run.result.input],
        numeric=frozenset((*_WAYS, "loader alone")),
    )


def _row(place: int, run: Run, given: Input) -> list[Cell]:
    return [
        Cell(_name(place, run)),
        Cell(f"{facts.unit(run.result)}/s"),
        *(Cell(_rate(_known(run).get(way))) for way in _WAYS),
        Cell(_rate(given.loader)),
        Cell(_stall(given)),
        Cell(": ".join(part for part in (given.verdict, given.verdict_reason) if part) or "-"),
    ]


def _stall(given: Input) -> str:
    if given.stall_fraction is None:
        return "-"
    if given.stall_fraction_bounds is None:
        return percent(given.stall_fraction)
    low, high = (max(end, 0.0) for end in given.stall_fraction_bounds)
    return f"{percent(given.stall_fraction)} ({percent(low)} to {percent(high)})"
