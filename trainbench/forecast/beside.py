"""A forecast beside a run: of the run's own configuration, for the chips that it ran on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainbench import recompose, shipped
from trainbench.errors import UserError
from trainbench.forecast import targets
from trainbench.forecast.targets import Target
from trainbench.hardware import chips, machine
from trainbench.report.numbers import number, percent
from trainbench.results import record, single
from trainbench.results.collect import Loaded
from trainbench.results.compare_pairs import flattened, settled
from trainbench.results.record import Result

COMMAND = "python -m trainbench forecast beside="
# What a run is fed from, and what it does beside training: a forecast is of the training step alone.
_NOT_OF_THE_STEP = ("input", "reproduce", "trace", "data")
_SOFTWARE = ("jax", "jaxlib", "libtpu", "xla_flags", "prng", "trainbench")
_WORK = ("model", "precision", "batch_size", "gradient_accumulation", "image_size", "sequence_length")
_WORK_TOO = ("optimizer", "parameters", "data")


@dataclass(frozen=True)
class Wanted:
    """A run, the target that is what it ran on, and the overrides that its training step is made by."""

    run: Loaded
    target: Target
    overrides: tuple[str, ...]


def wanted(path: Path) -> Wanted:
    """What is to be forecast for the run in this file or directory.

    Raises:
      UserError: it is no run that came to a rate, its configuration is not of this version, or what it ran on
        is no target.
    """
    loaded = single.read_run(path, COMMAND)
    run = loaded.result
    if run.status != "ok" or run.throughput is None or run.throughput.samples_per_s <= 0:
        raise UserError(
            f"{path} has no rate to set a forecast beside: its status is {run.status}",
            allowed="a measured run whose status is ok",
            fix=f"{COMMAND}RESULT",
        )
    return Wanted(loaded, target_of(run), tuple(overrides(run)))


def overrides(run: Result) -> list[str]:
    """The overrides that compose the run's training step, on synthetic data.

    Raises:
      UserError: this version's configurations don't have what the run was configured with.
    """
    kept = {
        key: value for key, value in settled(run).items() if key.partition(".")[0] not in _NOT_OF_THE_STEP
    }
    synthetic = {key: value for key, value in shipped.read("data", "synthetic").items() if key != "defaults"}
    return recompose.overrides({**kept, **dict(flattened(synthetic, "data."))})


def target_of(run: Result) -> Target:
    """What the run ran on, as a target.

    Raises:
      UserError: its chip is not in the table of chips, or none is sold in such a number.
    """
    hardware = run.hardware
    assert hardware is not None, "an ok run says what it ran on"
    if hardware.device_kind.lower() == targets.CPU and hardware.device_count == 1:
        return targets.find(targets.CPU)
    known = {chip.id for chip in chips.load()}
    if hardware.chip not in known or hardware.chip_count is None:
        made = f"{hardware.device_count} x {hardware.device_kind}"
        raise UserError(
            f"the run was on {made}, for which nothing can be forecast",
            allowed="a run on TPUs or GPUs that are in the table of chips, or on one CPU device",
            fix=f"{COMMAND}RESULT",
        )
    assert hardware.chip is not None
    name = targets.of_chips(hardware.chip, hardware.chip_count)
    if name is None:
        raise UserError(
            f"the run was on {hardware.chip_count} chips {hardware.chip}, of which there is no slice",
            allowed="a number of chips that is sold as one slice, or whole hosts of GPUs",
            fix=f"{COMMAND}RESULT",
        )
    return targets.find(name)


def with_run(forecast: Result, run: Result) -> Result:
    """The forecast with the run beside it; with a warning in its place where the forecast has no rate.

    The error is that of the expected rate, or of the bound where nothing is expected.
    """
    about = forecast.forecast
    assert about is not None
    assert run.throughput is not None
    speed = forecast.throughput
    rate = speed.samples_per_s if speed else about.bound_samples_per_s
    if rate is None:
        why = f"beside: the forecast has no rate (status {forecast.status}), so the run {run.id} has no error"
        return forecast.model_copy(update={"warnings": (*forecast.warnings, why)})
    measured = run.throughput.samples_per_s
    made = record.Beside(
        result_id=run.id,
        samples_per_s=measured,
        error=rate / measured - 1,
        differences=tuple(differences(forecast, run)),
    )
    return forecast.model_copy(update={"forecast": about.model_copy(update={"beside": made})})


def differences(forecast: Result, run: Result) -> Iterator[str]:
    """In what the two are not alike, beyond that one of them ran."""
    if run.timing and not run.timing.steady:
        yield f"the run was not steady: {run.timing.steady_reason}"
    if run.input and run.input.mode != "resident":
        stall = run.input.stall_fraction
        lost = f", which costs {percent(stall)} of a step" if stall else ""
        yield f"input: the run was fed ({run.input.mode}){lost}; the forecast has its batch on the device"
    for name, there, here in _facts(forecast, run):
        if None not in (there, here) and there != here:
            yield f"{name}: run {there}, forecast {here}"


def _facts(forecast: Result, run: Result) -> Iterator[tuple[str, object, object]]:
    """(name, of the run, of the forecast); None where a side does not say."""
    if run.hardware and forecast.hardware:
        yield "devices", run.hardware.device_count, forecast.hardware.device_count
        if run.hardware.chip is None:
            here = forecast.hardware.host.cpu or machine.host().cpu
            yield "processor", run.hardware.host.cpu or "unknown", here
    if run.workload and forecast.workload:
        for name in (*_WORK, *_WORK_TOO):
            yield name.replace("_", " "), getattr(run.workload, name), getattr(forecast.workload, name)
    if run.software and forecast.software:
        for name in _SOFTWARE:
            yield name.replace("_", " "), getattr(run.software, name), getattr(forecast.software, name)
    if run.compile and forecast.compile and run.compile.program_flops and forecast.compile.program_flops:
        there, here = (number(one) for one in (run.compile.program_flops, forecast.compile.program_flops))
        yield "FLOPs in the program", there, here
