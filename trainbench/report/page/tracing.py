"""Where the time of a step goes on the device, from the traces of the newest runs that have one."""

from collections.abc import Iterator, Sequence
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import clip, duration, number, percent
from trainbench.report.page.content import Cell, Plot, Section, Table
from trainbench.report.series import Run
from trainbench.results.collect import printable
from trainbench.results.record import Operation, Trace

MOST_RUNS = 4
MOST_OPERATIONS = 12
_OTHER, _UNKNOWN = "other", "unknown kind"
_WIDTH = 60


def section(found: Sequence[Run]) -> Section | None:
    """How busy the device was, and the longest operations, per traced run; None where no run was traced.

    Args:
      found: the newest first.
    """
    traced = [(run, run.result.trace) for run in found if run.result.trace]
    if not traced:
        return None
    drawn = [(_name(place, run), trace) for place, (run, trace) in enumerate(traced[:MOST_RUNS], 1)]
    many = "runs" if len(traced) > 1 else "run"
    left = f"the newest {MOST_RUNS} of {len(traced):,} traced" if len(traced) > MOST_RUNS else "every traced"
    told = [(name, trace) for name, trace in drawn if trace.operations]
    return Section(
        id="trace",
        title="Operations",
        paragraphs=(
            f"Of {left} {many}, as JAX's profiler saw some steps after everything that was timed. It slows "
            "the steps that it watches.",
        ),
        numbers=tuple(
            (facts.busy(trace), f"device busy: {name}, {trace.steps:,} steps") for name, trace in drawn
        ),
        plots=tuple(_plot(place, name, trace) for place, (name, trace) in enumerate(told, 1)),
        tables=tuple(_table(name, trace) for name, trace in told),
    )


def _name(place: int, run: Run) -> str:
    return f"{place}. {run.label}"


def _shown(trace: Trace) -> list[tuple[str, Operation]]:
    """The longest operations, under names of their own: two may be called alike."""
    return [
        (f"{place}. {printable(facts.operation(one, _WIDTH))}", one)
        for place, one in enumerate(trace.operations[:MOST_OPERATIONS], 1)
    ]


def _plot(place: int, name: str, trace: Trace) -> Plot:
    import altair

    from trainbench.report.page import chart

    shown = _shown(trace)
    kinds = _kinds([one for _, one in shown], chart.MOST_SERIES)
    values = list(_values(shown, kinds))
    tooltip = [
        "operation:N",
        "compiled:N",
        "kind:N",
        altair.Tooltip("share:Q", title="% of all operations", format=".1f"),
    ]
    tooltip += ["time:N", altair.Tooltip("occurrences:Q", title="times per step", format=".3~g")]
    bars = (
        altair.Chart(chart.table(values))
        .mark_bar(height=14)
        .encode(
            x=altair.X("ms:Q", title="ms per step and device", axis=altair.Axis(tickCount=8)),
            y=chart.rows("operation"),
            color=chart.colour(kinds, "kind"),
            tooltip=tooltip,
        )
    )
    share = percent(min(1.0, sum(one.share for _, one in shown)))
    return Plot(
        name=f"operations-{place}",
        title=name,
        caption=(
            "Milliseconds per step and device in each of the longest operations, without operations inside "
            "it; named after where in the program they come from, where that is known. Together "
            f"{share} of the time in all operations that were recorded."
        ),
        lines=tuple(_line(title, one) for title, one in shown),
        chart=chart.finished([bars], "longest operations of a step", len(values)),
    )


def _kinds(shown: Sequence[Operation], most: int) -> list[str]:
    """The kinds of operations by their time; beyond what there are colours for they are other ones."""
    kinds = list(dict.fromkeys(_kind(one) for one in shown))
    return kinds if len(kinds) <= most else [*kinds[: most - 1], _OTHER]


def _kind(one: Operation) -> str:
    return clip(printable(one.category or _UNKNOWN), _WIDTH)


def _values(shown: Sequence[tuple[str, Operation]], kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    for title, one in shown:
        yield {
            "operation": title,
            "compiled": clip(printable(one.name), _WIDTH),
            "kind": _kind(one) if _kind(one) in kinds else _OTHER,
            "ms": one.self_time_s * 1e3,
            "time": duration(one.self_time_s),
            "share": 100 * one.share,
            "occurrences": one.occurrences,
        }


def _line(title: str, one: Operation) -> str:
    return f"{title} ({_kind(one)}): {duration(one.self_time_s)} per step, {percent(one.share)}"


def _table(name: str, trace: Trace) -> Table:
    titles = ("operation", "kind", "per step", "share", "times per step", "from")
    read = f", read with {printable(trace.source)}" if trace.source else ""
    return Table(
        caption=f"The longest operations of {name}, per device{read}. Share: of all operations' time.",
        titles=titles,
        rows=[_row(place, one) for place, (_, one) in enumerate(_shown(trace), 1)],
        numeric=frozenset(("per step", "share", "times per step")),
    )


def _row(place: int, one: Operation) -> list[Cell]:
    return [
        Cell(f"{place}. {clip(printable(one.name), _WIDTH)}"),
        Cell(_kind(one)),
        Cell(duration(one.self_time_s)),
        Cell(percent(one.share)),
        Cell(number(one.occurrences)),
        Cell(printable(one.origin or "-")),
    ]
