"""Records of forecasts for tests: invented figures, each complete for its kind."""

from datetime import UTC, datetime
from typing import Any

from tests.results import examples
from tests.results.comparing import changed
from trainbench.forecast.targets import find
from trainbench.hardware import chips
from trainbench.results import record

GIB = 2**30
CALIBRATION = "42 published TPU figures, median error 9 %"


def compiled(target: str = "v6e-1", rate: float = 3000.0, share: float = 0.1, **fields: Any) -> record.Result:
    """A calibrated forecast of ResNet-50: `rate` images/s over all devices, give or take that share.

    Args:
      fields: as of `comparing.changed`.
    """
    ends = (rate * (1 - share), rate * (1 + share))
    base = _base(target, basis="compiled program")
    speed = record.Throughput(
        samples_per_s=rate, samples_per_s_ci95=ends, samples_per_s_per_chip=rate / find(target).chips
    )
    about = {
        "bound_samples_per_s": 1.5 * rate,
        "compiler_samples_per_s": 1.2 * rate,
        "calibration": CALIBRATION,
        "limits": (
            record.ForecastPart(name="HBM", seconds=0.02, share=0.6),
            record.ForecastPart(name="matrix units", seconds=0.01, share=0.3),
            record.ForecastPart(name="collectives", seconds=0.003, share=0.1),
        ),
    }
    memory = record.Memory(peak_bytes_compiled=20 * GIB, limit_bytes=31 * GIB)
    made = changed(base, throughput=speed, forecast=about, memory=memory, compile=examples.COMPILED)
    return changed(made, **fields)


def traced(target: str = "cpu", bound: float = 9000.0, **fields: Any) -> record.Result:
    """A bound, made without the target's compiler: no rate is expected."""
    base = changed(_base(target, basis="traced program"), forecast={"bound_samples_per_s": bound})
    return changed(base, **{"id": f"{base.id}-bound"} | fields)


def too_large(target: str = "v5e-1", **fields: Any) -> record.Result:
    """A forecast of a step that needs more memory than the target has."""
    memory = record.Memory(peak_bytes_compiled=20 * GIB, limit_bytes=16 * GIB)
    reason = "the step needs 20.0 GiB of a device's 16.0 GiB, 4.00 GiB too much"
    base = _base(target, basis="compiled program")
    return changed(base, **{"status": "oom", "status_reason": reason, "memory": memory} | fields)


def failed(target: str = "v4-1", **fields: Any) -> record.Result:
    """A forecast over which the compiler broke down."""
    ended = {"status": "failed", "status_reason": "INTERNAL: no", "workload": None, "hardware": None}
    return changed(_base(target, basis="compiled program"), **ended | fields)


def beside(result: record.Result, error: float = -0.08, *differences: str) -> record.Result:
    """The same forecast with a run on the real chip beside it."""
    rate = result.throughput.samples_per_s if result.throughput else 1000.0
    run = record.Beside(
        result_id="run-on-the-chip",
        samples_per_s=rate / (1 + error),
        error=error,
        differences=differences,
    )
    return changed(result, forecast={"beside": run})


def _base(target: str, basis: str) -> record.Result:
    """What every forecast has."""
    found = find(target)
    work, chip = examples.IMAGES, None if target == "cpu" else chips.by_id(found.chip)
    name = target.replace(":", "-")
    return record.Result(
        kind="forecast",
        status="ok",
        id=f"resnet50-{name}-20260202T030405-0a1b2c3d",
        created_utc=datetime(2026, 2, 2, 3, 4, 5, tzinfo=UTC),
        command=f"python -m trainbench forecast target={target} model=resnet50 batch_size=256",
        config={"model": {"name": "resnet50"}, "batch_size": 256, "steps_per_call": 1},
        workload=_on(work, found.devices),
        hardware=record.Hardware(
            device_kind=chip.name if chip else "cpu",
            chip=chip.id if chip else None,
            device_count=found.devices,
            chip_count=found.chips if chip else None,
            process_count=1,
        ),
        software=examples.SOFTWARE.model_copy(update={"libtpu": "0.0.42.1"}),
        forecast=record.Forecast(
            target=target,
            explanation=found.explanation,
            topology=found.topology,
            devices_per_chip=found.devices_per_chip,
            basis=basis,
        ),
        warnings=("timing: nothing ran: this is a forecast",),
    )


def _on(work: record.Workload, devices: int) -> record.Workload:
    """The workload on so many devices."""
    return work.model_copy(update={"global_batch_size": work.batch_size * devices})
