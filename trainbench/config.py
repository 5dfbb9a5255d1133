"""From Hydra's composed tree to a checked request: every value is validated here, once.

What the user left open stays open ("default") until `autos.resolve` has seen the device.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainbench import checks, extras, models, shipped
from trainbench.checkpoints import settings as checkpoint_settings
from trainbench.checkpoints.settings import CheckpointConfig
from trainbench.data import settings
from trainbench.data.settings import DataConfig, ImageData, SyntheticData, TextData
from trainbench.distributed import settings as distributed_settings
from trainbench.distributed.settings import DistributedConfig
from trainbench.errors import UserError
from trainbench.levers import registry as levers
from trainbench.measure import trace
from trainbench.pytorch import settings as pytorch
from trainbench.shipped import GROUPS
from trainbench.training import optimizer, parallel_settings
from trainbench.training.optimizer import OptimizerConfig
from trainbench.training.parallel_settings import BATCH_NORMS, ParallelConfig
from trainbench.training.precision import Precision
from trainbench.training.step import THREEFRY
from trainbench.training.task import Architecture

KEYS = (
    *GROUPS,
    *("batch_size", "global_batch_size", "gradient_accumulation", "remat", "batch_norm"),
    *("steps", "warmup", "input", "steps_per_call", "prng"),
    *("image_size", "sequence_length", "seed", "reproduce", "price_per_hour", "reference", "trace"),
    *("timeout_s", "distributed", "checkpoint", "framework", "torch"),
    *levers.RESOLVED,
)
FRAMEWORKS = ("jax", "torch")
# Beside a number; "auto" and "best" are searched for by processes around this one (batch_search).
BATCH_WORDS = ("default", "auto", "best")
INPUTS = ("resident", "host", "real", "all")
# Random bit generators of dropout, by JAX's names: its own, and the accelerator's.
PRNGS = (THREEFRY, "rbg")
# What the backward pass computes again: nothing; everything but matrix products; everything, block by block.
REMATS = ("none", "dots", "full")
# Steps that `trace=true` records.
TRACE_STEPS = 5
# A trace grows with its steps, and so does the time that it takes to read it.
MOST_TRACE_STEPS = 100
TRACE = checks.Kind(
    f"true, false, or a number of steps, at most {MOST_TRACE_STEPS}",
    "true",
    lambda steps: checks.COUNT.accepts(steps) and steps <= MOST_TRACE_STEPS,
    int,
)
DATA_KINDS: dict[str, type[DataConfig]] = {"synthetic": SyntheticData, "images": ImageData, "text": TextData}
# Keys of the data section that may be left to be chosen.
DATA_DEFAULTS = ("crop", "decoder", "workers", "threads")
DATA_CHOICES = {
    "crop": settings.CROPS,
    "decoder": settings.DECODERS,
    "loader": settings.LOADERS,
    "packing": settings.PACKINGS,
}
# Fields whose type alone does not say what they may be.
KINDS = {
    **dict.fromkeys(("dropout_rate", "momentum", "b1", "b2"), checks.SHARE),
    **dict.fromkeys(("eps", "trust_coefficient", "cpu_seconds", "rotary_base"), checks.POSITIVE),
    **dict.fromkeys(("workers", "threads", "bad_records"), checks.WHOLE),
    **dict.fromkeys(("dir", "manual_dir", "tokenizer"), checks.PATH),
}


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
    """One model: its family, its architecture, the batch, input size and optimizer of its published runs.

    `modified` names the fields of the architecture that differ from the shipped model of this name; published
    figures then do not apply. Another input size is no modification.
    """

    name: str
    family: str
    architecture: Architecture
    batch_size: int
    image_size: int | None
    sequence_length: int | None
    optimizer_reason: str
    default_optimizer: str
    modified: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        return str(models.FAMILIES[self.family].TASK)

    @property
    def label(self) -> str:
        """The name to report, which must not promise the published model when it is another."""
        return f"{self.name} (modified: {', '.join(self.modified)})" if self.modified else self.name


@dataclass(frozen=True)
class Request:
    """What the user asked for. None means "default": chosen later, with a reason.

    Attributes:
      batch_size: samples per device and optimizer step, in `gradient_accumulation` micro-batches.
      prng: random bit generator of dropout.
      reproduce: id of the published figure that this run is to reproduce; None: none.
      price_per_hour: US dollars for one chip and hour; None: as hardware/chips.yaml has it, if it does.
      extra_figures: a CSV file with published figures of the user's own; None: none.
      trace: steps to record with the profiler after everything is timed; None: none.
      global_batch_size: samples per optimizer step over all devices, in place of `batch_size`.
      remat: what the backward pass computes again, one of REMATS.
      batch_norm: one of BATCH_NORMS.
      timeout_s: seconds without progress after which a run is given up; None: never; "default": chosen for
        several processes, never for one.
      framework: what runs the training step, one of FRAMEWORKS.
      torch: how PyTorch runs it.
      levers: what is asked of the levers that are resolved later, by key (trainbench/levers/).
    """

    model: ModelConfig
    precision: Precision
    optimizer: OptimizerConfig
    data: DataConfig
    measure: MeasureConfig
    input: str | None
    batch_size: int | None
    steps: int | None
    warmup: int | None
    steps_per_call: int
    seed: int
    prng: str | None = None
    gradient_accumulation: int = 1
    reproduce: str | None = None
    price_per_hour: float | None = None
    extra_figures: str | None = None
    trace: int | None = None
    global_batch_size: int | None = None
    remat: str = "none"
    batch_norm: str | None = None
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    timeout_s: float | Literal["default"] | None = "default"
    framework: str = "jax"
    torch: pytorch.TorchConfig = field(default_factory=pytorch.TorchConfig)
    levers: Mapping[str, Any] = field(default_factory=dict)


def parse(tree: Mapping[str, Any]) -> Request:
    """The request of a composed configuration.

    Raises:
      UserError: a value is of the wrong type, out of range, or at odds with another.
    """
    checks.known(tree, KEYS)
    checks.present(tree, KEYS)
    _check_one_batch_size(tree)
    request = Request(
        model=_model(tree),
        precision=_precision(tree),
        optimizer=_optimizer(tree),
        data=parse_data(tree),
        measure=_measure(tree),
        input=_choice_or_default(tree, "input", INPUTS),
        batch_size=checks.value_or_default(tree, "batch_size", checks.COUNT, BATCH_WORDS),
        steps=checks.value_or_default(tree, "steps", checks.COUNT),
        warmup=checks.value_or_default(tree, "warmup", checks.WHOLE),
        steps_per_call=checks.value(tree, "steps_per_call", checks.COUNT),
        seed=checks.value(tree, "seed", checks.SEED),
        prng=_choice_or_default(tree, "prng", PRNGS),
        gradient_accumulation=checks.value(tree, "gradient_accumulation", checks.COUNT),
        reproduce=checks.optional(tree, "reproduce", checks.TEXT),
        price_per_hour=checks.optional(tree, "price_per_hour", checks.POSITIVE),
        extra_figures=_extra_figures(tree),
        trace=_trace(tree),
        global_batch_size=checks.optional(tree, "global_batch_size", checks.COUNT),
        remat=checks.choice(tree["remat"], "remat", REMATS),
        batch_norm=_choice_or_default(tree, "batch_norm", BATCH_NORMS),
        parallel=parallel_settings.parse(tree),
        distributed=distributed_settings.parse(tree),
        checkpoint=checkpoint_settings.parse(tree),
        timeout_s=_timeout(tree),
        framework=checks.choice(tree["framework"], "framework", FRAMEWORKS),
        torch=pytorch.parse(tree),
        levers=levers.parse(tree),
    )
    _check_together(request)
    return request


def _check_one_batch_size(tree: Mapping[str, Any]) -> None:
    if tree["batch_size"] in ("auto", "best"):
        raise UserError(
            f"batch_size={tree['batch_size']} is a search, which only a run does",
            allowed=f"a batch size here; there: python -m trainbench batch_size={tree['batch_size']}",
            fix="batch_size=32",
        )


def _timeout(tree: Mapping[str, Any]) -> float | Literal["default"] | None:
    if tree["timeout_s"] == "default":
        return "default"
    kind = dataclasses.replace(checks.POSITIVE, text=f"{checks.POSITIVE.text}, null or default")
    seconds: float | None = checks.optional(tree, "timeout_s", kind)
    return seconds


def _extra_figures(tree: Mapping[str, Any]) -> str | None:
    section = checks.section(tree, "reference")
    checks.known(section, ["extra"], "reference")
    checks.present(section, ["extra"], "reference")
    extra: str | None = checks.optional(section, "extra", checks.PATH, "reference.extra")
    return extra


def _model(tree: Mapping[str, Any]) -> ModelConfig:
    section, published = shipped.named(tree, "model")
    free = ("architecture", "image_size", "sequence_length")
    shipped.check_unchanged("model", section, published, free=free)
    family = models.FAMILIES[published["family"]]
    is_image = family.TASK == "image_classification"
    image_size = _input_size(tree, section, "image_size", belongs=is_image)
    sequence_length = _input_size(tree, section, "sequence_length", belongs=not is_image)
    values = checks.section(section, "architecture", "model.architecture")
    keys = list(published["architecture"])
    values = checks.fields(family.Config, values, "model.architecture", kinds=KINDS, keys=keys)
    size = {"image_size": image_size} if is_image else {"sequence_length": sequence_length}
    return ModelConfig(
        name=published["name"],
        family=published["family"],
        architecture=_architecture(family, values, size),
        batch_size=published["batch_size"],
        image_size=image_size,
        sequence_length=sequence_length,
        optimizer_reason=published["optimizer_reason"],
        default_optimizer=published["defaults"][0]["override /optimizer@_global_.optimizer"],
        modified=_differences(values, published["architecture"]),
    )


def _input_size(
    tree: Mapping[str, Any], section: Mapping[str, Any], key: str, *, belongs: bool
) -> int | None:
    if belongs:
        if tree[key] is None:
            return int(checks.value(section, key, checks.COUNT, f"model.{key}"))
        return int(checks.value(tree, key, checks.COUNT))
    if tree[key] is None:
        return None
    other = "sequence_length" if key == "image_size" else "image_size"
    raise UserError(
        f"{key}={checks.shown(tree[key])} does not apply to model={section['name']}",
        allowed=f"{other}, in its place",
        fix=f"leave {key} out, or set {other}",
    )


def _architecture(family: Any, values: Mapping[str, Any], size: Mapping[str, Any]) -> Architecture:
    """The family's checked architecture; ViT's own holds the image size, since its positions depend on it."""
    own_size = {key: value for key, value in size.items() if key in family.Config.__dataclass_fields__}
    try:
        architecture = family.Config(**values, **own_size)
        family.validate(architecture, **size)
    except UserError as error:
        fix = error.fix or "leave model.architecture as the model has it"
        raise UserError(error.problem, allowed=error.allowed, fix=fix) from None
    return architecture


def _differences(values: Mapping[str, Any], published: Mapping[str, Any]) -> tuple[str, ...]:
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in published.items()}
    return tuple(sorted(key for key, value in plain.items() if values[key] != value))


def _precision(tree: Mapping[str, Any]) -> Precision:
    section, published = shipped.named(tree, "precision")
    shipped.check_unchanged("precision", section, published)
    return Precision.of(**published)


def _optimizer(tree: Mapping[str, Any]) -> OptimizerConfig:
    section = checks.section(tree, "optimizer")
    config = OptimizerConfig(**checks.fields(OptimizerConfig, section, "optimizer", kinds=KINDS))
    optimizer.validate(config)
    return config


def parse_data(tree: Mapping[str, Any]) -> DataConfig:
    """The `data` section of a composed configuration.

    Raises:
      UserError: a value is of the wrong type, or unknown.
    """
    section = dict(checks.section(tree, "data"))
    checks.present(section, ["kind"], "data")
    kind = checks.choice(section.pop("kind"), "data.kind", DATA_KINDS)
    left_open = {
        key: None if value == "default" and key in DATA_DEFAULTS else value for key, value in section.items()
    }
    values = checks.fields(DATA_KINDS[kind], left_open, "data", kinds=KINDS | {"name": checks.DATA_SET})
    for key, choices in DATA_CHOICES.items():
        if values.get(key) is not None:
            checks.choice(values[key], f"data.{key}", choices)
    config = DATA_KINDS[kind](**values)
    if isinstance(config, SyntheticData):
        checks.choice(config.name, "data.name", [settings.SYNTHETIC])
    if isinstance(config, ImageData):
        _check_normalisation(config)
    return config


def _check_normalisation(data: ImageData) -> None:
    if len(data.mean) != len(data.std) or len(data.mean) not in (1, 3) or 0 in data.std:
        raise UserError(
            f"data.mean={checks.shown(data.mean)} data.std={checks.shown(data.std)} cannot normalise pixels",
            allowed="one number each, or one for each of three channels; std above 0",
            fix="leave data.mean and data.std out",
        )


def _measure(tree: Mapping[str, Any]) -> MeasureConfig:
    section = checks.section(tree, "measure")
    measure = MeasureConfig(**checks.fields(MeasureConfig, section, "measure", kinds=KINDS))
    if measure.warmup_max_steps < measure.warmup_steps:
        raise UserError(
            f"measure.warmup_max_steps={measure.warmup_max_steps} is below "
            f"measure.warmup_steps={measure.warmup_steps}",
            allowed=f"at least {measure.warmup_steps}",
            fix=f"measure.warmup_max_steps={measure.warmup_steps * 10}",
        )
    return measure


def _choice_or_default(tree: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str | None:
    """The choice under `key`; None where it is left open."""
    asked = "default" if tree[key] is None else tree[key]
    chosen = checks.choice(asked, key, (*choices, "default"))
    return None if chosen == "default" else chosen


def _trace(tree: Mapping[str, Any]) -> int | None:
    if tree["trace"] is False:
        return None
    steps = TRACE_STEPS if tree["trace"] is True else int(checks.value(tree, "trace", TRACE))
    if not trace.can_be_read():
        raise UserError(
            f"trace={checks.shown(tree['trace'])} needs xprof, which is not installed",
            allowed="trace=false, which is the default",
            fix=extras.install("trace"),
        )
    return steps


def _check_together(request: Request) -> None:
    _check_data(request)
    _check_dense(request)
    _check_checkpoints(request)
    if request.framework == "torch":
        pytorch.check(request)
    if request.steps is not None and request.warmup is not None:
        check_warmup(request.steps, request.warmup)
    if request.batch_size is not None and request.global_batch_size is not None:
        raise UserError(
            f"batch_size={request.batch_size} and global_batch_size={request.global_batch_size}: which?",
            allowed="batch_size, per device, or global_batch_size, over all devices",
            fix=f"global_batch_size={request.global_batch_size}, without batch_size",
        )
    accumulated = request.gradient_accumulation
    if request.batch_size is not None and request.batch_size % accumulated:
        raise UserError(
            f"batch_size={request.batch_size} cannot be cut into gradient_accumulation={accumulated} "
            "equal micro-batches",
            allowed=f"multiples of {accumulated}",
            fix=f"batch_size={-(-request.batch_size // accumulated) * accumulated}",
        )
    if request.steps is not None and request.steps % request.steps_per_call:
        raise UserError(
            f"steps={request.steps} is not a multiple of steps_per_call={request.steps_per_call}",
            allowed=f"multiples of {request.steps_per_call}",
            fix=f"steps={-(-request.steps // request.steps_per_call) * request.steps_per_call}",
        )


def _check_dense(request: Request) -> None:
    if request.precision.dense is not None and not models.FAMILIES[request.model.family].LIKE_BLOCKS:
        raise UserError(
            f"precision={request.precision.name} is for dense layers; "
            f"model={request.model.name} has convolutions",
            allowed="precision=bf16, bf16_full, fp32 or tf32",
            fix="precision=bf16",
        )


def _check_checkpoints(request: Request) -> None:
    if request.checkpoint.every is not None and request.input == "all":
        raise UserError(
            f"checkpoint.every={request.checkpoint.every} goes with one way of feeding; input=all has three",
            allowed="input=resident, input=host or input=real, which is one of them",
            fix=f"input=real checkpoint.every={request.checkpoint.every}",
        )


def _check_data(request: Request) -> None:
    """Images for a model that reads images, text for one that reads text, and a real set for real input."""
    data, model = request.data, request.model
    is_image = model.task == "image_classification"
    if isinstance(data, ImageData if not is_image else TextData):
        holds, reads = ("text", "images") if is_image else ("images", "text")
        raise UserError(
            f"data={data.name} holds {holds}; model={model.name} reads {reads}",
            allowed="data=synthetic, digits, photos or tfds"
            if is_image
            else "data=synthetic, kjv or tfds_text",
            fix="data=digits, or model=bert_base" if is_image else "data=kjv, or model=resnet50",
        )
    if request.input in ("real", "all") and isinstance(data, SyntheticData):
        fitting = "digits" if is_image else "kjv"
        raise UserError(
            f"input={request.input} needs a real data set; data=synthetic has none",
            allowed=f"input=resident, input=host, or a real data set such as data={fitting}",
            fix=f"data={fitting} input={request.input}",
        )


def check_warmup(steps: int, warmup: int) -> None:
    """Nothing if at least as many steps are timed as warm up.

    Raises:
      UserError: fewer are.
    """
    if steps < warmup:
        raise UserError(
            f"steps={steps} is below warmup={warmup}: fewer timed than thrown away",
            allowed="steps of at least warmup",
            fix=f"steps={warmup * 10} or warmup={max(1, steps // 10)}",
        )
