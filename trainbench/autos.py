"""Everything that trainbench chooses by itself, each as (value, reason)."""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainbench import models
from trainbench.auto import Auto
from trainbench.config import Request, check_warmup
from trainbench.data.settings import SyntheticData
from trainbench.errors import UserError
from trainbench.hardware import presets
from trainbench.hardware.flags import compiler_options
from trainbench.levers import registry
from trainbench.levers.lever import Situation
from trainbench.levers.values import Levers
from trainbench.measure.plan import Plan
from trainbench.measure.statistics import MIN_BLOCKS_FOR_INTERVAL
from trainbench.training import parallel
from trainbench.training.compile import accepted
from trainbench.training.optimizer import scaled_rate
from trainbench.training.parallel import Axes
from trainbench.training.parallel_settings import PER_REPLICA, BatchNorm
from trainbench.training.step import THREEFRY
from trainbench.training.task import Task

# The least speed to expect of a CPU here, used only to choose a batch and a step count that end in time.
# Two cores of an AMD EPYC ran ResNet-50's bfloat16 step at more than 40 GFLOP/s.
CPU_FLOPS_PER_S = 40e9
CPU_FLOPS_PER_STEP = 100e9
CPU_LEAST_STEPS = 12

# A block begins and ends with an idle device. Half a second makes what that costs invisible; blocks of more
# than ten seconds would make the warm-up, which has blocks of the same length, needlessly long.
SHORT_BLOCK_S = 0.5
LONG_BLOCK_S = 10.0
LEAST_BLOCKS = 10

WARMUP_LIMIT_S = 120.0
# Blocks that the steady-state criterion looks at.
STEADY_WINDOW = 5
CPU_STEADY_WINDOW = 3
# Blocks of the short measurement without input: as few as give an interval.
RESIDENT_BLOCKS = MIN_BLOCKS_FOR_INTERVAL
# Of the loader alone: enough for an interval.
LOADER_BLOCKS = 12
LOADER_BLOCK_S = 0.25


InputMode = Literal["resident", "host", "real", "all"]


@dataclass(frozen=True)
class RunConfig:
    """A request with nothing left open.

    Attributes:
      batch_size: samples per device and optimizer step.
      steps: timed optimizer steps.
      axes: the mesh; the devices that it takes are all that are used.
      batch_norm: what batch statistics are over; None where there are none, or one replica.
      chosen_levers: of the levers, those that were left open; in `autos` are those that changed thereby.
    """

    request: Request
    input: InputMode
    batch_size: int
    steps: int
    warmup: int
    compiler_options: Mapping[str, str]
    prng: str
    autos: Mapping[str, Auto]
    axes: Axes = field(default_factory=Axes)
    batch_norm: BatchNorm | None = None
    levers: Levers = field(default_factory=Levers)
    chosen_levers: Mapping[str, Auto] = field(default_factory=dict)

    @property
    def global_batch_size(self) -> int:
        """Samples of all devices per optimizer step."""
        return self.batch_size * self.axes.devices

    @property
    def norm_groups(self) -> int:
        """Parts of a batch whose batch statistics are apart."""
        return self.axes.replicas if self.batch_norm == PER_REPLICA else 1

    @property
    def steps_per_call(self) -> int:
        return self.request.steps_per_call

    def with_autos(self, more: Mapping[str, Auto]) -> "RunConfig":
        """The same with further choices recorded."""
        return dataclasses.replace(self, autos={**self.autos, **more})


