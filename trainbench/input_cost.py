"""What the input costs: from the measurements of a run to one number and a verdict.

The cost is the share of a step for which input is to blame, 1 - (resident step / step as fed). Time spent in
waiting for batches is no measure of it: a wait that overlaps with queued work costs nothing.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trainbench.measure.blocks import Timing
from trainbench.measure.statistics import summarise, throughput
from trainbench.report.numbers import number, percent, units
from trainbench.results import record
from trainbench.run import MODES, Mode, Parts

# Below this share the input is said to cost nothing that matters.
SMALL_SHARE = 0.05

Verdict = Literal["compute-bound", "input-bound", "contended"]


@dataclass(frozen=True)
class Bounds:
    """Between what a rate lies, samples/s: its interval, and where it was measured twice, both results."""

    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """The share of a step that input costs, and the loader's rate over the step's, each with its bounds."""

    stall: float
    stall_bounds: tuple[float, float]
    capacity: float | None = None
    capacity_bounds: tuple[float, float] | None = None


def input_section(parts: Parts, global_batch_size: int) -> record.Input:
    """How batches came, at what rate by each way that was measured, and what that says."""
    assert parts.config is not None
    mode = parts.config.input
    measured = timings(parts)
    loader = [parts.loader] if parts.loader and parts.loader.block_s else []
    main = measured.get(MODES[mode][-1], []) if mode != "resident" else []
    cost = cost_of(measured.get("resident", []), main, loader)
    loader_rate = rate(loader, global_batch_size) if loader else None
    verdict, reason = None, None
    if cost is not None and cost.capacity is not None and loader_rate is not None:
        unit = units(parts.task.sample_unit if parts.task else "sample")
        verdict, reason = judge(cost, f"{number(loader_rate.samples_per_s)} {unit}/s")
    return record.Input(
        mode=mode,
        stall_fraction=max(0.0, cost.stall) if cost else None,
        stall_fraction_bounds=cost.stall_bounds if cost else None,
        rates={way: rate(each, global_batch_size) for way, each in measured.items()},
        resident_change=resident_change(parts),
        loader=loader_rate,
        capacity_over_demand=cost.capacity if cost else None,
        verdict=verdict,
        verdict_reason=reason,
        padding_fraction=parts.padding_fraction,
        bad_records=dict(parts.bad_records),
    )


def timings(parts: Parts) -> Mapping[Mode, list[Timing]]:
    """The measurements that have at least one block, by way of feeding, in the order they were made."""
    assert parts.config is not None
    main = {MODES[parts.config.input][-1]: parts.timing} if parts.timing else {}
    found = {way: [timing] for way, timing in (parts.beside | main).items() if timing.block_s}
    if parts.again is not None and parts.again.block_s and "resident" in found:
        found["resident"].append(parts.again)
    return found


def rate(measured: Sequence[Timing], samples: int) -> record.Rate:
    """The rate over all blocks of the measurements, whose steps have `samples` samples each.

    What changed from one measurement to the next widens the interval.
    """
    step_times_s = [step_s for timing in measured for step_s in timing.step_times_s]
    found = throughput(samples, summarise(step_times_s))
    return record.Rate(
        samples_per_s=found.samples_per_s,
        samples_per_s_ci95=found.ci95,
        steady=all(timing.steady for timing in measured),
    )


def bounds(measured: Sequence[Timing]) -> Bounds:
    """Between what the rate lies, in steps/s: the ends of all the intervals, or of the blocks without one."""
    ends: list[float] = []
    for timing in measured:
        ends += rate([timing], 1).samples_per_s_ci95 or (1 / step_s for step_s in timing.step_times_s)
    return Bounds(min(ends), max(ends))


def cost_of(resident: Sequence[Timing], main: Sequence[Timing], loader: Sequence[Timing]) -> Cost | None:
    """What the input costs; None where there is nothing to set it against."""
    if not resident or not main:
        return None
    demand, fed = rate(resident, 1).samples_per_s, rate(main, 1).samples_per_s
    demand_bounds, fed_bounds = bounds(resident), bounds(main)
    stall_bounds = (1 - fed_bounds.high / demand_bounds.low, 1 - fed_bounds.low / demand_bounds.high)
    if not loader:
        return Cost(1 - fed / demand, stall_bounds)
    given = bounds(loader)
    return Cost(
        stall=1 - fed / demand,
        stall_bounds=stall_bounds,
        capacity=rate(loader, 1).samples_per_s / demand,
        capacity_bounds=(given.low / demand_bounds.high, given.high / demand_bounds.low),
    )


def resident_change(parts: Parts) -> float | None:
    """By what share the resident step took longer when it was measured again; None if it was not."""
    before, after = parts.beside.get("resident"), parts.again
    if before is None or after is None or not before.block_s or not after.block_s:
        return None
    return summarise(after.step_times_s).median / summarise(before.step_times_s).median - 1


def judge(cost: Cost, loader: str) -> tuple[Verdict | None, str]:
    """(verdict, reason); no verdict where the bounds allow for more than one.

    Where input costs much though the loader alone is fast enough, the two compete for something, on a CPU
    for its cores.

    Args:
      loader: the loader's rate in words.
    """
    assert cost.capacity is not None
    assert cost.capacity_bounds is not None
    low, high = (max(0.0, end) for end in cost.stall_bounds)
    found = {verdict(*ends) for ends in itertools.product(cost.stall_bounds, cost.capacity_bounds)}
    words = f"input costs {percent(max(0.0, cost.stall))} of a step"
    given = f"the loader alone gives {loader}, {number(cost.capacity)} times what the step takes"
    if len(found) > 1:
        between = f"between {percent(low)} and {percent(high)}"
        return None, f"{words}, but it may be {between}: measure again on a quiet machine, or with more steps"
    (only,) = found
    if only == "contended":
        return only, f"{words}, though {given}: the two compete for the host"
    return only, f"{words}; {given}"


def verdict(stall: float, capacity: float) -> Verdict:
    """What a share of a step and a loader's rate over the step's mean."""
    if stall <= SMALL_SHARE:
        return "compute-bound"
    return "input-bound" if capacity < 1 else "contended"


def out_of_order(parts: Parts) -> str | None:
    """A warning when a way of feeding came out faster, beyond the bounds, than one that does less."""
    found = {way: bounds(measured) for way, measured in timings(parts).items()}
    ways = [way for way in MODES["all"] if way in found]
    for less, more in itertools.combinations(ways, 2):
        if found[more].low > found[less].high:
            gain = found[more].low / found[less].high - 1
            return (
                f"input: {more} input came out at least {percent(gain)} faster than {less} input, which does "
                "less: the machine changed between the two; measure again"
            )
    return None
