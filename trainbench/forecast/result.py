"""From what a target's compiler says of a training step to the record of a forecast."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from trainbench import published
from trainbench.compiled import hlo
from trainbench.config import Request
from trainbench.forecast import economy
from trainbench.forecast.bounds.bound import Bound
from trainbench.forecast.compiler.build import Build, Traced, not_compiled
from trainbench.forecast.compiler.program import Program, TooLarge
from trainbench.forecast.targets import Target
from trainbench.forecast.timing import calibration, chip_model, time_model
from trainbench.forecast.timing.calibration import Calibration
from trainbench.forecast.timing.demand import Demands
from trainbench.forecast.timing.limits import Part, limits, top
from trainbench.forecast.timing.schedule import FULL_RATES, Schedule
from trainbench.hardware import chips, machine
from trainbench.reference.differences import RunFacts
from trainbench.report.numbers import size
from trainbench.results import record
from trainbench.training.step import THREEFRY
from trainbench.work_sections import software_section

NOTHING_RAN = "nothing ran: this is a forecast"
# A host launches a step in some hundred microseconds; a device that is busy for longer doesn't wait for it.
# No figure that calibrates forecasts is of steps as short as this.
SHORT_CALL_S = 1e-3
NOT_COMPILED = "nothing was compiled"


@dataclass(frozen=True)
class Asked:
    """What a forecast is asked for; `tree` is the composed configuration of `request`."""

    request: Request
    tree: Mapping[str, Any]
    command: str
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


def assemble(build: Build | Traced, asked: Asked) -> record.Result:
    """The record of a step that was compiled, or that the target's memory does not hold; or of its bound.

    It has an expected throughput where published figures have calibrated the time model for the platform.
    """
    if isinstance(build, Traced):
        return _bounded(build, asked)
    times = _times(build, build.program) if build.program else None
    speed = _throughput(build, times) if times else None
    too_large = build.outcome if isinstance(build.outcome, TooLarge) else None
    return record.Result(
        kind="forecast",
        status="oom" if too_large else "ok",
        status_reason=_excess(too_large) if too_large else None,
        **_frame(build.target, asked, _prng(build, asked)),
        autos=build.facts.autos,
        workload=build.facts.workload,
        hardware=build.facts.hardware,
        parallel=build.facts.parallel,
        levers=build.facts.levers,
        compile=_compile(build),
        throughput=speed,
        memory=_memory(build),
        power=economy.power(build.target, speed.samples_per_s) if speed else None,
        cost=economy.cost(build.target, speed.samples_per_s, asked.request.price_per_hour) if speed else None,
        comparisons=_comparisons(build, speed, asked) if times else (),
        forecast=_forecast(build, times, asked),
        warnings=tuple(_warnings(times)),
    )


@dataclass(frozen=True)
class _Times:
    """The schedule with every rate and estimate as published, and as published figures have calibrated it.

    `why_not` says why there is no calibrated one.
    """

    stated: Schedule
    calibrated: Schedule | None = None
    calibration: Calibration | None = None
    why_not: str | None = None

    @property
    def best(self) -> Schedule:
        return self.calibrated or self.stated


def _times(build: Build, program: Program) -> _Times:
    target, chip = build.target, chip_model.for_target(build.target)
    demands = Demands(hlo.parse(program.hlo), chip)
    stated, known = time_model.timed(demands, FULL_RATES), calibration.load().get(target.platform)
    if known is None:
        return _Times(
            stated, why_not=f"no published figures have calibrated forecasts for a {target.platform} yet"
        )
    if target.chips > 1 and chip.network_bytes_per_s is None:
        # Without its collectives a step looks faster than it can be.
        return _Times(stated, why_not="the network between these chips is not known")
    return _Times(stated, time_model.timed(demands, known.parameters), known)


def with_largest(found: record.Result, batch_size: int | None) -> record.Result:
    """The record of a step that does not fit, with the largest batch that would where it is known."""
    if batch_size is None or found.memory is None:
        return found
    memory = found.memory.model_copy(update={"largest_batch_size": batch_size})
    return found.model_copy(update={"memory": memory})


def _bounded(traced: Traced, asked: Asked) -> record.Result:
    """The record of a step that was only traced."""
    bound, facts = traced.bound, traced.facts
    whole = bound.seconds if bound.fits else None
    about = _target(traced.target).model_copy(update={"basis": "traced program", "unknown": bound.unknown})
    if bound.explanation:
        about = about.model_copy(update={"explanation": f"{about.explanation}: {bound.explanation}"})
    if whole:
        parts = sorted(bound.parts.items(), key=lambda part: part[1], reverse=True)
        limits_ = tuple(_part(Part(name, took, took / whole), facts.steps_per_call) for name, took in parts)
        rate = _rate(traced, whole)
        about = about.model_copy(update={"bound_samples_per_s": rate, "limits": limits_})
    return record.Result(
        kind="forecast",
        status="ok" if bound.fits else "oom",
        status_reason=None if bound.fits else _does_not_fit(bound),
        **_frame(traced.target, asked, _prng(traced, asked)),
        autos=facts.autos,
        workload=facts.workload,
        hardware=facts.hardware,
        parallel=facts.parallel,
        levers=facts.levers,
        compile=record.Compile(trace_s=facts.trace_s, program_flops=facts.program_flops),
        memory=record.Memory(limit_bytes=bound.memory_bytes),
        comparisons=_comparisons(traced, None, asked) if whole else (),
        forecast=about,
        warnings=tuple(_warnings_of_bound(traced)),
    )


def _does_not_fit(bound: Bound) -> str:
    assert bound.memory_bytes is not None
    needed, has = bound.held_bytes, bound.memory_bytes
    return (
        f"state and batch alone need {size(needed)} of a device's {size(has)}, {size(needed - has)} too much"
    )


def _warnings_of_bound(traced: Traced) -> Iterator[str]:
    yield from _nothing_ran()
    why = traced.why
    yield f"throughput: {why.problem} (to get more than a bound: {why.fix})"
    yield f"peak_bytes_compiled: {NOT_COMPILED}; state and batch alone take {size(traced.bound.held_bytes)}"
    yield from (f"forecast: {text}" for text in traced.bound.unknown)


def failed(target: Target, reason: str, asked: Asked) -> record.Result:
    """The record of a step over which the target's compiler, or the tracing of it, broke down."""
    about = _target(target)
    if not_compiled(target) is not None:
        about = about.model_copy(update={"basis": "traced program"})
    return record.Result(
        kind="forecast",
        status="failed",
        status_reason=reason,
        **_frame(target, asked),
        forecast=about,
    )