def resolve(
    request: Request,
    task: Task,
    platform: str,
    device_count: int,
    accepts: Callable[[Mapping[str, str]], bool] = accepted,
    *,
    use_all: bool = False,
    compute_capability: float | None = None,
) -> RunConfig:
    """Choose what was left open for devices of this platform ("cpu", "gpu", "tpu").

    Args:
      device_count: how many there are.
      use_all: whether none may be left out.
      compute_capability: of NVIDIA GPUs.
      accepts: whether the compiler for these devices knows some options; by default this machine's own.

    Raises:
      UserError: more warm-up was asked for than the steps that are chosen here; or the devices don't make the
        mesh that was asked for, or it cannot split the model or the batch; or a lever cannot be had.
    """
    autos: dict[str, Auto] = {}

    def chosen(name: str, asked: Any, auto: Auto) -> Any:
        if asked is not None:
            return asked
        autos[name] = auto
        return auto.value

    if request.optimizer.name == request.model.default_optimizer:
        autos["optimizer"] = Auto(request.optimizer.name, request.model.optimizer_reason)
    axes = parallel.choose(request.parallel, device_count, use_all=use_all)
    _check_heads(request, axes)
    if axes.devices < device_count:
        autos["devices"] = Auto(
            axes.devices, f"of {device_count}, as parallel.data, .fsdp and .tensor ask for"
        )
    asked_batch = _share_of_device(request, axes) if request.global_batch_size else request.batch_size
    batch_size = chosen("batch_size", asked_batch, _batch_size(request, task, platform))
    steps = chosen("steps", request.steps, _steps(request, task, platform, batch_size))
    warmup = chosen("warmup", request.warmup, _warmup(request, platform, steps))
    check_warmup(steps, warmup)
    input_mode = chosen("input", request.input, _input(request))
    _record_rate(request, batch_size * axes.devices, autos)
    normalises = _normalises(request) and axes.replicas > 1
    batch_norm = chosen("batch_norm", request.batch_norm, _batch_norm()) if normalises else None
    drops = _drops(request)
    prng = chosen("prng", request.prng, _prng(platform)) if drops else request.prng or THREEFRY
    levers, chosen_levers = registry.resolve(Situation(request, platform, compute_capability, axes))
    autos |= {key: one for key, one in chosen_levers.items() if one.value != registry.LEVERS[key].plain}
    options, reason = compiler_options(platform, os.environ, prng if drops else None)
    if options and not accepts(options):
        options, reason = {}, f"{', '.join(options)} is unknown to this jaxlib"
    if reason:
        autos["compiler_options"] = Auto(options, reason)
    flags, left_out = presets.options(levers.compiler_flags, os.environ, accepts)
    if left_out:
        autos["compiler_flags"] = Auto(levers.compiler_flags, left_out)
    return RunConfig(
        request=request,
        input=input_mode,
        batch_size=batch_size,
        steps=steps,
        warmup=warmup,
        compiler_options=options | flags,
        prng=prng,
        autos=autos,
        axes=axes,
        batch_norm=batch_norm,
        levers=levers,
        chosen_levers=chosen_levers,
    )


def _share_of_device(request: Request, axes: Axes) -> int:
    """Samples per device of the global batch that was asked for."""
    asked, parts = request.global_batch_size, axes.devices * request.gradient_accumulation
    assert asked is not None
    if asked % parts:
        what = f"{axes.devices} devices ({axes})"
        if request.gradient_accumulation > 1:
            what += f" and gradient_accumulation={request.gradient_accumulation}"
        raise UserError(
            f"global_batch_size={asked} cannot be divided by {what}",
            allowed=f"multiples of {parts}",
            fix=f"global_batch_size={-(-asked // parts) * parts}",
        )
    return asked // axes.devices


def _check_heads(request: Request, axes: Axes) -> None:
    """Nothing if whole attention heads lie on each device, or the model has none.

    Where query heads share keys and values, the heads of these are what has to be shared out.
    """
    architecture = request.model.architecture
    key_heads = getattr(architecture, "key_heads", None)
    heads = key_heads or getattr(architecture, "heads", None)
    if heads is None or heads % axes.tensor == 0:
        return
    what = "heads of keys and values" if key_heads else "attention heads"
    fitting = [size for size in range(1, heads + 1) if heads % size == 0]
    # Divides the devices as well, so it makes a mesh.
    size = math.gcd(heads, axes.tensor)
    fix = f"parallel.tensor={size}"
    if request.parallel.tensor is None:
        fix = f"parallel=data_tensor {fix}" if size > 1 else "parallel=data"
    raise UserError(
        f"parallel.tensor={axes.tensor} does not divide the {heads} {what} of {request.model.name}",
        allowed=", ".join(map(str, fitting)),
        fix=fix,
    )


