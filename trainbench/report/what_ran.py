"""What ran on what, in the lines that begin the summary of a run and of a forecast."""

from trainbench.report.numbers import count
from trainbench.results.record import Hardware, Result, Workload

LABEL = 12
# Of the levers, what the line of the batch tells already.
_TOLD_ELSEWHERE = ("gradient_accumulation",)


def labelled(label: str, text: str) -> str:
    """One line of a summary, its label in a column of its own."""
    return f"{label:<{LABEL}} {text}"


def what_ran(result: Result) -> list[str]:
    """Model and data; then devices, batch and steps; only the command when it never came to that."""
    if result.workload is None:
        return [labelled("command", result.command)]
    work = result.workload
    mode = f" ({result.input.mode})" if result.input else ""
    parameters, parts = f"{count(work.parameters)} parameters", work.gradient_accumulation
    model = [work.model, work.precision, parameters, *shape(work), work.optimizer]
    cut = f" in {parts:,} micro-batches of {work.batch_size // parts:,}" if parts > 1 else ""
    batch = f"batch {work.batch_size:,} per device{cut}, {work.global_batch_size:,} global"
    steps = [f"{result.timing.timed_steps:,} timed steps"] if result.timing else []
    devices = [_devices(result.hardware)] if result.hardware else []
    return [
        labelled("ran", " · ".join([*model, f"{work.data} data{mode}"])),
        labelled("on", " · ".join([*devices, *split(result), batch, *steps])),
        *levers(result),
        *_framework(result),
    ]


def _framework(result: Result) -> list[str]:
    """What ran the step where that was not JAX."""
    framework = result.framework
    if framework is None:
        return []
    layout = ["channels last"] if framework.channels_last else []
    attention = [f"attention {framework.attention_ran or framework.attention}"] if framework.attention else []
    threads = [f"{framework.threads} threads"] if framework.cuda is None else []
    words = [
        f"PyTorch {framework.version}",
        framework.compile,
        *layout,
        *attention,
        *threads,
        framework.models,
    ]
    return [labelled("framework", " · ".join(words))]


def levers(result: Result) -> list[str]:
    """How the step was computed, as far as it is not the plain way."""
    unlike = [
        f"{key} {lever.value}"
        for key, lever in result.levers.items()
        if key not in _TOLD_ELSEWHERE and lever.proof is not None
    ]
    return [labelled("levers", " · ".join(unlike))] if unlike else []


def split(result: Result) -> list[str]:
    """How devices share the work where it is not by the batch alone."""
    mesh = result.parallel
    if mesh is None:
        return []
    sizes = {"data": mesh.data, "fsdp": mesh.fsdp, "tensor": mesh.tensor}
    axes = " x ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1)
    return [axes] if mesh.fsdp * mesh.tensor > 1 else []


def shape(work: Workload) -> list[str]:
    """The size of a sample, for example ["224 px"]."""
    image = [f"{work.image_size} px"] if work.image_size else []
    return image + ([f"{work.sequence_length} tokens"] if work.sequence_length else [])


def _devices(hardware: Hardware) -> str:
    """For example "8 x TPU v3 (4 chips)"; chips are named where they are not the devices."""
    differ = hardware.chip_count is not None and hardware.chip_count != hardware.device_count
    chips = f" ({hardware.chip_count} chips)" if differ else ""
    processes = f" in {hardware.process_count} processes" if hardware.process_count > 1 else ""
    return f"{hardware.device_count} x {hardware.device_kind}{chips}{processes}"
