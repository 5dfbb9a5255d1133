"""The levers of one step, each with what shows it in the compiled program."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainbench.levers import fp8, registry
from trainbench.levers.lever import Program, Situation
from trainbench.levers.registry import Use
from trainbench.training.precision import FP8

if TYPE_CHECKING:
    from trainbench.autos import RunConfig
    from trainbench.training.device import Devices
    from trainbench.training.state import TrainState


def unproven(config: "RunConfig") -> dict[str, Use]:
    """Each lever that applies, of a step that is not compiled."""
    return registry.uses(config.levers, config.chosen_levers, config.request)


def proven(
    config: "RunConfig",
    state: "TrainState",
    devices: "Devices",
    text: Callable[[], str],
    without_flags: Callable[[], str] | None = None,
) -> dict[str, Use]:
    """Each lever that applies, of a compiled step.

    Args:
      state: the training state, abstract.
      text: gives the compiled program as XLA writes it; not called where every lever is at its plain value.
      without_flags: the same of the step compiled without `compiler_flags`; None where it isn't.

    Raises:
      NotProven: one did not take place.
    """
    uses, in_8_bits = unproven(config), config.request.precision.dense == FP8
    if not registry.needs_proof(uses) and not in_8_bits:
        return uses
    situation = Situation(config.request, devices.platform, devices.compute_capability, config.axes)
    program = Program(text(), state, situation, without_flags)
    found = registry.proven(uses, program)
    return found | {"precision": Use(FP8, None, fp8.prove(program))} if in_8_bits else found
