"""Runs under the roofs of their chips: arithmetic rate against arithmetic intensity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainbench.hardware import chips
from trainbench.report import facts
from trainbench.report.numbers import number, percent
from trainbench.report.page.content import Plot, Section
from trainbench.report.series import Run

_MOST_ROOFS = 8
_MOST_RUNS = 100


@dataclass(frozen=True)
class _Placed:
    """One run: FLOP per byte, and TFLOP/s per chip under its roof."""

    run: Run
    intensity: float
    tflops: float
    roof: "_Roof"


@dataclass(frozen=True)
class _Roof:
    """What a chip can do: its dense peak in TFLOP/s, and its memory's bandwidth in TB/s."""

    name: str
    peak: float
    bandwidth: float

    def at(self, intensity: float) -> float:
        return min(self.peak, self.bandwidth * intensity)


def section(found: Sequence[Run]) -> Section | None:
    """The plot where chips are known, and a word on those that are not; None where nothing was measured."""
    usable = [run for run in found if facts.usable(run.result) and facts.measured(run.result)]
    if not usable:
        return None
    placed = [one for run in usable if (one := _placed(run))]
    unknown = list(dict.fromkeys(reason for run in usable if (reason := _unknown(run))))
    return Section(
        id="roofline",
        title="Roofline",
        paragraphs=tuple(unknown),
        plots=(_plot(placed),) if placed else (),
    )


def _roof(run: Run) -> _Roof | None:
    hardware, work = run.result.hardware, run.result.workload
    if hardware is None or work is None or hardware.chip is None or not hardware.peak_tflops:
        return None
    chip = _chip(hardware.chip)
    if chip is None or not chip.memory_bandwidth:
        return None
    return _Roof(f"{chip.name}, {work.precision}", hardware.peak_tflops, chip.memory_bandwidth / 1e12)


def _chip(name: str) -> chips.Chip | None:
    try:
        return chips.by_id(name)
    except KeyError:
        return None


def _placed(run: Run) -> _Placed | None:
    result, roof = run.result, _roof(run)
    stages, hardware, step = result.compile, result.hardware, facts.step_time_s(result)
    if roof is None or stages is None or hardware is None or not step or not hardware.chip_count:
        return None
    if not (stages.xla_flops and stages.xla_bytes and stages.program_flops):
        return None
    rate = stages.program_flops / step / hardware.chip_count / 1e12
    return _Placed(run, stages.xla_flops / stages.xla_bytes, rate, roof)


def _unknown(run: Run) -> str | None:
    """Why a run has no place, in one sentence that is the same for all runs like it."""
    hardware, stages = run.result.hardware, run.result.compile
    if hardware is None or (_roof(run) and _placed(run)):
        return None
    begin = f"{hardware.device_kind} has no place under a roof: "
    if hardware.chip is None or not hardware.peak_tflops:
        why = run.result.reason("peak_tflops") or "no published peak is known for it in this precision"
        return f"{begin}{why}."
    chip = _chip(hardware.chip)
    if chip is None or not chip.memory_bandwidth:
        return (
            f"{begin}no memory bandwidth is known for it ({chip.memory_reason if chip else 'unknown chip'})."
        )
    if stages is None or not stages.xla_bytes:
        return f"{begin}its compiler counted no bytes."
    return f"{begin}its FLOPs, step time or number of chips are not known."


def _plot(placed: Sequence[_Placed]) -> Plot:
    from trainbench.report.page import chart

    roofs = list(dict.fromkeys(one.roof for one in placed))[:_MOST_ROOFS]
    drawn = [one for one in placed if one.roof in roofs][:_MOST_RUNS]
    left = f" Drawn are the newest {len(drawn)} of {len(placed):,} runs." if len(drawn) < len(placed) else ""
    return Plot(
        name="roofline",
        title="Arithmetic rate against arithmetic intensity",
        caption=(
            "TFLOP/s per chip that the program's dots and convolutions came to, against FLOPs per byte as "
            "XLA counts both (caches are not allowed for, and a loop's body counts once); both axes "
            f"logarithmic. The lines are the chip's published dense peak and memory bandwidth.{left}"
        ),
        lines=tuple(_line(one) for one in drawn[: chart.MOST_LINES]),
        chart=_chart(drawn, roofs),
    )


def _line(one: _Placed) -> str:
    roof = one.roof.at(one.intensity)
    bound = "compute" if one.roof.at(one.intensity) == one.roof.peak else "memory bandwidth"
    return (
        f"{one.run.label}: {number(one.tflops)} TFLOP/s at {number(one.intensity)} FLOP/byte, "
        f"{percent(one.tflops / roof)} of the roof there ({bound}){facts.doubt(one.run.result)}"
    )


def _chart(drawn: Sequence[_Placed], roofs: Sequence[_Roof]) -> Any:
    import altair

    from trainbench.report.page import chart

    values = [
        {"run": one.run.name, "roof": one.roof.name, "intensity": one.intensity, "tflops": one.tflops}
        for one in drawn
    ]
    names = [roof.name for roof in roofs]
    x = altair.X("intensity:Q", title="FLOP per byte", scale=_LOG, axis=_AXIS)
    y = altair.Y("tflops:Q", title="TFLOP/s per chip", scale=_LOG, axis=_AXIS)
    colour = chart.colour(names, "roof")
    lines = altair.Chart(chart.table(list(_edges(drawn, roofs)))).mark_line()
    points = altair.Chart(chart.table(values)).mark_point(filled=True, size=70, opacity=0.9)
    tooltip = [
        altair.Tooltip("run:N"),
        altair.Tooltip("intensity:Q", title="FLOP/byte", format=".3~g"),
        altair.Tooltip("tflops:Q", title="TFLOP/s per chip", format=".3~g"),
    ]
    shape = chart.shape(names, "roof")
    layers = [
        lines.encode(x=x, y=y, color=colour),
        points.encode(x=x, y=y, color=colour, shape=shape, tooltip=tooltip),
    ]
    return chart.finished(layers, "arithmetic rate against arithmetic intensity")


_LOG = {"type": "log", "nice": False, "padding": 20}
_AXIS = {"format": "~g", "labelOverlap": "greedy", "tickCount": 6}


def _edges(drawn: Sequence[_Placed], roofs: Sequence[_Roof]) -> Iterator[dict[str, Any]]:
    """The ends and the corner of each roof, over the intensities that were met."""
    met = [one.intensity for one in drawn]
    corners = [roof.peak / roof.bandwidth for roof in roofs]
    low, high = min(*met, *corners) / 2, max(*met, *corners) * 2
    for roof, corner in zip(roofs, corners, strict=True):
        for intensity in (low, corner, high):
            yield {"roof": roof.name, "intensity": intensity, "tflops": roof.at(intensity)}
