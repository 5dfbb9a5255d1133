"""How throughput grows with the number of devices."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from statistics import median
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import number, percent
from trainbench.report.page.content import Plot, Section
from trainbench.report.series import Run, steadiest

# No interval is drawn here.
_FORECASTS = "Forecasts are no measurements: their lines are dashed, their points pale."


def section(found: Sequence[Run]) -> Section | None:
    """The plot of what was run on several numbers of devices; None where nothing was."""
    alike: dict[tuple[str, str], dict[int, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in found:
        hardware = run.result.hardware
        if facts.usable(run.result) and hardware and facts.rate(run.result):
            alike[run.per_device, facts.unit(run.result)][hardware.device_count].append(run)
    forecasts = {
        f"{name} ({unit})"
        for (name, unit), by_count in alike.items()
        if not all(facts.measured(run.result) for runs in by_count.values() for run in runs)
    }
    several = {
        f"{name} ({unit})": {count: _rate(by_count[count]) for count in sorted(by_count)}
        for (name, unit), by_count in alike.items()
        if len(by_count) > 1
    }
    return Section("scaling", "Scaling", plots=(_plot(several, forecasts),)) if several else None


def _rate(found: Sequence[Run]) -> float:
    """The median over those that were steady, where there are any."""
    return median(facts.rate(run.result) or 0 for run in steadiest(found))


def _plot(found: Mapping[str, Mapping[int, float]], forecasts: Set[str]) -> Plot:
    import altair

    from trainbench.report.page import chart

    drawn = {
        name: found[name] for name in sorted(found, key=lambda name: -len(found[name]))[: chart.MOST_SERIES]
    }
    values = [row | {"kind": chart.kind(row["series"] not in forecasts)} for row in _values(drawn)]
    x = chart.powers("devices", [row["devices"] for row in values], "devices")
    y = altair.Y(
        "speedup:Q",
        title="times the rate of the fewest devices",
        scale=chart.scale(_heights(values)),
        axis=chart.axis(_heights(values)),
    )
    base = altair.Chart(chart.table(values)).encode(x=x)
    names = list(drawn)
    tooltip = ["series:N", "kind:N", "devices:Q", altair.Tooltip("rate:Q", title="samples/s", format=",.4~g")]
    tooltip.append(altair.Tooltip("efficiency:Q", title="% of ideal", format=".1f"))
    layers = [
        base.mark_line(strokeDash=[1, 4], opacity=0.4, strokeWidth=1).encode(
            y=altair.Y("ideal:Q"), color=chart.colour(names)
        ),
        base.mark_line(strokeWidth=1.5).encode(y=y, color=chart.colour(names), strokeDash=chart.dashes()),
        base.mark_point(filled=True, size=70).encode(
            y=y,
            color=chart.colour(names),
            shape=chart.shape(names),
            opacity=chart.opacities(),
            tooltip=tooltip,
        ),
    ]
    return Plot(
        name="scaling",
        title="Throughput against the number of devices",
        caption=(
            "The rate at one batch size per device, in multiples of the rate with the fewest devices of a "
            f"series. Dotted: in proportion to the devices.{_words(drawn, forecasts)}"
            f"{chart.shown(list(found), 'series')}"
        ),
        lines=tuple(_line(row) for row in values)[: chart.MOST_LINES],
        chart=chart.finished(layers, "throughput against the number of devices"),
    )


def _words(drawn: Mapping[str, Any], forecasts: Set[str]) -> str:
    """What the caption says of forecasts, where any is drawn."""
    return f" {_FORECASTS}" if forecasts & drawn.keys() else ""


def _heights(values: Sequence[Mapping[str, Any]]) -> list[float]:
    return [height for row in values for height in (row["speedup"], row["ideal"])]


def _values(drawn: Mapping[str, Mapping[int, float]]) -> Iterator[dict[str, Any]]:
    for name, rates in drawn.items():
        fewest = min(rates)
        for count, rate in rates.items():
            speedup, ideal = rate / rates[fewest], count / fewest
            yield {
                "series": name,
                "devices": count,
                "rate": rate,
                "speedup": speedup,
                "ideal": ideal,
                "efficiency": 100 * speedup / ideal,
            }


def _line(row: Mapping[str, Any]) -> str:
    share = percent(row["efficiency"] / 100)
    return f"{row['series']}, {row['devices']} devices: {number(row['rate'])}/s, {share} of ideal"
