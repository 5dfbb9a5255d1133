"""What it took to compile the training step."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Any

from trainbench.report.numbers import duration
from trainbench.report.page.content import Plot, Section
from trainbench.report.series import Run
from trainbench.results.record import Compile

_STAGES = ("trace", "lower", "compile")
_MOST_ROWS = 20


def section(found: Sequence[Run]) -> Section | None:
    """A bar for each series and state of the cache, the slowest first; None where nothing was compiled."""
    by_name: dict[str, list[Compile]] = defaultdict(list)
    for run in found:
        stages = run.result.compile
        if stages is not None and stages.compile_s is not None:
            by_name[f"{run.series} · cache {stages.cache or 'unknown'}"].append(stages)
    if not by_name:
        return None
    medians = {name: _medians(several) for name, several in by_name.items()}
    order = sorted(medians, key=lambda name: -sum(medians[name]))
    several = max(len(one) for one in by_name.values()) > 1
    return Section("compile", "Compilation", plots=(_plot(order, medians, several),))


def _medians(several: Sequence[Compile]) -> tuple[float, float, float]:
    """Seconds of each stage."""
    return (
        median(one.trace_s or 0 for one in several),
        median(one.lower_s or 0 for one in several),
        median(one.compile_s or 0 for one in several),
    )


def _plot(order: Sequence[str], medians: dict[str, tuple[float, float, float]], several: bool) -> Plot:
    import altair

    from trainbench.report.page import chart

    names = order[:_MOST_ROWS]
    values: list[dict[str, Any]] = [
        {"name": name, "stage": stage, "order": place, "seconds": seconds}
        for name in names
        for place, (stage, seconds) in enumerate(zip(_STAGES, medians[name], strict=True))
    ]
    bars = (
        altair.Chart(chart.table(values))
        .mark_bar(height=14)
        .encode(
            x=altair.X("seconds:Q", title="seconds", axis=altair.Axis(tickCount=8)),
            y=chart.rows("name"),
            color=chart.colour(_STAGES, "stage"),
            order="order:Q",
            tooltip=["name:N", "stage:N", altair.Tooltip("seconds:Q", format=".3~g")],
        )
    )
    left = f" The slowest {len(names)} of {len(order):,} are drawn." if len(order) > len(names) else ""
    middle = " (medians of all runs alike)" if several else ""
    return Plot(
        name="compile",
        title="Compile times",
        caption=f"Seconds to trace, lower and compile the step{middle}. A hit was read from the cache.{left}",
        lines=tuple(_line(name, medians[name]) for name in names),
        chart=chart.finished([bars], "compile times", len(names)),
    )


def _line(name: str, seconds: Sequence[float]) -> str:
    parts = ", ".join(f"{stage} {duration(one)}" for stage, one in zip(_STAGES, seconds, strict=True))
    return f"{name}: {duration(sum(seconds))} ({parts})"
