"""The largest batch that fits, by asking the compiler a few times."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from trainbench.report.numbers import size

MOST_COMPILATIONS = 8
# A CPU has the memory for batches that would take minutes a step: there the search ends at steps of about a
# second on a CPU of 40 GFLOP/s (autos.CPU_FLOPS_PER_S), or at the default batch.
CPU_MOST_FLOPS_PER_STEP = 40e9

# What the compiler says of a batch size (None: the default one): trainbench.fitting.Fit as JSON.
Fit = Mapping[str, Any]
Probe = Callable[[int | None], Fit]


def fitting_batch(probe: Probe) -> tuple[int, str]:
    """The largest batch that the compiler lets fit, to within 1/16, and why not a larger one.

    Memory grows in proportion to the batch above a constant part, so two compilations tell about where it
    ends; further ones make sure. Where not even the smallest batch fits, it is that one: running proves it.
    """
    first = probe(None)
    parts = int(first["gradient_accumulation"])
    known: dict[int, Fit] = {first["batch_size"]: first}
    while not any(fit["fits"] for fit in known.values()):
        smaller = rounded_down(min(known) // 2, parts)
        if smaller == 0:
            return parts, "by the compiler not even the smallest batch fits"
        known[smaller] = probe(smaller)
    most = _most_for_a_cpu(first, parts)
    for _ in range(MOST_COMPILATIONS):
        batch = _next(known, parts, most)
        if batch in known:
            break
        known[batch] = probe(batch)
    largest = max(batch for batch, fit in known.items() if fit["fits"])
    if most is not None and largest >= most:
        return largest, "as large as a CPU can bear: beyond it a step would last many seconds"
    return largest, "the largest that fits: {} of {} by the compiler".format(
        *(size(known[largest][key]) for key in ("needed_bytes", "available_bytes"))
    )


def _most_for_a_cpu(first: Fit, parts: int) -> int | None:
    if first["platform"] != "cpu":
        return None
    bearable = int(CPU_MOST_FLOPS_PER_STEP / first["flops_per_sample"])
    return max(rounded_down(bearable, parts), int(first["batch_size"]))


def _next(known: Mapping[int, Fit], parts: int, most: int | None) -> int:
    """The batch to compile next; one that is known already when there is nothing more to learn."""
    fitting = [batch for batch, fit in known.items() if fit["fits"]]
    too_large = [batch for batch, fit in known.items() if not fit["fits"]]
    low, high = max(fitting), min(too_large, default=None)
    step = spacing(low, parts)
    if high is not None and high - low <= step:
        return low
    measured = {batch: fit["needed_bytes"] for batch, fit in known.items() if fit["needed_bytes"]}
    if len(measured) < 2:
        guess = 2 * low if high is None else (low + high) // 2
    else:
        (a, bytes_a), (b, bytes_b) = sorted(measured.items())[-2:]
        slope = (bytes_b - bytes_a) / (b - a)
        available = known[low]["available_bytes"]
        guess = int(a + (available - bytes_a) / slope) if slope > 0 else 2 * low
    # Between what fits and what doesn't; at most a factor of 64 at once, in case the line is wrong.
    guess = min(max(rounded_down(guess, parts), low + step), 64 * low)
    guess = min(guess, rounded_down(high - 1, parts)) if high is not None else guess
    return min(guess, most) if most is not None else guess


def spacing(batch: int, parts: int) -> int:
    """How finely batches of about this size are told apart: to 1/16 or better, in equal micro-batches."""
    return parts * max(1, 2 ** (math.floor(math.log2(max(1, batch // parts))) - 4))


def rounded_down(batch: int, parts: int = 1) -> int:
    """The largest multiple of `parts` up to `batch` with at most five significant bits; 0 if there is none.

    >>> [rounded_down(batch) for batch in (1, 33, 100, 1000)]
    [1, 32, 100, 992]
    >>> rounded_down(100, 3)
    96
    """
    step = spacing(batch, parts)
    return batch // step * step
