"""The input pipeline with no model behind it: how many samples it could feed at most."""

from collections.abc import Iterator

from trainbench import autos
from trainbench.data.feed import close_batches
from trainbench.data.source import Source, calls_ahead
from trainbench.data.spec import HostBatch
from trainbench.measure.blocks import Timing, measure, time_of_one_call
from trainbench.measure.clock import wall_clock

SEVERAL = 8


class Loading:
    """The input pipeline as `measure` wants it: a call makes a host batch, and nothing is left to fence."""

    def __init__(self, batches: Iterator[HostBatch]) -> None:
        self._batches = batches

    def issue(self) -> None:
        next(self._batches)

    def fence(self) -> None:
        return


def measure_alone(source: Source) -> Timing:
    """Times of the batches of the data set when nothing is done with them: what it could feed at most."""
    batches = source.real_batches()
    try:
        program = Loading(batches)
        ahead = calls_ahead(source, "real", steps_per_call=1)
        for _ in range(ahead):
            program.issue()
        # Worker processes give their batches in bursts, so one alone tells nothing.
        several = max(SEVERAL, 2 * ahead)
        batch_s = sum(time_of_one_call(program) for _ in range(several)) / several
        timing = measure(program, autos.loader_plan(batch_s), clock=wall_clock)
        if timing.interrupted:
            raise KeyboardInterrupt
        return timing
    finally:
        close_batches(batches)
