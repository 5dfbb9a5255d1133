"""The input pipeline with no model behind it: how many samples it could feed at most."""

from collections.abc import Iterator

from trainbench import autos
from trainbench.data.source import Source, batches_ahead, close_batches
from trainbench.data.spec import HostBatch
from trainbench.measure.blocks import Timing, measure, time_of_one_call
from trainbench.measure.clock import wall_clock


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
        for _ in range(batches_ahead(source, "real")):
            program.issue()
        return measure(program, autos.loader_plan(time_of_one_call(program)), clock=wall_clock)
    finally:
        close_batches(batches)
