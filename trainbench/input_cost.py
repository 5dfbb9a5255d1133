"""What the input costs: from the measurements of a run to one number and a verdict.

The cost is the share of a step for which input is to blame, 1 - (resident step / step as fed). Time spent in
waiting for batches is no measure of it: a wait that overlaps with queued work costs nothing.
"""

import itertools
from collections.abc import Mapping
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
    rates = {way: rate(timing, global_batch_size) for way, timing in timings(parts).items()}
    main, resident = rates.get(MODES[mode][-1]), rates.get("resident")
    # One process makes its share of the batch; all of them together feed the devices.
    loader = rate(parts.loader, global_batch_size) if parts.loader and parts.loader.block_s else None
    stall, capacity = None, None
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
        verdict, reason = judge(stall, capacity, f"{number(loader.samples_per_s)} {unit}/s", shaky)
    return record.Input(
        mode=mode,
        stall_fraction=stall,
        rates=rates,
        loader=loader,
        capacity_over_demand=capacity,
        verdict=verdict,
        verdict_reason=reason,
        padding_fraction=parts.padding_fraction,
        bad_records=dict(parts.bad_records),
    )


def timings(parts: Parts) -> Mapping[Mode, Timing]:
    """The measurements that have at least one block, by way of feeding."""
    assert parts.config is not None
    main = {MODES[parts.config.input][-1]: parts.timing} if parts.timing else {}
    return {way: timing for way, timing in (parts.beside | main).items() if timing.block_s}


def rate(timing: Timing, samples: int) -> record.Rate:
    """The rate of a measurement whose steps have `samples` samples each."""
    found = throughput(samples, summarise(timing.step_times_s))
    return record.Rate(samples_per_s=found.samples_per_s, samples_per_s_ci95=found.ci95, steady=timing.steady)


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
    found = {way: rate(timing, global_batch_size) for way, timing in timings(parts).items()}
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
