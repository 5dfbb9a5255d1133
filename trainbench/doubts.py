"""The warnings of a record: why a field is unknown ("<field>: <reason>"), and what makes one doubt it."""

from collections.abc import Iterator, Mapping

from trainbench import published
from trainbench.autos import RunConfig
from trainbench.checkpoint_section import checkpoint_doubts
from trainbench.communication_section import communication_doubts
from trainbench.data.settings import SyntheticData
from trainbench.hardware import machine
from trainbench.input_cost import out_of_order
from trainbench.measure.blocks import Timing
from trainbench.measure.memory import allocator_memory
from trainbench.measure.statistics import Summary
from trainbench.process_section import stragglers
from trainbench.run import MODES, Parts
from trainbench.trace_section import trace_doubts
from trainbench.training.device import Devices
from trainbench.training.evaluate import LIMIT_S
from trainbench.training.parallel_settings import SYNCHRONISED


def doubts(parts: Parts, summary: Summary | None, software: Mapping[str, str | None]) -> Iterator[str]:
    """One line each; `software` is what `machine.software()` found."""
    yield "power: not measured"
    if published.price_here(parts).value is None:
        yield f"cost: {_no_price(parts)}"
    elif summary is None:
        yield "cost: nothing was timed"
    if parts.config is not None:
        yield from _doubts_about_the_input(parts, parts.config)
    if parts.devices is not None:
        yield from _unknown_hardware(parts.request.precision.peak_dtype, parts.devices)
        yield from _doubts_about_the_device(parts, parts.devices)
    yield from _unknown_software(software)
    yield from stragglers(parts.processes)
    yield from trace_doubts(parts)
    yield from communication_doubts(parts)
    yield from checkpoint_doubts(parts)
    if parts.framework is not None:
        yield from _unknown_of_torch(parts)
    if parts.donated is False:
        yield "donation: the state was not reused in place, so it takes its memory twice"
    if summary is not None and parts.timing is not None:
        if summary.ci95 is None:
            yield f"ci95: {summary.ci95_reason}"
        yield from parts.timing.warnings
        yield from _doubts_about_the_host(parts, summary, parts.timing)


def _unknown_of_torch(parts: Parts) -> Iterator[str]:
    """What PyTorch does not say, and attention that is not what was asked for."""
    framework = parts.framework
    assert framework is not None
    yield "compile: PyTorch compiles within its first steps, and counts no FLOPs or bytes"
    if parts.devices is None or parts.devices.peak_flops(parts.request.precision.peak_dtype) is not None:
        yield "hfu: the program that PyTorch runs is not walked; MFU is by the analytic FLOPs"
    yield "peak_bytes_compiled: PyTorch has no compiler's figure"
    if framework.cuda is None:
        yield "cuda: the step ran on a CPU"
        yield "cudnn: the step ran on a CPU"
    if framework.attention is None:
        yield "attention: the model has none"
    if framework.attention_ran is None:
        yield f"attention_ran: {'plain operations' if framework.attention else 'no attention'}"
    elif "math" in framework.attention_ran:
        yield f"sdpa: scaled_dot_product_attention fell back to plain operations: {framework.attention_ran}"


def _doubts_about_the_input(parts: Parts, config: RunConfig) -> Iterator[str]:
    if config.input == "resident":
        for field in ("stall_fraction", "stall_fraction_bounds"):
            yield f"{field}: resident input cannot stall"
    if config.input != "all":
        for field in ("resident_change", "loader", "capacity_over_demand", "verdict", "verdict_reason"):
            yield f"{field}: measured with input=all only"
    disorder = out_of_order(parts)
    if disorder:
        yield disorder
    if parts.bad_records:
        first = next(iter(parts.bad_records.items()))
        yield f"bad_records: {len(parts.bad_records)} left out, for example {first[0]}: {first[1]}"
    if parts.padding_fraction is None:
        is_text = parts.task is not None and parts.task.tokens_per_sample is not None
        yield f"padding_fraction: {'synthetic rows are full' if is_text else 'images have no padding'}"
    yield from _doubts_about_held_out_data(parts, config)


