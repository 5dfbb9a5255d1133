"""What the input costs: from the measurements of a run to one number and a verdict.

The cost is the share of a step for which input is to blame, 1 - (resident step / step as fed). Time spent in
waiting for batches is no measure of it: a wait that overlaps with queued work costs nothing.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from trainbench.measure.blocks import Timing
from trainbench.measure.statistics import summarise, throughput
from trainbench.report.numbers import number, percent, units
from trainbench.results import record
from trainbench.run import MODES, Mode, Parts

# Below this share the input is said to cost nothing that matters.
SMALL_SHARE = 0.05

Verdict = Literal["compute-bound", "input-bound", "contended"]


def input_section(parts: Parts, global_batch_size: int) -> record.Input:
    """How batches came, at what rate by each way that was measured, and what that says."""
    assert parts.config is not None
    mode = parts.config.input
    rates = {way: rate(measured, global_batch_size) for way, measured in timings(parts).items()}
    main, resident = rates.get(MODES[mode][-1]), rates.get("resident")
    # One process makes its share of the batch; all of them together feed the devices.
    loader = rate([parts.loader], global_batch_size) if parts.loader and parts.loader.block_s else None
    stall, capacity, change = None, None, resident_change(parts)
    if main is not None and resident is not None and mode != "resident":
        # The resident step comes out the slower of the two by chance when input costs nothing.
        stall = max(0.0, 1 - main.samples_per_s / resident.samples_per_s)
    if loader is not None and resident is not None:
        capacity = loader.samples_per_s / resident.samples_per_s
    verdict, reason = None, None
    if stall is not None and loader is not None and capacity is not None:
        needed = [("resident", resident), (MODES[mode][-1], main), ("loader", loader)]
        shaky = [name for name, found in needed if found is not None and not found.steady]
        unit = units(parts.task.sample_unit if parts.task else "sample")
        if change is not None and abs(change) > SMALL_SHARE:
            shaky.append(
                f"the machine, whose resident step took {percent(abs(change))} "
                f"{'longer' if change > 0 else 'less'} after the others than before"
            )
        verdict, reason = judge(stall, capacity, f"{number(loader.samples_per_s)} {unit}/s", shaky)
    return record.Input(
        mode=mode,
        stall_fraction=stall,
        rates=rates,
        resident_change=change,
        loader=loader,
        capacity_over_demand=capacity,
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


def resident_change(parts: Parts) -> float | None:
    """By what share the resident step took longer when it was measured again; None if it was not."""
    before, after = parts.beside.get("resident"), parts.again
    if before is None or after is None or not before.block_s or not after.block_s:
        return None
    return summarise(after.step_times_s).median / summarise(before.step_times_s).median - 1


def judge(stall: float, capacity: float, loader: str, shaky: list[str]) -> tuple[Verdict | None, str]:
    """(verdict, reason) for the share of a step that input costs, and the loader's rate over the step's.

    Where input costs much though the loader alone is fast enough, the two compete for something, on a CPU
    for its cores.

    Args:
      loader: the loader's rate in words.
      shaky: the measurements that were not steady; from these nothing is concluded.
    """
    if shaky:
        return None, f"not steady: {', '.join(shaky)}; measure again on a quiet machine, or with more steps"
    cost = f"input costs {percent(stall)} of a step"
    given = f"the loader alone gives {loader}, {number(capacity)} times what the step takes"
    if stall <= SMALL_SHARE:
        return "compute-bound", f"{cost}; {given}"
    if capacity < 1:
        return "input-bound", f"{cost}; {given}"
    return "contended", f"{cost}, though {given}: the two compete for the host"


def out_of_order(parts: Parts, global_batch_size: int) -> str | None:
    """A warning when a way of feeding came out faster, beyond the intervals, than one that does less."""
    found = {way: rate(measured, global_batch_size) for way, measured in timings(parts).items()}
    ways = [way for way in MODES["all"] if way in found]
    for less, more in itertools.pairwise(ways):
        slow, fast = found[less].samples_per_s_ci95, found[more].samples_per_s_ci95
        if slow and fast and fast[0] > slow[1]:
            gain = found[more].samples_per_s / found[less].samples_per_s - 1
            return (
                f"input: {more} input came out {percent(gain)} faster than {less} input, which does less: "
                "the machine changed between the two; measure again"
            )
    return None
