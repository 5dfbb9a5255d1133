"""Published figures as forecasts: for which target, and under which configuration.

A forecast keeps a figure's precision, sizes, optimizer, batch per chip and gradient accumulation, the last as
it is stated: a loop of 4096 micro-batches compiles as fast as one of 2, and its trips are counted. Its data
are always synthetic: what is forecast is the training step.
"""

from collections.abc import Sequence
from typing import Any

from trainbench import reproduce
from trainbench.errors import UserError
from trainbench.forecast import targets
from trainbench.forecast.targets import Target
from trainbench.hardware import chips
from trainbench.reference.figure import Figure
from trainbench.training.device import Devices

SYNTHETIC = "data=synthetic"


def target(figure: Figure) -> str | None:
    """The name of the slice, or of the GPUs, that a figure was measured on; None where it cannot be named."""
    if figure.chip is None or figure.num_chips is None:
        return None
    return targets.of_chips(figure.chip, figure.num_chips)


def obstacles(figure: Figure) -> tuple[str, ...]:
    """Why no forecast can be set beside a figure, in words; empty where one can."""
    missing = figure.missing()
    if missing:
        return missing
    name = target(figure)
    if name is None:
        return (why_no_target(figure),)
    try:
        _expanded(figure, name)
    except UserError as error:
        return (error.problem,)
    return ()


def overrides(figure: Figure) -> tuple[str | None, list[str]]:
    """(name of the target, overrides of a forecast under a figure's conditions); `reproduce` is not in them.

    >>> from trainbench.reference import figures
    >>> overrides(figures.find("bert-large-tpu-v4-x16-bf16-s512-tensorflow"))[1][:3]
    ['model=bert_large', 'precision=bf16', 'sequence_length=512']

    Where there are `obstacles`, it is (None, []).
    """
    name = target(figure)
    if name is None or obstacles(figure):
        return None, []
    return name, [each for each in _expanded(figure, name) if not each.startswith("reproduce=")]


def expand(given: Sequence[str], on: Target) -> list[str]:
    """The overrides with those that `reproduce=ID` among them stands for on a target; the given ones win.

    Raises:
      UserError: there is no such figure, or it can't be forecast for this target.
    """
    stated = {each.lstrip("+").partition("=")[0] for each in given}
    if "reproduce" not in stated:
        return list(given)
    return reproduce.expand([*([] if "data" in stated else [SYNTHETIC]), *given], devices(on))


def devices(of: Target) -> Devices:
    """The devices of a target that isn't there: their kind and number; nothing can be placed on them."""
    absent: tuple[Any, ...] = (of.name,) * of.devices
    if of.platform == "cpu":
        return Devices(absent, "cpu", "cpu", None)
    chip = chips.by_id(of.chip)
    return Devices(absent, of.platform, chip.name, chip)


def _expanded(figure: Figure, name: str) -> list[str]:
    return expand([f"reproduce={figure.id}"], targets.find(name))


def why_no_target(figure: Figure) -> str:
    """Why `target` names none, in words."""
    if figure.chip is None:
        return f"its source does not say which {figure.accelerator} it was, or it is not in chips.yaml"
    return f"{figure.num_chips} x {chips.by_id(figure.chip).name} make no slice that has a name"