def _normalises(request: Request) -> bool:
    """Whether the model has batch normalisation."""
    return bool(models.FAMILIES[request.model.family].BATCH_NORM)


def _batch_norm() -> Auto:
    return Auto(PER_REPLICA, "as published runs have it (Goyal et al. 2017, section 2.3)")


def _drops(request: Request) -> bool:
    """Whether the model has dropout, the one thing that random bits are drawn for in a step."""
    return getattr(request.model.architecture, "dropout_rate", 0.0) > 0


def _prng(platform: str) -> Auto:
    if platform == "tpu":
        return Auto("rbg", "the TPU's own random bits; threefry2x32 would take its vector units for long")
    return Auto(THREEFRY, "JAX's default")


def _record_rate(request: Request, global_batch_size: int, autos: dict[str, Auto]) -> None:
    optimizer = request.optimizer
    if optimizer.reference_batch:
        rate = scaled_rate(optimizer, global_batch_size)
        reason = (
            f"{optimizer.learning_rate:g} x {global_batch_size} / {optimizer.reference_batch} samples a step"
        )
        autos["learning_rate"] = Auto(rate, reason)


def _batch_size(request: Request, task: Task, platform: str) -> Auto:
    published = request.model.batch_size
    batch = published
    while platform == "cpu" and batch > 2 and batch * task.flops_per_sample() > CPU_FLOPS_PER_STEP:
        batch //= 2
    if batch == published:
        reason = f"the default of {request.model.name}; its configuration says why"
    else:
        on_others, _ = _in_equal_parts(published, request.gradient_accumulation)
        reason = f"small, so that a step takes seconds on a CPU; on an accelerator {on_others}"
    batch, rounded = _in_equal_parts(batch, request.gradient_accumulation)
    return Auto(batch, reason + rounded)


