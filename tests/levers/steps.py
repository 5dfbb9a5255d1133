"""Compiled steps of tiny models with levers, and what they lead to."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from tests.building import SHALLOW, request
from trainbench import autos, placement, workload
from trainbench.data.synthetic import host_batch
from trainbench.levers import registry
from trainbench.levers.lever import Program, Situation
from trainbench.training.compile import Executable
from trainbench.training.device import all_devices

BATCH = 4


@dataclass(frozen=True)
class Compiled:
    """A step for one CPU device.

    Attributes:
      losses: of the first steps, all with the same batch.
    """

    config: autos.RunConfig
    executable: Executable
    program: Program
    losses: tuple[float, ...]

    def proof(self, key: str) -> str | None:
        """What shows a lever in this step."""
        found = registry.uses(self.config.levers, self.config.chosen_levers, self.config.request)
        return registry.proven(found, self.program)[key].proof


@functools.cache
def compiled(model: str, *overrides: str, steps: int = 3) -> Compiled:
    """The step of a tiny model of one block in float32, with these overrides, and its first losses."""
    return _compiled((*SHALLOW[model], "precision=fp32", *overrides), steps)


def _compiled(overrides: Sequence[str], steps: int) -> Compiled:
    asked, devices = request(*overrides, f"batch_size={BATCH}"), all_devices().first(1)
    task = workload.make_task(asked)
    config = autos.resolve(asked, task, devices.platform, 1)
    work = workload.build(config, task)
    placed = placement.place(work, config, devices)
    executable = placed.compile(str)
    state = jax.device_put(jax.jit(work.make_state)(), placed.state_shardings)
    batch = jax.device_put(host_batch(work.spec, 0), placed.batch_sharding)
    losses = []
    for _ in range(steps):
        state, metrics = executable.call(state, batch)
        losses.append(float(np.asarray(metrics["loss"])))
    situation = Situation(asked, devices.platform)
    program = Program(executable.text(), placed.state, situation)
    return Compiled(config, executable, program, tuple(losses))
