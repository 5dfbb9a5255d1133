"""From Hydra's composed tree to a checked request: every value is validated here, once.

What the user left open stays open ("default") until `autos.resolve` has seen the device.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainbench import models
from trainbench.errors import UserError, nearest
from trainbench.training.optimizer import OptimizerConfig
from trainbench.training.precision import Precision
from trainbench.training.task import Architecture

GROUPS = ("model", "precision", "optimizer", "data", "measure")
KEYS = (
    *GROUPS,
    *("batch_size", "steps", "warmup", "input", "steps_per_call", "image_size", "sequence_length", "seed"),
)
INPUTS = ("resident", "host", "real")
IMAGE_FAMILIES = tuple(
    name for name, family in models.FAMILIES.items() if family.TASK == "image_classification"
)


@dataclass(frozen=True)
class MeasureConfig:
    """How much is measured: `steps` timed optimizer steps in `blocks` blocks, after at least `warmup_steps`.

    On a CPU the timed window aims at `cpu_seconds` instead.
    """

    name: str
    steps: int
    blocks: int
    warmup_steps: int
    warmup_max_steps: int
    cpu_seconds: float


@dataclass(frozen=True)
class ModelConfig:
    """One model: its family, its architecture, the batch and input size of its published runs."""

    name: str
    family: str
    architecture: Architecture
    batch_size: int
    image_size: int | None
    sequence_length: int | None
    optimizer_reason: str

    @property
    def task(self) -> str:
        return str(models.FAMILIES[self.family].TASK)


@dataclass(frozen=True)
class Request:
    """What the user asked for. None means "default": chosen later, with a reason."""

    model: ModelConfig
    precision: Precision
    optimizer: OptimizerConfig
    data: str
    data_dir: str | None
    measure: MeasureConfig
    input: str | None
    batch_size: int | None
    steps: int | None
    warmup: int | None
    steps_per_call: int
    seed: int


def parse(tree: Mapping[str, Any]) -> Request:
    """The request of a composed configuration.

    Raises:
      UserError: a value is of the wrong type, out of range, or at odds with another.
    """
    for key in tree:
        if key not in KEYS:
            raise _unknown(key, list(KEYS))
    model = _model(tree)
    request = Request(
        model=model,
        precision=_section(Precision.of, tree, "precision"),
        optimizer=_optimizer(tree),
        data=str(tree["data"]["name"]),
        data_dir=tree["data"].get("dir"),
        measure=_measure(tree),
        input=_choice(tree, "input", INPUTS),
        batch_size=_count(tree, "batch_size", default_allowed=True),
        steps=_count(tree, "steps", default_allowed=True),
        warmup=_count(tree, "warmup", default_allowed=True, least=0),
        steps_per_call=_count(tree, "steps_per_call") or 1,
        seed=_count(tree, "seed", least=0) or 0,
    )
    _check_together(request)
    return request


def _model(tree: Mapping[str, Any]) -> ModelConfig:
    section = tree["model"]
    family, name = models.FAMILIES[section["family"]], str(section["name"])
    is_image = family.TASK == "image_classification"
    image_size = _input_size(tree, section, "image_size", belongs=is_image)
    sequence_length = _input_size(tree, section, "sequence_length", belongs=not is_image)
    architecture = _architecture(family.Config, section["architecture"])
    if is_image:
        if "image_size" in _fields(family.Config):
            architecture = dataclasses.replace(architecture, image_size=image_size)
        family.validate(architecture, image_size=image_size)
    else:
        family.validate(architecture, sequence_length=sequence_length)
    return ModelConfig(
        name=name,
        family=section["family"],
        architecture=architecture,
        batch_size=int(section["batch_size"]),
        image_size=image_size,
        sequence_length=sequence_length,
        optimizer_reason=str(section["optimizer_reason"]),
    )


def _input_size(
    tree: Mapping[str, Any], section: Mapping[str, Any], key: str, *, belongs: bool
) -> int | None:
    if not belongs:
        if tree[key] is not None:
            other = "sequence_length" if key == "image_size" else "image_size"
            raise UserError(
                f"{key}={tree[key]} does not apply to model={section['name']}",
                fix=f"leave {key} out, or set {other}",
            )
        return None
    return int(section[key]) if tree[key] is None else _count(tree, key)


def _architecture(config_class: Any, values: Mapping[str, Any]) -> Architecture:
    known = _fields(config_class)
    for key in values:
        if key not in known:
            raise _unknown(f"model.architecture.{key}", known, prefix="model.architecture.")
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return config_class(**plain)


def _optimizer(tree: Mapping[str, Any]) -> OptimizerConfig:
    optimizer: OptimizerConfig = _section(OptimizerConfig, tree, "optimizer")
    for field in dataclasses.fields(optimizer):
        value = getattr(optimizer, field.name)
        is_number = isinstance(value, int | float)
        if field.name not in ("name", "nesterov") and value is not None and not is_number:
            raise UserError(f"optimizer.{field.name}={value!r} is not a number", allowed="a number")
    return optimizer


def _measure(tree: Mapping[str, Any]) -> MeasureConfig:
    measure: MeasureConfig = _section(MeasureConfig, tree, "measure")
    for key in ("steps", "blocks", "warmup_steps", "warmup_max_steps"):
        _count(tree["measure"], key, label=f"measure.{key}")
    if measure.warmup_max_steps < measure.warmup_steps:
        raise UserError(
            f"measure.warmup_max_steps={measure.warmup_max_steps} is below "
            f"measure.warmup_steps={measure.warmup_steps}",
            fix=f"measure.warmup_max_steps={measure.warmup_steps * 10}",
        )
    return measure


def _section(build: Any, tree: Mapping[str, Any], group: str) -> Any:
    try:
        return build(**tree[group])
    except TypeError as error:
        raise UserError(
            f"{group} is not as it should be: {error}", fix=f"see trainbench/configs/{group}/"
        ) from None


def _fields(config_class: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(config_class)]


def _unknown(key: str, known: list[str], prefix: str = "") -> UserError:
    near = nearest(key.removeprefix(prefix), known)
    return UserError(
        f"{key} is not a known key",
        allowed=", ".join(prefix + name for name in known),
        fix=f"did you mean {prefix}{near}?" if near else "choose one of these",
    )


def _count(
    tree: Mapping[str, Any], key: str, *, default_allowed: bool = False, least: int = 1, label: str = ""
) -> int | None:
    """The integer under `key`, at least `least`; None for "default" where that is allowed."""
    value = tree[key]
    if default_allowed and (value is None or value == "default"):
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        kind = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise UserError(
            f"{label or key}={value} is not {kind}",
            allowed=kind + (', or "default"' if default_allowed else ""),
            fix=f"for example {label or key}={max(least, 32)}",
        )
    return value


def _choice(tree: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str | None:
    value = tree[key]
    if value is None or value == "default":
        return None
    if value not in choices:
        near = nearest(str(value), choices)
        raise UserError(
            f"{key}={value} is not known",
            allowed=", ".join((*choices, "default")),
            fix=f"{key}={near}" if near else f"{key}={choices[0]}",
        )
    return str(value)


def _check_together(request: Request) -> None:
    if request.data == "digits" and request.model.family not in IMAGE_FAMILIES:
        raise UserError(
            f"data=digits holds images; model={request.model.name} reads text",
            allowed="data=synthetic for this model",
            fix="data=synthetic, or an image model such as model=vit_tiny",
        )
    if request.input == "real" and request.data == "synthetic":
        raise UserError(
            "input=real needs a real data set; data=synthetic has none",
            allowed="input=resident, input=host, or data=digits",
            fix="data=digits input=real",
        )
    if request.steps is not None and request.warmup is not None and request.steps < request.warmup:
        raise UserError(
            f"steps={request.steps} is below warmup={request.warmup}: fewer timed than thrown away",
            allowed="steps of at least warmup",
            fix=f"steps={request.warmup * 10} or warmup={max(1, request.steps // 10)}",
        )
    if request.steps is not None and request.steps % request.steps_per_call:
        raise UserError(
            f"steps={request.steps} is not a multiple of steps_per_call={request.steps_per_call}",
            allowed=f"multiples of {request.steps_per_call}",
            fix=f"steps={-(-request.steps // request.steps_per_call) * request.steps_per_call}",
        )
