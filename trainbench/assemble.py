"""From the parts of a run to its record, and the verdict on whether the numbers may be believed."""

import math
import uuid
from dataclasses import dataclass
from typing import Literal

from trainbench import published
from trainbench.checkpoint_section import checkpoint_section, segments_section
from trainbench.communication_section import communication_section
from trainbench.data.settings import SyntheticData
from trainbench.doubts import doubts
from trainbench.hardware import machine
from trainbench.input_cost import input_section
from trainbench.measure.limits import check_physical
from trainbench.measure.memory import allocator_memory
from trainbench.measure.statistics import Summary, summarise
from trainbench.measure.statistics import throughput as rate_of
from trainbench.results import record
from trainbench.run import Parts
from trainbench.trace_section import trace_section
from trainbench.work_sections import (
    autos_section,
    hardware_section,
    levers_section,
    parallel_section,
    software_section,
    workload_section,
)

# A state below this might stay in an accelerator's cache, where memory bandwidth does not bound it
# (the largest is the 256 MB Infinity Cache of AMD's MI300X, per its CDNA 3 white paper).
CACHEABLE_STATE_BYTES = 512 * 2**20


Status = Literal["ok", "oom", "interrupted", "failed", "invalid"]


@dataclass(frozen=True)
class Ending:
    """How a run ended: a status of the record, and why it is not ok."""

    status: Status
    reason: str | None = None


def assemble(parts: Parts, ending: Ending) -> record.Result:
    """The record of a run; sections whose parts are missing are None.

    Numbers that cannot be right make a run "invalid", also one that was interrupted: a loss that is not
    finite, a figure above what the chip can do, a compilation or an implicit transfer while timing. What was
    derived from such a measurement (utilization, comparisons) is left out; the times stay as evidence.
    """
    summary = _summary(parts)
    if ending.status in ("ok", "interrupted"):
        ending = _verdict(parts, summary) or ending
    believed = ending.status in ("ok", "interrupted")
    work, speed, software = _workload(parts), _throughput(parts, summary), machine.software()
    return record.Result(
        kind="measured",
        status=ending.status,
        status_reason=ending.reason,
        id=f"{parts.request.model.name}-{parts.started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        created_utc=parts.started,
        command=parts.command,
        config=dict(parts.tree),
        autos=_autos(parts),
        workload=work,
        hardware=_hardware(parts),
        software=software_section(software, parts.config.prng if parts.config else None),
        compile=_compile(parts),
        timing=_timing(parts, summary),
        throughput=speed,
        utilization=_utilization(parts, speed) if believed else None,
        memory=_memory(parts),
        input=input_section(parts, _global_batch_size(parts)) if parts.config else None,
        loss=record.Loss.from_curve(parts.losses) if parts.losses else None,
        evaluation=_evaluation(parts),
        parallel=_parallel(parts),
        cost=published.cost(parts, speed) if believed else None,
        comparisons=published.comparisons(parts, work, speed) if believed else (),
        reproduction=published.reproduction(parts, work, speed if believed else None),
        trace=trace_section(parts),
        levers=levers_section(parts.levers),
        communication=communication_section(parts),
        framework=parts.framework,
        processes=parts.processes,
        checkpoint=checkpoint_section(parts, summary.median if summary else None),
        segments=segments_section(parts, ending.status),
        warnings=(*doubts(parts, summary, software), *published.left_out(parts, work)),
    )


def _summary(parts: Parts) -> Summary | None:
    timing = parts.timing
    if timing is None or not timing.block_s:
        return None
    return summarise(timing.step_times_s)


def _global_batch_size(parts: Parts) -> int:
    assert parts.config is not None
    return parts.config.global_batch_size


def _peak_flops_per_device(parts: Parts) -> float | None:
    return parts.devices.peak_flops(parts.request.precision.peak_dtype) if parts.devices else None


def _model_flops_per_device(parts: Parts, samples_per_s: float) -> float:
    assert parts.task is not None
    assert parts.devices is not None
    return samples_per_s * parts.task.flops_per_sample() / parts.devices.count


def _verdict(parts: Parts, summary: Summary | None) -> Ending | None:
    """Why the numbers can't be right; None when nothing speaks against them."""
    bad_step = next((step for step, loss in parts.losses if not math.isfinite(loss)), None)
    if bad_step is not None:
        return Ending(
            "invalid",
            f"the loss was not finite by step {bad_step}: lower optimizer.learning_rate "
            f"(now {parts.request.optimizer.learning_rate:g}), or use precision=fp32 to rule out overflow",
        )
    if parts.window is not None and parts.window.compilations:
        return Ending("invalid", f"{parts.window.compilations} compilations happened inside the timed window")
    violation = _violation(parts, summary) if summary is not None else None
    return Ending("invalid", violation) if violation else None


def _violation(parts: Parts, summary: Summary) -> str | None:
    """The physical limit that the measured step breaks, per device; both FLOP counts have to respect it."""
    assert parts.devices is not None
    chip, state_bytes = parts.devices.chip, parts.state_bytes or 0
    bandwidth = chip.memory_bandwidth / chip.jax_devices_per_chip if chip and chip.memory_bandwidth else None
    rate = rate_of(_global_batch_size(parts), summary).samples_per_s
    model_flops = _model_flops_per_device(parts, rate) * summary.median
    violations = check_physical(
        step_time_s=summary.median,
        model_flops_per_step=max(model_flops, _program_flops_per_device(parts) or 0),
        peak_flops_per_s=_peak_flops_per_device(parts),
        min_bytes_per_step=2 * state_bytes if state_bytes > CACHEABLE_STATE_BYTES else None,
        peak_bytes_per_s=bandwidth,
    )
    return "; ".join(map(str, violations)) or None


