"""Measurements among published figures, per chip."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import number
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.plots import CLOSING
from trainbench.report.series import Run
from trainbench.results.outcome import steady
from trainbench.results.record import Comparison

MOST_RUNS = 6
_MOST_FIGURES = 12
_HERE, _ALIKE, _UNLIKE = "this run", "like for like", "not like for like"
_KINDS = (_HERE, _ALIKE, _UNLIKE)


def section(found: Sequence[Run]) -> Section | None:
    """A plot for the fastest run of each model, per chip, that has figures beside it; None without any.

    The fastest is one that was steady where any was.
    """
    fastest = _fastest(run for run in found if facts.usable(run.result) and _figures(run))
    if not fastest:
        return None
    drawn = fastest[:MOST_RUNS]
    chosen = "The fastest run of each model and size, per chip"
    chosen += f", for {len(drawn)} of {len(fastest):,} of them" if len(fastest) > len(drawn) else ""
    return Section(
        id="published",
        title="Among published figures",
        paragraphs=(f"{chosen}, with the figures nearest to it. {' '.join(CLOSING)}",),
        plots=tuple(_plot(place, run) for place, run in enumerate(drawn, 1)),
        tables=tuple(_table(run) for run in drawn),
    )


def _fastest(found: Iterable[Run]) -> list[Run]:
    best: dict[tuple[str, str, int | None], Run] = {}
    for run in found:
        work = run.result.workload
        if work:
            key = run.result.kind, work.model, work.image_size or work.sequence_length
            best[key] = max(best.get(key, run), run, key=_rank)
    return list(best.values())


def _rank(run: Run) -> tuple[bool, float]:
    """What was not steady comes after all that was."""
    return steady(run.result), _own(run)


def _figures(run: Run) -> list[Comparison]:
    """The figures that a logarithmic axis has a place for, and that have a ratio, the nearest first."""
    return [one for one in run.result.comparisons if one.ratio and one.value > 0][:_MOST_FIGURES]


def _own(run: Run) -> float:
    """Samples per second and chip, as the ratios in the record have it."""
    nearest = _figures(run)[0]
    return nearest.value * (nearest.ratio or 0)


def _plot(place: int, run: Run) -> Plot:
    import altair

    from trainbench.report.page import chart

    unit, values = facts.unit(run.result), list(_values(run))
    names = [row["name"] for row in values]
    kinds = [kind for kind in _KINDS if any(row["kind"] == kind for row in values)]
    rates = [row["value"] for row in values]
    scale = altair.Scale(type="log", nice=False, domain=[min(rates) / 1.3, max(rates) * 1.3])
    axis = altair.Axis(format=",~r", labelOverlap="greedy", tickCount=6)
    x = altair.X("value:Q", title=f"{unit} per second and chip", scale=scale, axis=axis)
    y = chart.rows("name")
    base = altair.Chart(chart.table(values)).encode(y=y)
    here = altair.Chart(chart.table([{"here": _own(run)}]))
    layers = [
        here.mark_rule(strokeDash=[4, 4], opacity=0.4).encode(x=altair.X("here:Q", scale=scale)),
        base.mark_bar(height=4, opacity=0.4).encode(x=altair.X("here:Q"), x2="value:Q", color=_colour(kinds)),
        base.mark_point(filled=True, size=90, opacity=1).encode(
            x=x, color=_colour(kinds), shape=chart.shape(kinds, "kind"), tooltip=list(_tooltip(unit))
        ),
    ]
    return Plot(
        name=f"published-{place}",
        title=run.name + facts.doubt(run.result),
        caption=(
            f"{unit.capitalize()} per second and chip (logarithmic). A bar goes from this run to the "
            "published figure: its length is the factor between them."
        ),
        lines=tuple(_line(one, unit) for one in _figures(run)),
        chart=chart.finished(layers, "this run among published figures", len(names)),
    )


def _colour(kinds: Sequence[str]) -> Any:
    from trainbench.report.page import chart

    return chart.colour(kinds, "kind")


def _tooltip(unit: str) -> Iterator[Any]:
    import altair

    yield altair.Tooltip("name:N", title="accelerator")
    yield altair.Tooltip("value:Q", title=f"{unit}/s per chip", format=",.4~g")
    yield altair.Tooltip("ratio:Q", title="this run / published", format=".3~g")
    yield altair.Tooltip("kind:N")


def _values(run: Run) -> Iterator[dict[str, Any]]:
    """This run, then each figure under a name of its own: two may be of the same accelerator."""
    here, device = _own(run), facts.device(run.result) or "unknown device"
    this = "this run" if facts.measured(run.result) else "this forecast"
    yield {"name": f"{this}: {device}", "value": here, "here": here, "ratio": 1.0, "kind": _HERE}
    for place, one in enumerate(_figures(run), 1):
        kind = _ALIKE if one.like_for_like else _UNLIKE
        name = f"{place}. {one.accelerator}"
        yield {"name": name, "value": one.value, "here": here, "ratio": one.ratio, "kind": kind}


def _line(one: Comparison, unit: str) -> str:
    kind = _ALIKE if one.like_for_like else _UNLIKE
    ratio = f"here {number(one.ratio or 0)} x that"
    return f"{one.accelerator}: {number(one.value)} {unit}/s per chip, {ratio}, {kind}"


def _table(run: Run) -> Table:
    return Table(
        caption=f"Published figures beside {run.name}",
        titles=(
            "accelerator",
            f"{facts.unit(run.result)}/s per chip",
            "here / published",
            "how they differ",
            "source",
        ),
        rows=[_row(one) for one in _figures(run)],
        numeric=frozenset((f"{facts.unit(run.result)}/s per chip", "here / published")),
    )


def _row(one: Comparison) -> list[Cell]:
    kind = _ALIKE if one.like_for_like else _UNLIKE
    differences = "; ".join((kind, *one.differences))
    source = ", ".join(part for part in (one.source, one.date) if part) or "-"
    return [
        Cell(one.accelerator),
        Cell(number(one.value)),
        Cell(f"{number(one.ratio or 0)} x"),
        Cell(differences),
        Cell(source),
    ]
