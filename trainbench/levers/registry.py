"""All levers, and what is done with all of them: read, resolve, prove."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainbench import checks
from trainbench.auto import Auto
from trainbench.errors import UserError
from trainbench.levers import (
    attention,
    batch_statistics,
    compiler_flags,
    convolution,
    first_moment,
    layers,
    loops,
    max_pool,
    remat,
    stem,
    vocabulary,
)
from trainbench.levers.lever import Lever, Program, Situation
from trainbench.levers.values import Levers

if TYPE_CHECKING:
    from trainbench.config import Request

LEVERS: Mapping[str, Lever] = {
    lever.key: lever
    for lever in (
        remat.LEVER,
        loops.GRADIENT_ACCUMULATION,
        loops.STEPS_PER_CALL,
        first_moment.LEVER,
        attention.LEVER,
        layers.LEVER,
        vocabulary.LEVER,
        compiler_flags.LEVER,
        convolution.LEVER,
        stem.LEVER,
        max_pool.LEVER,
        batch_statistics.LEVER,
    )
}
# Those whose values are resolved here; the others' are read with the rest of the request.
RESOLVED = tuple(key for key, lever in LEVERS.items() if not lever.of_request)


@dataclass(frozen=True)
class Use:
    """One lever in one run: its value, why where it was chosen, and what shows it in the compiled program."""

    value: Any
    reason: str | None = None
    proof: str | None = None


def parse(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of each lever that is resolved later; one that is left open is not in it.

    Raises:
      UserError: a value that a lever does not have.
    """
    asked = {key: checks.value_or_default(tree, key, LEVERS[key].kind) for key in RESOLVED}
    return {key: value for key, value in asked.items() if value is not None}


def resolve(situation: Situation) -> tuple[Levers, dict[str, Auto]]:
    """Every lever's value; and, of those that apply and were left open, why.

    Raises:
      UserError: a lever was asked for that the model has nothing for, or that cannot be had here.
    """
    values, autos = {}, {}
    for key in RESOLVED:
        lever, asked = LEVERS[key], situation.request.levers.get(key)
        if not lever.applies(situation.request):
            if asked not in (None, lever.plain):
                raise _does_not_apply(lever, asked, situation.request)
            continue
        if asked is None:
            autos[key] = lever.default(situation)
        values[key] = autos[key].value if asked is None else asked
        lever.check(values[key], situation)
    return Levers(**values), autos


def uses(levers: Levers, autos: Mapping[str, Auto], request: "Request") -> dict[str, Use]:
    """All levers that apply, not proven yet."""
    applying = [lever for lever in LEVERS.values() if lever.applies(request)]
    values = {lever.key: getattr(request if lever.of_request else levers, lever.key) for lever in applying}
    return {key: Use(value, autos[key].reason if key in autos else None) for key, value in values.items()}


def needs_proof(found: Mapping[str, Use]) -> bool:
    """Whether any lever is not at its plain value."""
    return any(use.value != LEVERS[key].plain for key, use in found.items())


def proven(found: Mapping[str, Use], program: Program) -> dict[str, Use]:
    """The same with what shows each in the compiled program; at its plain value there is nothing to show.

    Raises:
      NotProven: a lever did not take place.
    """
    return {
        key: use
        if use.value == LEVERS[key].plain
        else Use(use.value, use.reason, LEVERS[key].prove(use.value, program))
        for key, use in found.items()
    }


def _does_not_apply(lever: Lever, asked: Any, request: "Request") -> UserError:
    return UserError(
        f"{lever.key}={asked} does not apply to model={request.model.name} "
        f"precision={request.precision.name} optimizer={request.optimizer.name}",
        allowed=f"{lever.key}=default ({lever.summary})",
        fix=f"leave {lever.key} out",
    )
