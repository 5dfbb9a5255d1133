"""Everything that trainbench chooses by itself, each as (value, reason)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainbench.config import Request
from trainbench.hardware.flags import compiler_options
from trainbench.measure.plan import Plan
from trainbench.training.task import Task

# The least speed to expect of a CPU here, used only to choose a batch and a step count that end in time.
# Two cores of an AMD EPYC ran ResNet-50's bfloat16 step at more than 40 GFLOP/s.
CPU_FLOPS_PER_S = 40e9
CPU_FLOPS_PER_STEP = 100e9
CPU_LEAST_STEPS = 10
WARMUP_LIMIT_S = 120.0
# Blocks that the steady-state criterion looks at.
STEADY_WINDOW = 5
CPU_STEADY_WINDOW = 3


@dataclass(frozen=True)
class Auto:
    """A chosen value and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class RunConfig:
    """A request with nothing left open."""

    request: Request
    input: str
    batch_size: int
    plan: Plan
    compiler_options: Mapping[str, str]
    autos: Mapping[str, Auto]

    @property
    def steps_per_call(self) -> int:
        return self.plan.steps_per_call


def resolve(request: Request, task: Task, platform: str) -> RunConfig:
    """Choose what was left open for a device of this platform ("cpu", "gpu", "tpu")."""
    autos: dict[str, Auto] = {}
    if request.model.optimizer_reason:
        autos["optimizer"] = Auto(request.optimizer.name, request.model.optimizer_reason)

    def chosen(name: str, asked: Any, auto: Auto) -> Any:
        if asked is not None:
            return asked
        autos[name] = auto
        return auto.value

    batch_size = chosen("batch_size", request.batch_size, _batch_size(request, task, platform))
    steps = chosen("steps", request.steps, _steps(request, task, platform, batch_size))
    warmup = chosen("warmup", request.warmup, _warmup(request, platform, steps))
    input_mode = chosen("input", request.input, _input(request))
    plan = _plan(request, platform, steps, warmup, autos)
    options, reason = compiler_options(platform, os.environ)
    if options:
        autos["compiler_options"] = Auto(options, reason)
    return RunConfig(request, input_mode, batch_size, plan, options, autos)


def _batch_size(request: Request, task: Task, platform: str) -> Auto:
    published = request.model.batch_size
    if platform != "cpu":
        return Auto(published, f"the per-device batch of {request.model.name}'s published runs")
    batch = published
    while batch > 2 and batch * task.flops_per_sample() > CPU_FLOPS_PER_STEP:
        batch //= 2
    return Auto(batch, f"small, so that a step takes seconds on a CPU; published runs use {published}")


def _steps(request: Request, task: Task, platform: str, batch_size: int) -> Auto:
    measure, per_call = request.measure, request.steps_per_call
    if platform != "cpu":
        steps, reason = measure.steps, f"measure={measure.name}"
    else:
        affordable = measure.cpu_seconds * CPU_FLOPS_PER_S / (batch_size * task.flops_per_sample())
        steps = min(measure.steps, max(CPU_LEAST_STEPS, int(affordable)))
        reason = f"about {measure.cpu_seconds:g} s on a CPU of {CPU_FLOPS_PER_S / 1e9:g} GFLOP/s"
        if steps == measure.steps:
            reason = f"measure={measure.name}"
        if steps == CPU_LEAST_STEPS:
            reason = "the fewest that give an interval, since steps are slow on a CPU"
    return Auto(-(-steps // per_call) * per_call, reason)


def _warmup(request: Request, platform: str, steps: int) -> Auto:
    usual = request.measure.warmup_steps
    if platform == "cpu" and steps < request.measure.steps:
        return Auto(
            min(usual, max(2, steps // 4)), "few, since steps are slow on a CPU; more if not steady by then"
        )
    if steps < usual:
        return Auto(steps, "no more than the timed steps; more if not steady by then")
    return Auto(usual, f"measure={request.measure.name}; more if not steady by then")


def _input(request: Request) -> Auto:
    if request.data == "synthetic":
        return Auto("resident", "synthetic data: one batch kept on the device, so no input cost is measured")
    return Auto("real", f"data={request.data}: batches are read from the data set")


def _plan(request: Request, platform: str, steps: int, warmup: int, autos: dict[str, Auto]) -> Plan:
    per_call = request.steps_per_call
    calls = steps // per_call
    blocks = _block_count(calls, request.measure.blocks)
    if calls % blocks:
        calls = -(-calls // blocks) * blocks
        autos["steps"] = Auto(calls * per_call, f"{steps} rounded up to {blocks} equal blocks")
    window = CPU_STEADY_WINDOW if platform == "cpu" else STEADY_WINDOW
    calls_per_block, warmup_calls = calls // blocks, -(-warmup // per_call)
    return Plan(
        calls=calls,
        calls_per_block=calls_per_block,
        warmup_min_calls=warmup_calls,
        warmup_max_calls=max(
            -(-request.measure.warmup_max_steps // per_call),
            (window + 1) * calls_per_block,
            warmup_calls + calls_per_block,
        ),
        window=window,
        steps_per_call=per_call,
        warmup_limit_s=WARMUP_LIMIT_S,
    )


def _block_count(calls: int, wanted: int) -> int:
    """The most equal blocks up to `wanted`; a third fewer at the most, else the calls are rounded up."""
    most = min(calls, wanted)
    for blocks in range(most, max(1, 2 * most // 3) - 1, -1):
        if calls % blocks == 0:
            return blocks
    return most
