"""What speaks against the runs that are compared."""

from trainbench.measure.series import MATERIAL_FRACTION
from trainbench.measure.statistics import MIN_BLOCKS_FOR_INTERVAL
from trainbench.results.compare_pairs import Pair
from trainbench.results.record import Result


def of_runs(pair: Pair) -> list[str]:
    """What speaks against the runs of a pair, each once."""
    found = ["ON DIFFERENT CHIPS: this compares the machines too"] if pair.across_chips else []
    for label, side in (("BASE", pair.base), ("NEW", pair.new)):
        found += [f"{label} is {text}" for text in dict.fromkeys(filter(None, map(_rests_on, side.measured)))]
        doubts = [_doubt(result) for result in side.measured]
        for doubt in dict.fromkeys(text for text in doubts if text):
            count = f" ({doubts.count(doubt)} of {len(doubts)} runs)" if len(doubts) > 1 else ""
            found.append(f"{label} {doubt}{count}")
    shared = {run.id for run in pair.base.results} & {run.id for run in pair.new.results}
    if shared:
        found.append(f"the same run is on both sides: {', '.join(sorted(shared))}")
    return found


def _rests_on(result: Result) -> str:
    """What the rate of a forecast rests on; empty for a measurement."""
    about = result.forecast
    if about is None:
        return ""
    if result.throughput is None:
        return f"a bound by the {about.basis}: it can be no faster, and will be slower"
    return f"a forecast by the {about.basis}" + (f": {about.calibration}" if about.calibration else "")


def _doubt(result: Result) -> str:
    """The first thing that speaks against a run's times; empty when nothing does."""
    timing = result.timing
    if timing is None:
        return ""
    if result.status == "interrupted":
        return "was interrupted: only the complete blocks count"
    if not timing.steady:
        return "was not steady"
    if abs(timing.drift_fraction or 0) > MATERIAL_FRACTION:
        return f"drifts by more than {MATERIAL_FRACTION:.0%} over its window"
    few = len(timing.block_s) < MIN_BLOCKS_FOR_INTERVAL
    return f"has fewer than {MIN_BLOCKS_FOR_INTERVAL} blocks" if few else ""