def _doubts_about_held_out_data(parts: Parts, config: RunConfig) -> Iterator[str]:
    data, found = parts.request.data, parts.evaluation
    if found is not None and not found.complete:
        yield f"held_out: not the whole split was evaluated; it was stopped after {LIMIT_S:g} s"
    if found is None and (isinstance(data, SyntheticData) or data.held_out is None):
        yield "evaluation: no held-out data"
    elif found is None and parts.framework is not None:
        yield "evaluation: not done with framework=torch"
    elif found is None and MODES[config.input][-1] != "real":
        yield f"evaluation: input={config.input} trains on the same batches again and again"


def _no_price(parts: Parts) -> str:
    """Why a run has no price; the whole processor counts as one chip where there is none."""
    chip = parts.devices.chip if parts.devices else None
    known = f"no source gives a price for {chip.name}" if chip else "no price is kept for this hardware"
    return f"{known}; give one with price_per_hour=DOLLARS, for one chip and hour"


def _unknown_hardware(dtype: str, devices: Devices) -> Iterator[str]:
    if devices.chip is None:
        what = f"device kind {devices.kind!r} is not in the table of chips"
        if devices.platform == "cpu":
            what = "a CPU has no published peak in the table of chips"
        of_chip = ("chip", "chip_count", "samples_per_s_per_chip", "model_tflops_per_s_per_chip")
        for field in ("mfu", "hfu", "peak_tflops", "memory_bytes", *of_chip):
            yield f"{field}: {what}"
    elif devices.peak_flops(dtype) is None:
        for field in ("mfu", "hfu", "peak_tflops"):
            yield f"{field}: no dense {dtype} peak is published for {devices.chip.name}"
    if devices.chip is not None and devices.chip.memory_bytes is None:
        yield f"memory_bytes: {devices.chip.memory_reason}"
    allocator = allocator_memory(devices.local)
    if allocator.peak_bytes is None:
        yield f"peak_bytes_allocator: {allocator.peak_reason}"
    if allocator.limit_bytes is None:
        yield f"limit_bytes: {allocator.limit_reason}"


def _unknown_software(software: Mapping[str, str | None]) -> Iterator[str]:
    for field, what in (
        ("libtpu", "not installed"),
        ("driver", "no NVIDIA driver"),
        ("xla_flags", "none set"),
    ):
        if software[field] is None:
            yield f"{field}: {what}"


def _doubts_about_the_device(parts: Parts, devices: Devices) -> Iterator[str]:
    is_cpu, family = devices.platform == "cpu", parts.request.model.family
    if is_cpu and parts.request.precision.peak_dtype == "bf16" and not machine.has_bfloat16_units():
        yield "precision: this CPU has no bfloat16 units and computes in float32, with conversions"
    accumulates = parts.request.gradient_accumulation > 1
    loops = {"steps_per_call": parts.request.steps_per_call > 1, "gradient_accumulation": accumulates}
    if is_cpu and family == "resnet" and any(loops.values()):
        named = ", ".join(name for name, used in loops.items() if used)
        yield f"{named}: XLA:CPU runs convolutions inside a loop on one thread"
    batch_norm = parts.config.batch_norm if parts.config else None
    if batch_norm is not None:
        batch = "micro-batch" if accumulates else "batch"
        whose = f"the {batch} of all devices" if batch_norm == SYNCHRONISED else f"each replica's own {batch}"
        yield f"batch_norm: statistics are over {whose} ({batch_norm})"


def _doubts_about_the_host(parts: Parts, summary: Summary, timing: Timing) -> Iterator[str]:
    dispatch = timing.host_dispatch_s
    is_cpu = parts.devices is not None and parts.devices.platform == "cpu"
    if dispatch is not None and dispatch > summary.median / 2 and not is_cpu:
        yield (
            f"host_dispatch: issuing a step takes {dispatch / summary.median:.0%} of the step time; "
            "raise batch_size or steps_per_call"
        )