def _program_flops_per_device(parts: Parts) -> float | None:
    """FLOPs of one optimizer step, from the walk over the traced program, on one device."""
    if parts.executable is None or parts.config is None or parts.devices is None:
        return None
    return parts.executable.flops.total / parts.config.steps_per_call / parts.devices.count


def _autos(parts: Parts) -> dict[str, record.Auto]:
    return autos_section(parts.config) if parts.config else {}


def _workload(parts: Parts) -> record.Workload | None:
    if parts.config is None or parts.task is None or parts.parameters is None:
        return None
    return workload_section(parts.config, parts.task, parts.parameters)


def _parallel(parts: Parts) -> record.Parallel | None:
    if parts.placed is None:
        return None
    return parallel_section(parts.placed.config, parts.state_bytes, parts.placed.unsplit)


def _hardware(parts: Parts) -> record.Hardware | None:
    if parts.devices is None:
        return None
    host = machine.host()
    return hardware_section(
        parts.devices,
        parts.request.precision,
        record.Host(cpu=host.cpu, cores=host.cores, memory_bytes=host.memory_bytes),
        len(parts.team.names),
    )


def _compile(parts: Parts) -> record.Compile | None:
    executable = parts.executable
    if executable is None or parts.config is None:
        return None
    return record.Compile(
        trace_s=executable.trace_s,
        lower_s=executable.lower_s,
        compile_s=executable.compile_s,
        cache=executable.cache,
        xla_flops=executable.xla_flops,
        xla_bytes=executable.xla_bytes,
        peak_bytes=executable.peak_bytes,
        program_flops=executable.flops.total / parts.config.steps_per_call,
        donated=parts.donated,
    )


def _timing(parts: Parts, summary: Summary | None) -> record.Timing | None:
    timing, window, config = parts.timing, parts.window, parts.config
    if timing is None or window is None or config is None:
        return None
    return record.Timing(
        warmup_steps=timing.warmup_steps + parts.first_calls * config.steps_per_call,
        timed_steps=timing.timed_steps,
        steps_per_block=timing.steps_per_block,
        steps_per_call=config.steps_per_call,
        block_s=timing.block_s,
        warmup_block_s=timing.warmup_block_s,
        step_time_s=_step_time(summary),
        outlier_blocks=tuple(outlier.block for outlier in summary.outliers) if summary else (),
        drift_fraction=summary.drift_fraction if summary else None,
        autocorrelation=summary.autocorrelation if summary else None,
        effective_blocks=summary.effective_blocks if summary else None,
        steady=timing.steady,
        steady_reason=timing.steady_reason,
        host_dispatch_s=timing.host_dispatch_s,
        compilations_in_window=window.compilations,
        implicit_transfers_in_window=1 if window.transfer_error else 0,
    )


def _step_time(summary: Summary | None) -> record.StepTime | None:
    if summary is None:
        return None
    return record.StepTime(
        median=summary.median,
        mean=summary.mean,
        p5=summary.p5,
        p95=summary.p95,
        cv=summary.cv,
        ci95=summary.ci95,
    )


def _throughput(parts: Parts, summary: Summary | None) -> record.Throughput | None:
    if summary is None or parts.devices is None or parts.task is None:
        return None
    rate = rate_of(_global_batch_size(parts), summary)
    chips, tokens = parts.devices.chip_count, parts.task.tokens_per_sample
    return record.Throughput(
        samples_per_s=rate.samples_per_s,
        samples_per_s_ci95=rate.ci95,
        samples_per_s_per_chip=rate.samples_per_s / chips if chips else None,
        tokens_per_s=rate.samples_per_s * tokens if tokens else None,
        useful_tokens_per_s=rate.samples_per_s * tokens * (1 - _padding(parts)) if tokens else None,
    )


def _padding(parts: Parts) -> float:
    """Share of the fed tokens that are padding; rows of synthetic text are full."""
    return parts.padding_fraction or 0.0


def _utilization(parts: Parts, speed: record.Throughput | None) -> record.Utilization | None:
    program_flops = _program_flops_per_device(parts)
    if speed is None or parts.devices is None:
        return None
    peak, chips = _peak_flops_per_device(parts), parts.devices.chip_count
    achieved = _model_flops_per_device(parts, speed.samples_per_s)
    per_step = speed.samples_per_s / _global_batch_size(parts)
    return record.Utilization(
        mfu=achieved / peak if peak else None,
        hfu=program_flops * per_step / peak if peak and program_flops else None,
        model_tflops_per_s_per_chip=achieved * parts.devices.count / chips / 1e12 if chips else None,
    )


def _memory(parts: Parts) -> record.Memory | None:
    if parts.devices is None:
        return None
    allocator = allocator_memory(parts.devices.local)
    return record.Memory(
        peak_bytes_allocator=allocator.peak_bytes,
        peak_bytes_compiled=parts.executable.peak_bytes if parts.executable else None,
        limit_bytes=allocator.limit_bytes,
    )


def _evaluation(parts: Parts) -> record.Evaluation | None:
    found, task, data = parts.evaluation, parts.task, parts.request.data
    if found is None or task is None or isinstance(data, SyntheticData) or data.held_out is None:
        return None
    return record.Evaluation(
        metric=task.accuracy_name,
        value=found.accuracy,
        loss=found.loss if math.isfinite(found.loss) else None,
        samples=found.predictions,
        split=data.held_out,
    )
