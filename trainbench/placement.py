"""A training step and where its arrays lie, on devices that may be absent: all that compiling it takes."""

from collections.abc import Callable
from dataclasses import dataclass

import jax

from trainbench.autos import RunConfig
from trainbench.training import compile as aot
from trainbench.training import parallel
from trainbench.training.device import Devices
from trainbench.training.state import TrainState
from trainbench.training.step import StepFunction, repeat
from trainbench.workload import Workload


@dataclass(frozen=True)
class PlacedStep:
    """One device call of a training run, with abstract arguments; no array is made.

    Attributes:
      function: (state, batch) -> (state, metrics), of `steps_per_call` optimizer steps.
      state: replicated over the devices.
      batch: split over the devices by `batch_sharding`.
      stacked: whether a call gets one batch for each of its steps.
    """

    config: RunConfig
    function: StepFunction
    state: TrainState
    batch: dict[str, jax.ShapeDtypeStruct]
    replicated: jax.sharding.NamedSharding
    batch_sharding: jax.sharding.NamedSharding
    stacked: bool

    def lower(self, on_phase: Callable[[str], None]) -> aot.Lowered:
        """The step as StableHLO, state donated."""
        return aot.lower_function(
            self.function,
            self.state,
            self.batch,
            donate=(0,),
            out_shardings=(self.replicated, self.replicated),
            matmul_precision=self.config.request.precision.matmul_precision,
            on_phase=on_phase,
        )

    def compile(self, on_phase: Callable[[str], None]) -> aot.Executable:
        """The step as an executable for these devices."""
        return aot.compile_lowered(self.lower(on_phase), self.config.compiler_options, on_phase)


def place(work: Workload, config: RunConfig, devices: Devices) -> PlacedStep:
    """The step of a workload, data-parallel over all of `devices`."""
    mesh = parallel.data_mesh(devices.handles)
    stacked = config.input != "resident" and config.steps_per_call > 1
    batch_sharding = parallel.batch_sharding(mesh, stacked=stacked)
    replicated = parallel.replicated(mesh)
    return PlacedStep(
        config=config,
        function=repeat(work.step, config.steps_per_call, stacked=stacked),
        state=aot.placed(work.abstract_state, replicated),
        batch=aot.abstract_batch(work.spec, batch_sharding, config.steps_per_call if stacked else None),
        replicated=replicated,
        batch_sharding=batch_sharding,
        stacked=stacked,
    )
