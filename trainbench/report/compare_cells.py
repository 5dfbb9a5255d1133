"""The cells of a comparison's table: values with their units, ratios, verdicts in words."""

from trainbench.report import facts
from trainbench.report.numbers import count, duration, number, percent, size
from trainbench.results.compare import Judged
from trainbench.results.compare_pairs import Pair

# Ends of an interval, as a ratio, beyond which it says no more than that nothing is known.
_NEAR_NOTHING = 0.01
# A change as large as the value itself; who could not see that could see nothing.
ANYTHING = 1.0


def ratio(judged: Judged) -> str:
    """new / base with the interval that decides, as "0.968 [0.960, 0.976]"."""
    if judged.ratio is None or judged.metric.test == "bounds":
        return "-"
    shown = f"{judged.ratio:.3f}"
    if judged.interval is None:
        return shown
    low, high = judged.interval
    return f"{shown} [{_end(low)}, {_end(high)}]"


def _end(end: float) -> str:
    if end < _NEAR_NOTHING:
        return f"< {_NEAR_NOTHING}"
    return f"{end:.3f}" if end < 1 / _NEAR_NOTHING else f"> {1 / _NEAR_NOTHING:.0f}"


def value(judged: Judged, amount: float | None, pair: Pair) -> str:
    """A metric's value with its unit; "-" for what does not exist."""
    if amount is None:
        return "-"
    match judged.metric.unit:
        case "samples_per_s":
            return f"{number(amount)} {_rate_unit(pair)}"
        case "bytes":
            return size(round(amount))
        case "seconds":
            return duration(amount)
        case "fraction":
            return percent(amount)
        case "count":
            return count(round(amount))
        case "flops" | "plain":
            return number(amount)


def _rate_unit(pair: Pair) -> str:
    results = (*pair.base.results, *pair.new.results)
    name = next((facts.unit(result) for result in results if result.workload), "samples")
    counts = {
        result.hardware.chip_count or result.hardware.device_count for result in results if result.hardware
    }
    return f"{name}/s" if counts <= {1} else f"{name}/s a chip"


def verdict(judged: Judged) -> str:
    """The verdict in words, with by how much, or how little would have been seen."""
    if judged.verdict == "unclear":
        if judged.detectable is None or judged.detectable > ANYTHING:
            return "can't tell"
        return f"can't tell below {percent(judged.detectable)}"
    if judged.verdict == "same":
        return f"same within {percent(_widest(judged))}" if judged.interval else "same"
    if judged.verdict in ("shown", "changed"):
        return judged.reason or "not judged"
    if judged.ratio is None or judged.metric.test == "bounds":
        return judged.verdict
    change = percent(abs(judged.ratio - 1))
    if judged.metric.unit == "samples_per_s":
        return f"{change} slower" if judged.verdict == "regression" else f"{change} faster"
    direction = "more" if judged.ratio > 1 else "less"
    return f"{judged.verdict}: {change} {direction}"


def _widest(judged: Judged) -> float:
    assert judged.interval is not None
    low, high = judged.interval
    return max(high, 1 / low) - 1
