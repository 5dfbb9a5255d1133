"""FLOPs of one training sample of a published figure, counted on the model here that has its shape."""

import functools
from importlib import resources
from typing import Any

import yaml

from trainbench import config, shipped, workload
from trainbench.errors import UserError
from trainbench.reference.figure import Figure


def flops_per_sample(figure: Figure) -> float | None:
    """The task's analytic count at the figure's image size or sequence length, which no batch changes.

    None where the model is not built here, the task is another than it is trained on here, or the size is
    not stated.
    """
    if figure.model not in shipped.names("model") or (figure.image_size or figure.sequence_length) is None:
        return None
    return _count(figure.model, figure.task, figure.image_size, figure.sequence_length)


@functools.cache
def _count(model: str, task: str, image_size: int | None, sequence_length: int | None) -> float | None:
    tree = _defaults() | {"image_size": image_size, "sequence_length": sequence_length}
    try:
        request = config.parse(tree | {"model": _section("model", model)})
    except UserError:
        # A size that the model cannot take, such as more tokens than it has positions.
        return None
    return workload.make_task(request).flops_per_sample() if request.model.task == task else None


@functools.cache
def _defaults() -> dict[str, Any]:
    """The shipped configuration, composed without Hydra, which can compose but once at a time."""
    text = resources.files("trainbench.configs").joinpath("config.yaml").read_text(encoding="utf-8")
    main = yaml.safe_load(text)
    chosen = {
        group: name
        for entry in main.pop("defaults")
        if isinstance(entry, dict)
        for group, name in entry.items()
    }
    del main["hydra"]
    return main | {group: _section(group, chosen[group]) for group in shipped.GROUPS}


def _section(group: str, name: str) -> dict[str, Any]:
    return {key: value for key, value in shipped.read(group, name).items() if key != "defaults"}
