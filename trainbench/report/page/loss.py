"""Training loss, and what the trained models came to on data they had not seen."""

from collections.abc import Sequence
from typing import Any

from trainbench.report.numbers import number, percent
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.series import Run

_MOST_POINTS = 200
_MOST_ROWS = 50
_FEWEST_POINTS = 2


def section(found: Sequence[Run]) -> Section | None:
    """The newest loss curves and the newest evaluations; None where there is neither."""
    learnt = [run for run in found if len(_curve(run)) >= _FEWEST_POINTS]
    evaluated = [run for run in found if run.result.evaluation]
    if not learnt and not evaluated:
        return None
    return Section(
        id="loss",
        title="Loss",
        plots=(_plot(learnt),) if learnt else (),
        tables=(_table(evaluated),) if evaluated else (),
    )


def _curve(run: Run) -> list[tuple[int, float]]:
    """The finite losses by step, at most `_MOST_POINTS` of them: all, or every second, third, ..."""
    curve = run.result.loss.curve if run.result.loss else ()
    finite = [(step, value) for step, value in curve if value is not None]
    return finite[:: -(-len(finite) // _MOST_POINTS) or 1]


def _plot(learnt: Sequence[Run]) -> Plot:
    import altair

    from trainbench.report.page import chart

    drawn = learnt[: chart.MOST_SERIES]
    names = [f"{place}. {run.label}" for place, run in enumerate(drawn, 1)]
    values: list[dict[str, Any]] = [
        {"series": name, "step": step, "loss": value}
        for name, run in zip(names, drawn, strict=True)
        for step, value in _curve(run)
    ]
    lines = (
        altair.Chart(chart.table(values))
        .mark_line(strokeWidth=1.5)
        .encode(
            x=altair.X(
                "step:Q", title="optimizer step", axis=altair.Axis(format=",d", tickMinStep=1, tickCount=8)
            ),
            y=altair.Y("loss:Q", title="loss", scale=altair.Scale(zero=False)),
            color=chart.colour(names),
            tooltip=["series:N", "step:Q", altair.Tooltip("loss:Q", format=".4~g")],
        )
    )
    odd = any(run.result.loss and not run.result.loss.finite for run in drawn)
    left = (
        f" The newest {len(drawn)} of {len(learnt):,} curves are drawn." if len(learnt) > len(drawn) else ""
    )
    return Plot(
        name="loss",
        title="Training loss",
        caption="Training loss (nats) against the optimizer step, warm-up included, as far as it was fetched."
        + (" Losses that are not finite are missing." if odd else "")
        + left,
        lines=tuple(_line(name, run) for name, run in zip(names, drawn, strict=True)),
        chart=chart.finished([lines], "training loss against the optimizer step"),
    )


def _line(name: str, run: Run) -> str:
    curve = _curve(run)
    ends = (f"{number(value)} at step {step:,}" for step, value in (curve[0], curve[-1]))
    return f"{name}: {', '.join(ends)}"


def _table(evaluated: Sequence[Run]) -> Table:
    drawn = evaluated[:_MOST_ROWS]
    left = f" The newest {len(drawn)} of {len(evaluated):,}." if len(evaluated) > len(drawn) else ""
    return Table(
        caption=f"What the trained models do on data they had not seen.{left}",
        titles=("run", "metric", "value", "predictions", "split"),
        rows=[_row(run) for run in drawn],
        numeric=frozenset(("value", "predictions")),
    )


def _row(run: Run) -> list[Cell]:
    found = run.result.evaluation
    assert found is not None, "only runs that were evaluated are listed"
    return [
        Cell(run.name),
        Cell(found.metric.replace("_", " ")),
        Cell(percent(found.value)),
        Cell(f"{found.samples:,}"),
        Cell(found.split),
    ]
