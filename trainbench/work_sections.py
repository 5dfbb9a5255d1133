"""The sections of the record that say what ran on what; a forecast has them as a measurement does."""

from collections.abc import Mapping

from trainbench.autos import RunConfig
from trainbench.levers.registry import Use
from trainbench.results import record
from trainbench.training.device import Devices
from trainbench.training.precision import Precision
from trainbench.training.task import Task


def workload_section(config: RunConfig, task: Task, parameters: int) -> record.Workload:
    """What is trained."""
    request = config.request
    return record.Workload(
        model=request.model.label,
        task=request.model.task,
        sample_unit=task.sample_unit,
        parameters=parameters,
        batch_size=config.batch_size,
        global_batch_size=config.global_batch_size,
        gradient_accumulation=request.gradient_accumulation,
        image_size=request.model.image_size,
        sequence_length=request.model.sequence_length,
        flops_per_sample=task.flops_per_sample(),
        precision=request.precision.name,
        optimizer=request.optimizer.name,
        data=request.data.name,
    )


def parallel_section(
    config: RunConfig, state_bytes: int | None, unsplit: tuple[str, ...]
) -> record.Parallel | None:
    """How state, layers and batch are split; None for one device that computes nothing again.

    Args:
      state_bytes: on one device.
      unsplit: parameters that should have been split and were not, each with why.
    """
    if config.axes.devices == 1 and config.request.remat == "none":
        return None
    return record.Parallel(
        data=config.axes.data,
        fsdp=config.axes.fsdp,
        tensor=config.axes.tensor,
        batch_norm=config.batch_norm,
        remat=config.request.remat,
        state_bytes_per_device=state_bytes,
        unsplit=unsplit,
    )


def levers_section(uses: Mapping[str, Use]) -> dict[str, record.Lever]:
    """How the step was computed where there are several ways."""
    return {
        key: record.Lever(value=use.value, reason=use.reason, proof=use.proof) for key, use in uses.items()
    }


def hardware_section(
    devices: Devices, precision: Precision, host: record.Host, process_count: int = 1
) -> record.Hardware:
    """The accelerators, with the published facts of their chip."""
    chip = devices.chip
    return record.Hardware(
        device_kind=devices.kind,
        chip=chip.id if chip else None,
        device_count=devices.count,
        chip_count=devices.chip_count,
        process_count=process_count,
        peak_tflops=chip.peak_tflops.get(precision.peak_dtype) if chip else None,
        memory_bytes=chip.memory_bytes if chip else None,
        host=host,
    )


def autos_section(config: RunConfig) -> dict[str, record.Auto]:
    """What was chosen, and why."""
    return {name: record.Auto(value=auto.value, reason=auto.reason) for name, auto in config.autos.items()}


def software_section(facts: Mapping[str, str | None], prng: str | None) -> record.Software:
    """What `hardware.machine.software` found, as a section, with the random bit generator of dropout."""
    return record.Software(
        python=facts["python"] or "",
        jax=facts["jax"] or "",
        jaxlib=facts["jaxlib"] or "",
        flax=facts["flax"] or "",
        optax=facts["optax"] or "",
        libtpu=facts["libtpu"],
        trainbench=facts["trainbench"] or "",
        git_commit=facts["git_commit"],
        xla_flags=facts["xla_flags"],
        prng=prng,
        driver=facts["driver"],
    )
