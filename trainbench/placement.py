"""A training step and where its arrays lie, on devices that may be absent: all that compiling it takes."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from trainbench.autos import RunConfig
from trainbench.hardware import presets
from trainbench.training import compile as aot
from trainbench.training import parallel, sharding
from trainbench.training.device import Devices
from trainbench.training.state import TrainState
from trainbench.training.step import StepFunction, repeat
from trainbench.workload import Workload


@dataclass(frozen=True)
class PlacedStep:
    """One device call of a training run, with abstract arguments; no array is made.

    Attributes:
      function: (state, batch) -> (state, metrics), of `steps_per_call` optimizer steps.
      state: each array with its sharding.
      batch: the global batch, split over the devices by `batch_sharding`.
      stacked: whether a call gets one batch for each of its steps.
    """

    config: RunConfig
    function: StepFunction
    mesh: jax.sharding.Mesh
    state: TrainState
    batch: dict[str, jax.ShapeDtypeStruct]
    stacked: bool

    @property
    def state_shardings(self) -> Any:
        return jax.tree.map(lambda leaf: leaf.sharding, self.state)

    @property
    def state_bytes(self) -> int:
        """Bytes of the state on each device."""
        return sharding.bytes_per_device(self.state)

    @property
    def unsplit(self) -> tuple[str, ...]:
        """What should have been split and was not, each with why."""
        return sharding.unsplit(self.state.params, self.mesh)

    @property
    def batch_sharding(self) -> jax.sharding.NamedSharding:
        return parallel.batch_sharding(self.mesh, stacked=self.stacked)

    def lower(self, on_phase: Callable[[str], None]) -> aot.Lowered:
        """The step as StableHLO, state donated."""
        with jax.set_mesh(self.mesh):
            return aot.lower_function(
                self.function,
                self.state,
                self.batch,
                donate=(0,),
                out_shardings=(self.state_shardings, parallel.replicated(self.mesh)),
                matmul_precision=self.config.request.precision.matmul_precision,
                on_phase=on_phase,
            )

    def compile(self, on_phase: Callable[[str], None]) -> aot.Executable:
        """The step as an executable for these devices."""
        return aot.compile_lowered(self.lower(on_phase), self.config.compiler_options, on_phase)

    def without_flags(self, on_phase: Callable[[str], None]) -> str:
        """The step as XLA compiles it without the preset of `compiler_flags`."""
        on_phase("compiling once more without compiler_flags, to see what they change")
        own = presets.without(self.config.compiler_options, self.config.levers.compiler_flags)
        plain = dataclasses.replace(self.config, compiler_options=own)
        return dataclasses.replace(self, config=plain).compile(on_phase).text()


def place(work: Workload, config: RunConfig, devices: Devices) -> PlacedStep:
    """The step of a workload on the mesh that `config` makes of `devices`."""
    mesh = parallel.mesh(devices.handles, config.axes)
    stacked = config.input != "resident" and config.steps_per_call > 1
    state = work.abstract_state
    return PlacedStep(
        config=config,
        function=repeat(work.step, config.steps_per_call, stacked=stacked),
        mesh=mesh,
        state=aot.placed(state, sharding.state_shardings(state, work.optimizer, mesh)),
        batch=aot.abstract_batch(
            work.spec,
            parallel.batch_sharding(mesh, stacked=stacked),
            config.steps_per_call if stacked else None,
        ),
        stacked=stacked,
    )
