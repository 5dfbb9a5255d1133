"""How throughput grows with the number of devices, from results on several numbers of them.

Weak scaling: the batch of each device stays the same. Strong scaling: that of all devices together does, as
`global_batch_size` asks for. Efficiency is the rate per device over that of the smallest number of devices of
the same kind of scaling. Its interval is that of the ratio of two independent rates: the relative half-widths
add as their squares.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from trainbench.report import facts
from trainbench.report.series import Run, steadiest
from trainbench.results.outcome import steady

Kind = Literal["weak", "strong"]
# What the rates of simulated devices are not.
ON_A_CPU = "warning: the devices of a CPU are simulated and share its cores: efficiency means nothing there"


@dataclass(frozen=True)
class Point:
    """One number of devices.

    Attributes:
      chips: behind the devices; None where unknown.
      rate: samples per second over all devices, the median where there are several runs.
      low, high: of a single run the ends of its 95 % interval; the lowest and the highest rate of several.
      efficiency: rate per device over that of the fewest devices.
      efficiency_low, efficiency_high: its interval; None for the fewest devices, and where none is known.
      sent_bytes: by each device per optimizer step; None where unknown.
      communication_share: of a step, with collectives running and nothing else; None where unknown.
    """

    devices: int
    chips: int | None
    rate: float
    low: float
    high: float
    efficiency: float
    efficiency_low: float | None
    efficiency_high: float | None
    sent_bytes: float | None
    communication_share: float | None
    steady: bool


@dataclass(frozen=True)
class Scaling:
    """Points by ascending number of devices, at least two, that differ in nothing else.

    Attributes:
      batch: samples per optimizer step: of each device in weak scaling, of all together in strong scaling.
      on_cpu: whether the devices are simulated.
    """

    kind: Kind
    name: str
    unit: str
    batch: int
    points: tuple[Point, ...]
    measured: bool
    on_cpu: bool

    @property
    def title(self) -> str:
        """In words, with the batch that stays the same."""
        whose = "per device" if self.kind == "weak" else "in all"
        return f"{self.name} · {self.kind} scaling, batch {self.batch:,} {whose}"

    @property
    def per_chip(self) -> bool:
        """Whether rates can be told per chip: as many devices are behind each one at every point."""
        behind = {point.devices / point.chips if point.chips else None for point in self.points}
        return len(behind) == 1 and None not in behind


def scalings(found: Sequence[Run]) -> tuple[Scaling, ...]:
    """What scales, those with the most points first."""
    alike: dict[tuple[Kind, str, str, int], list[Run]] = defaultdict(list)
    for name, run in _named(found):
        work = run.result.workload
        assert work is not None
        fixed_in_all = run.result.config.get("global_batch_size") is not None
        kind: Kind = "strong" if fixed_in_all else "weak"
        batch = work.global_batch_size if fixed_in_all else work.batch_size
        alike[kind, name, facts.unit(run.result), batch].append(run)
    made = [_scaling(*key, by_count) for key, runs in alike.items() if len(by_count := _by_count(runs)) > 1]
    return tuple(sorted(made, key=lambda one: -len(one.points)))


def _named(found: Sequence[Run]) -> Iterator[tuple[str, Run]]:
    """The usable runs, each with the name that it shares with its like on other numbers of devices.

    The outermost axis of the mesh that varies among them is what scales; the others with several devices are
    told.
    """
    by_name: dict[str, list[Run]] = defaultdict(list)
    for run in found:
        if facts.usable(run.result) and run.result.hardware and facts.rate(run.result):
            by_name[run.scaled].append(run)
    for name, runs in by_name.items():
        sizes = {id(run): facts.axes(run.result) for run in runs}
        axes = dict.fromkeys(axis for one in sizes.values() for axis in one)
        varied = [axis for axis in axes if len({one.get(axis, 1) for one in sizes.values()}) > 1]
        for run in runs:
            others = {axis: sizes[id(run)].get(axis, 1) for axis in axes if axis not in varied[:1]}
            fixed = [f"{axis} {size}" for axis, size in others.items() if axis in varied or size > 1]
            yield " · ".join([name, *fixed]), run


def _by_count(runs: Sequence[Run]) -> dict[int, list[Run]]:
    by_count: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        assert run.result.hardware is not None
        by_count[run.result.hardware.device_count].append(run)
    return {count: by_count[count] for count in sorted(by_count)}


def _scaling(kind: Kind, name: str, unit: str, batch: int, by_count: Mapping[int, Sequence[Run]]) -> Scaling:
    runs = [run.result for found in by_count.values() for run in found]
    rates = {count: _rate(found) for count, found in by_count.items()}
    fewest = min(rates)
    points = tuple(
        _point(count, by_count[count], rates[count], (fewest, rates[fewest])) for count in by_count
    )
    on_cpu = any(result.hardware is not None and result.hardware.device_kind == "cpu" for result in runs)
    return Scaling(kind, name, unit, batch, points, all(map(facts.measured, runs)), on_cpu)


def _rate(found: Sequence[Run]) -> tuple[float, float, float]:
    """(rate, low, high) of the steady runs, where there are any."""
    chosen = steadiest(found)
    rates = [facts.rate(run.result) or 0.0 for run in chosen]
    low, high = facts.ends(chosen[0].result) if len(chosen) == 1 else (min(rates), max(rates))
    return median(rates), low, high


def _point(
    count: int,
    found: Sequence[Run],
    rate: tuple[float, float, float],
    fewest: tuple[int, tuple[float, float, float]],
) -> Point:
    chosen = steadiest(found)
    hardware = chosen[0].result.hardware
    assert hardware is not None
    least, base = fewest
    efficiency = (rate[0] / count) / (base[0] / least)
    low, high = _ends(efficiency, rate, base) if count != least else (None, None)
    return Point(
        devices=count,
        chips=hardware.chip_count,
        rate=rate[0],
        low=rate[1],
        high=rate[2],
        efficiency=efficiency,
        efficiency_low=low,
        efficiency_high=high,
        sent_bytes=facts.sent_bytes(chosen[0].result),
        communication_share=facts.communication_share(chosen[0].result),
        steady=all(steady(run.result) for run in chosen),
    )


def _ends(
    efficiency: float, rate: tuple[float, float, float], base: tuple[float, float, float]
) -> tuple[float | None, float | None]:
    """The ends of the interval of a ratio; None where one of the rates has none.

    >>> _ends(0.5, (100.0, 97.0, 103.0), (100.0, 96.0, 104.0))
    (0.475, 0.525)
    """
    if rate[1] == rate[2] or base[1] == base[2]:
        return None, None
    below = math.hypot(1 - rate[1] / rate[0], base[2] / base[0] - 1)
    above = math.hypot(rate[2] / rate[0] - 1, 1 - base[1] / base[0])
    return efficiency * max(0.0, 1 - below), efficiency * (1 + above)
