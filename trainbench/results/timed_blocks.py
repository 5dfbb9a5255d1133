"""The timed blocks of a run as a series, for logs and plots."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainbench.results.record import Result


@dataclass(frozen=True)
class TimedBlock:
    """One block: the step that it ended with, counted from the run's first, and the speed of all devices."""

    last_step: int
    samples_per_s: float


def timed_blocks(result: Result) -> Iterator[TimedBlock]:
    """The blocks in order; none where the run has no workload or was not timed."""
    timing, work = result.timing, result.workload
    if timing is None or work is None:
        return
    samples = timing.steps_per_block * work.global_batch_size
    for number, seconds in enumerate(timing.block_s, start=1):
        rate = samples / seconds if seconds > 0 else math.inf
        if math.isfinite(rate):
            yield TimedBlock(timing.warmup_steps + number * timing.steps_per_block, rate)