def _in_equal_parts(batch: int, parts: int) -> tuple[int, str]:
    """The next multiple of `parts`, and what to say of it: nothing if it is `batch` itself."""
    rounded = -(-batch // parts) * parts
    return rounded, "" if rounded == batch else f"; {batch} rounded up for {parts} equal micro-batches"


def _steps(request: Request, task: Task, platform: str, batch_size: int) -> Auto:
    measure, per_call = request.measure, request.steps_per_call
    steps, reason = measure.steps, f"measure={measure.name}"
    if platform == "cpu":
        affordable = int(measure.cpu_seconds * CPU_FLOPS_PER_S / (batch_size * task.flops_per_sample()))
        if affordable < CPU_LEAST_STEPS:
            steps, reason = CPU_LEAST_STEPS, "the fewest for an interval, since steps are slow on a CPU"
        elif affordable < steps:
            steps = affordable
            reason = f"about {measure.cpu_seconds:g} s on a CPU of {CPU_FLOPS_PER_S / 1e9:g} GFLOP/s"
    return Auto(-(-steps // per_call) * per_call, reason)


def _warmup(request: Request, platform: str, steps: int) -> Auto:
    usual = request.measure.warmup_steps
    if request.steps is None and platform == "cpu" and steps < request.measure.steps:
        return Auto(min(usual, max(2, steps // 4)), "few, since steps are slow on a CPU; more until steady")
    if steps < usual:
        return Auto(steps, "no more than the timed steps; more until steady")
    return Auto(usual, f"measure={request.measure.name}; more until steady")


def _input(request: Request) -> Auto:
    if isinstance(request.data, SyntheticData):
        return Auto("resident", "synthetic data: one batch kept on the device, so no input cost is measured")
    return Auto("real", f"data={request.data.name}: batches are read from the data set")


def plan(
    config: RunConfig, platform: str, call_s: float, calls_ahead: int = 0
) -> tuple[Plan, dict[str, Auto]]:
    """How the steps are cut into blocks, for calls of about `call_s` seconds; and what was chosen thereby.

    Args:
      calls_ahead: calls whose input lies ready when the first one starts. The warm-up uses them up: they
        would make an input pipeline that is too slow look fast enough.
    """
    calls = -(-config.steps // config.steps_per_call)
    wanted, autos = _wanted_blocks(config.request.measure.blocks, calls, call_s)
    blocks = _block_count(calls, wanted)
    if "blocks" in autos:
        autos["blocks"] = Auto(blocks, autos["blocks"].reason)
    if wanted < config.request.measure.blocks <= blocks:
        # What equal blocks added took the reason away.
        autos.pop("blocks", None)
    per_block = -(-calls // blocks)
    if per_block * blocks != calls:
        steps = per_block * blocks * config.steps_per_call
        autos["steps"] = Auto(steps, f"{config.steps} rounded up to {blocks} equal blocks")
    window = CPU_STEADY_WINDOW if platform == "cpu" else STEADY_WINDOW
    warmup_calls = max(-(-config.warmup // config.steps_per_call), calls_ahead)
    most = -(-config.request.measure.warmup_max_steps // config.steps_per_call)
    return Plan(
        calls=per_block * blocks,
        calls_per_block=per_block,
        warmup_min_calls=warmup_calls,
        warmup_max_calls=max(most, 3 * window * per_block, warmup_calls + 2 * window * per_block),
        window=window,
        steps_per_call=config.steps_per_call,
        warmup_limit_s=WARMUP_LIMIT_S,
    ), autos


def _wanted_blocks(usual: int, calls: int, call_s: float) -> tuple[int, dict[str, Auto]]:
    total_s = calls * call_s
    least, most = min(LEAST_BLOCKS, calls), min(usual, calls)
    if total_s / usual < SHORT_BLOCK_S and calls > least:
        blocks = min(most, max(least, int(total_s / SHORT_BLOCK_S)))
        reason = f"{usual} would be shorter than {SHORT_BLOCK_S:g} s, where idling between them shows"
        return blocks, {"blocks": Auto(blocks, reason)} if blocks < most else {}
    if total_s / usual > LONG_BLOCK_S and calls > usual:
        blocks = min(calls, int(total_s / LONG_BLOCK_S))
        return blocks, {"blocks": Auto(blocks, f"{usual} would be longer than {LONG_BLOCK_S:g} s")}
    return most, {}


def _block_count(calls: int, wanted: int) -> int:
    """The number of equal blocks, within a factor of 1.5 of `wanted`, that adds the fewest calls."""

    def cost(blocks: int) -> tuple[int, int]:
        added = -(-calls // blocks) * blocks - calls
        return added, abs(blocks - wanted)

    most = min(calls, 3 * wanted // 2)
    return min(range(max(1, -(-2 * wanted // 3)), most + 1), key=cost)


def short_plan(plan: Plan, call_s: float) -> Plan:
    """As few blocks as give an interval, for calls of about `call_s` seconds; the rest as in `plan`."""
    per_block = max(1, math.ceil(SHORT_BLOCK_S / call_s))
    calls = RESIDENT_BLOCKS * per_block
    return dataclasses.replace(
        plan,
        calls=calls,
        calls_per_block=per_block,
        warmup_min_calls=0,
        warmup_max_calls=calls,
        window=CPU_STEADY_WINDOW,
    )


def loader_plan(batch_s: float) -> Plan:
    """How long the loader runs alone, whose batches take about `batch_s` seconds each."""
    per_block = max(1, math.ceil(LOADER_BLOCK_S / batch_s))
    return Plan(
        calls=LOADER_BLOCKS * per_block,
        calls_per_block=per_block,
        warmup_min_calls=0,
        warmup_max_calls=LOADER_BLOCKS * per_block,
        window=CPU_STEADY_WINDOW,
        warmup_limit_s=WARMUP_LIMIT_S,
    )
