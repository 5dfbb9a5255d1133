"""From what a target's compiler says of a training step to the record of a forecast."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trainbench import published
from trainbench.config import Request
from trainbench.forecast import chip_model, hlo, time_model
from trainbench.forecast.build import Build
from trainbench.forecast.limits import Part, limits, top
from trainbench.forecast.program import Program, TooLarge
from trainbench.forecast.schedule import Schedule
from trainbench.forecast.targets import Target
from trainbench.hardware import chips, machine
from trainbench.reference.differences import RunFacts
from trainbench.report.numbers import size
from trainbench.results import record
from trainbench.work_sections import software_section

NOTHING_RAN = "nothing ran: this is a forecast"


@dataclass(frozen=True)
class Asked:
    """What a forecast is asked for; `tree` is the composed configuration of `request`."""

    request: Request
    tree: Mapping[str, Any]
    command: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def assemble(build: Build, asked: Asked) -> record.Result:
    """The record of a step that was compiled, or that the target's memory does not hold.

    Its throughput is by the compiler's estimate, and not calibrated.
    """
    program = build.program
    schedule = None
    if program is not None:
        schedule = time_model.times(hlo.parse(program.hlo), chip_model.for_target(build.target))
    speed = _throughput(build, schedule) if schedule else None
    too_large = build.outcome if isinstance(build.outcome, TooLarge) else None
    return record.Result(
        kind="forecast",
        status="oom" if too_large else "ok",
        status_reason=_excess(too_large) if too_large else None,
        **_frame(build.target, asked),
        autos=build.facts.autos,
        workload=build.facts.workload,
        hardware=build.facts.hardware,
        compile=_compile(build),
        throughput=speed,
        memory=_memory(build),
        comparisons=published.beside(_run_facts(build, speed), asked.request) if speed else (),
        forecast=_forecast(build, schedule),
        warnings=tuple(_warnings(schedule)),
    )


def failed(target: Target, reason: str, asked: Asked) -> record.Result:
    """The record of a step over which the target's compiler broke down."""
    return record.Result(
        kind="forecast",
        status="failed",
        status_reason=reason,
        **_frame(target, asked),
        forecast=_target(target),
    )


def _frame(target: Target, asked: Asked) -> dict[str, Any]:
    name = f"{asked.request.model.name}-{target.name.replace(':', '-')}"
    return {
        "id": f"{name}-{asked.started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        "created_utc": asked.started,
        "command": asked.command,
        "config": dict(asked.tree),
        # A driver of this machine's own has no part in it.
        "software": software_section({**machine.software(), "driver": None}),
    }


def _excess(outcome: TooLarge) -> str:
    """By how much the step is too large, as far as the compiler says."""
    if outcome.needed_bytes is None or outcome.available_bytes is None:
        return outcome.reason
    needed, available = outcome.needed_bytes, outcome.available_bytes
    return (
        f"the step needs {size(needed)} of a device's {size(available)}, {size(needed - available)} too much"
    )


def _compile(build: Build) -> record.Compile:
    program, facts = build.program, build.facts
    return record.Compile(
        trace_s=facts.trace_s,
        lower_s=facts.lower_s,
        compile_s=build.outcome.compile_s,
        cache="hit" if facts.cached else "miss",
        xla_flops=_known(program.flops) if program else None,
        xla_bytes=_known(program.bytes) if program else None,
        peak_bytes=program.memory.peak_bytes if program else None,
        program_flops=facts.program_flops,
    )


def _known(amount: float | None) -> float | None:
    """The amount; None for one below 0, which is how XLA says that it does not know."""
    return amount if amount is not None and amount >= 0 else None


def _memory(build: Build) -> record.Memory:
    outcome = build.outcome
    needed = outcome.memory.peak_bytes if isinstance(outcome, Program) else outcome.needed_bytes
    return record.Memory(peak_bytes_compiled=needed, limit_bytes=outcome.available_bytes)


def _rate(build: Build, seconds: float) -> float | None:
    """Samples per second over all devices, where one device call takes this long."""
    samples = build.facts.workload.global_batch_size * build.facts.steps_per_call
    return samples / seconds if seconds > 0 else None


def _throughput(build: Build, schedule: Schedule) -> record.Throughput | None:
    rate, tokens = _rate(build, schedule.expected_s), build.facts.tokens_per_sample
    if rate is None:
        return None
    return record.Throughput(
        samples_per_s=rate,
        samples_per_s_per_chip=rate / build.target.chips,
        tokens_per_s=rate * tokens if tokens else None,
    )


def _forecast(build: Build, schedule: Schedule | None) -> record.Forecast:
    about = _target(build.target)
    if schedule is None:
        return about
    whole, steps = schedule.expected_s, build.facts.steps_per_call
    return about.model_copy(
        update={
            "bound_samples_per_s": _rate(build, schedule.roofline_s),
            "compiler_samples_per_s": _rate(build, whole),
            "unestimated_fraction": min(1.0, schedule.unestimated_s / whole) if whole else None,
            "limits": tuple(_part(part, steps) for part in limits(schedule)),
            "operations": tuple(_part(part, steps) for part in top(schedule)),
            "unknown": schedule.unknown,
        }
    )


def _target(target: Target) -> record.Forecast:
    return record.Forecast(
        target=target.name,
        explanation=target.explanation,
        topology=target.topology,
        devices_per_chip=target.devices_per_chip,
        basis="compiled program",
    )


def _part(part: Part, steps: int) -> record.ForecastPart:
    return record.ForecastPart(name=part.name, seconds=part.seconds / steps, share=min(1.0, part.share))


def _run_facts(build: Build, speed: record.Throughput) -> RunFacts:
    work, target = build.facts.workload, build.target
    return RunFacts(
        model=work.model,
        task=work.task,
        image_size=work.image_size,
        sequence_length=work.sequence_length,
        precision=work.precision,
        batch_size=work.batch_size,
        gradient_accumulation=work.gradient_accumulation,
        optimizer=work.optimizer,
        num_chips=target.chips,
        samples_per_s_per_chip=speed.samples_per_s_per_chip,
        chip_id=target.chip,
        accelerator=chips.by_id(target.chip).name,
        dataset=work.data,
        devices_per_chip=target.devices_per_chip,
    )


def _warnings(schedule: Schedule | None) -> Iterator[str]:
    yield from (f"{name}: {NOTHING_RAN}" for name in ("timing", "loss", "peak_bytes_allocator", "power"))
    if schedule is None:
        return
    yield "samples_per_s_ci95: there is no interval before the estimate is calibrated"
    yield "utilization: none is derived from an estimate that is not calibrated"
    yield from (f"forecast: {text}" for text in schedule.unknown)