def _frame(target: Target, asked: Asked, prng: str | None = None) -> dict[str, Any]:
    name = f"{asked.request.model.name}-{target.name.replace(':', '-')}"
    return {
        "id": f"{name}-{asked.started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        "created_utc": asked.started,
        "command": asked.command,
        "config": dict(asked.tree),
        # A driver of this machine's own has no part in it.
        "software": software_section({**machine.software(), "driver": None}, prng),
    }


def _prng(build: Build | Traced, asked: Asked) -> str:
    """The generator of dropout's bits; where there is no dropout JAX's default one, as of a run."""
    chosen = build.facts.autos.get("prng")
    return str(chosen.value) if chosen else asked.request.prng or THREEFRY


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


def _rate(build: Build | Traced, seconds: float) -> float | None:
    """Samples per second over all devices, where one device call takes this long."""
    samples = build.facts.workload.global_batch_size * build.facts.steps_per_call
    return samples / seconds if seconds > 0 else None


def _throughput(build: Build, times: _Times) -> record.Throughput | None:
    """The expected rate, and an interval that does not go beyond the roofline."""
    bound, tokens = _rate(build, times.stated.roofline_s), build.facts.tokens_per_sample
    rate = _rate(build, times.calibrated.expected_s) if times.calibrated else None
    if rate is None or bound is None or times.calibration is None:
        return None
    low, high = times.calibration.interval(rate)
    return record.Throughput(
        samples_per_s=rate,
        samples_per_s_ci95=(low, min(high, bound)),
        samples_per_s_per_chip=rate / build.target.chips,
        tokens_per_s=rate * tokens if tokens else None,
    )


def _forecast(build: Build, times: _Times | None, asked: Asked) -> record.Forecast:
    about = _target(build.target)
    if times is None:
        return about
    best, steps = times.best, build.facts.steps_per_call
    rests_on = times.calibration
    return about.model_copy(
        update={
            "calibration": rests_on.words(build.target.chip, asked.request.model.name) if rests_on else None,
            "bound_samples_per_s": _rate(build, times.stated.roofline_s),
            "compiler_samples_per_s": _rate(build, times.stated.expected_s),
            "unestimated_fraction": min(1.0, best.unestimated_s / best.expected_s)
            if best.expected_s
            else None,
            "limits": tuple(_part(part, steps) for part in limits(best)),
            "operations": tuple(_part(part, steps) for part in top(best)),
            "unknown": _unknown(times),
        }
    )


def _unknown(times: _Times) -> tuple[str, ...]:
    """What the schedule could not tell; and launching, where a call is too short to hide it."""
    if times.best.expected_s >= SHORT_CALL_S:
        return times.best.unknown
    return (*times.best.unknown, "what launching so short a step costs: it is not in the rate")


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


def _comparisons(
    build: Build | Traced, speed: record.Throughput | None, asked: Asked
) -> tuple[record.Comparison, ...]:
    """The published figures beside a forecast, the one to be reproduced first; a bound has no ratios."""
    return published.beside(_run_facts(build, speed), asked.request, first=asked.request.reproduce)


def _run_facts(build: Build | Traced, speed: record.Throughput | None) -> RunFacts:
    target = build.target
    here = target.platform == "cpu"
    return published.conditions(
        build.facts.workload,
        target.chips,
        build.facts.parallel,
        levers={key: lever.value for key, lever in build.facts.levers.items()},
        samples_per_s_per_chip=speed.samples_per_s_per_chip if speed else None,
        chip_id=None if here else target.chip,
        accelerator="CPU" if here else chips.by_id(target.chip).name,
        devices_per_chip=target.devices_per_chip,
    )


def _nothing_ran() -> Iterator[str]:
    yield from (f"{name}: {NOTHING_RAN}" for name in ("timing", "loss", "peak_bytes_allocator", "mean_w"))


def _warnings(times: _Times | None) -> Iterator[str]:
    yield from _nothing_ran()
    yield "utilization: no device reached it"
    if times is None:
        return
    if times.why_not:
        yield f"throughput: {times.why_not}"
    yield from (f"forecast: {text}" for text in _unknown(times))
