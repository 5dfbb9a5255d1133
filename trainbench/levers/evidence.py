"""The levers of one step, each with what shows it in the compiled program."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainbench.levers import registry
from trainbench.levers.lever import Program, Situation
from trainbench.levers.registry import Use

if TYPE_CHECKING:
    from trainbench.autos import RunConfig
    from trainbench.training.device import Devices
    from trainbench.training.state import TrainState


def unproven(config: "RunConfig") -> dict[str, Use]:
    """Each lever that applies, of a step that is not compiled."""
    return registry.uses(config.levers, config.chosen_levers, config.request)


def proven(
    config: "RunConfig", state: "TrainState", devices: "Devices", text: Callable[[], str]
) -> dict[str, Use]:
    """Each lever that applies, of a compiled step.

    Args:
      state: the training state, abstract.
      text: gives the compiled program as XLA writes it; not called where every lever is at its plain value.

    Raises:
      NotProven: one did not take place.
    """
    uses = unproven(config)
    if not registry.needs_proof(uses):
        return uses
    situation = Situation(config.request, devices.platform, devices.compute_capability, config.axes)
    return registry.proven(uses, Program(text(), state, situation))
