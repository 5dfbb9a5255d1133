"""Collections of example results for the tests of the report: a sweep, a mixture, thousands, hostile."""

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from tests.results import examples
from trainbench.results.collect import Collection, Loaded, Skipped
from trainbench.results.record import (
    Comparison,
    Input,
    Loss,
    Memory,
    Operation,
    Rate,
    Result,
    StepTime,
    Throughput,
    Trace,
    Utilization,
)

GIB = examples.GIB
CHIP = "h100-sxm5-80gb"  # of the table of chips
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u2028[0].name \x1b[31m{{7*7}} </style>'


def changed(base: Result, **fields: object) -> Result:
    """`base` with top-level fields replaced, and validated again."""
    known = {name: getattr(base, name) for name in type(base).model_fields}
    return Result.model_validate(known | fields)


def point(base: Result, number: int, batch: int, *, devices: int = 1, **workload: object) -> Result:
    """`base` at another batch size and number of devices, with rates that a real device might have."""
    assert base.workload is not None
    assert base.hardware is not None
    assert base.timing is not None
    top = 1300 if workload.get("precision") == "fp32" else 2800
    rate = top * batch / (batch + 8) * devices**0.93
    noise = [1 + 0.004 * math.sin(3.1 * block * (1 + number % 7)) for block in range(30)]
    step = batch * devices / rate
    time = {
        "block_s": tuple(10 * step * one for one in noise),
        "step_time_s": StepTime(median=step, mean=step, p5=0.996 * step, p95=1.004 * step, cv=0.004),
        "outlier_blocks": (7,),
    }
    bytes_peak = int((2 + 0.23 * batch) * GIB)
    return changed(
        base,
        id=f"run-{number:05}",
        created_utc=base.created_utc + timedelta(minutes=number),
        workload=base.workload.model_copy(
            update={"batch_size": batch, "global_batch_size": batch * devices} | workload
        ),
        hardware=base.hardware.model_copy(
            update={"device_count": devices, "chip_count": devices, "chip": CHIP}
        ),
        timing=base.timing.model_copy(update=time),
        throughput=Throughput(
            samples_per_s=rate,
            samples_per_s_ci95=(0.99 * rate, 1.008 * rate),
            samples_per_s_per_chip=rate / devices,
        ),
        utilization=Utilization(mfu=0.07 * rate / devices / 2800),
        memory=Memory(peak_bytes_allocator=bytes_peak, limit_bytes=int(79.6 * GIB)),
        loss=Loss.from_curve([(step, 7 * math.exp(-step / 40)) for step in range(1, 60)]),
    )


def sweep() -> list[Result]:
    """Two precisions by six batch sizes on one device, one of them out of memory; two on more devices."""
    base, number, made = examples.ok_gpu(), 0, []
    for precision in ("bf16", "fp32"):
        for batch in (8, 16, 32, 64, 128, 256):
            number += 1
            made.append(point(base, number, batch, precision=precision))
    made.append(changed(examples.oom(), id="run-oom", workload=made[0].workload.model_copy(update=_BIG)))
    made += [point(base, 50 + devices, 64, devices=devices) for devices in (2, 4, 8)]
    return made


_BIG = {"batch_size": 512, "global_batch_size": 512}


def mixture() -> list[Result]:
    """A sweep, and one of each other kind of result that there is."""
    others = [changed(make(), id=f"other-{place}") for place, make in enumerate(examples.ALL)]
    fed = Input(
        mode="all",
        stall_fraction=0.12,
        stall_fraction_bounds=(0.1, 0.14),
        rates={
            "resident": Rate(samples_per_s=2791.0, samples_per_s_ci95=(2780.0, 2800.0), steady=True),
            "host": Rate(samples_per_s=2700.0, samples_per_s_ci95=(2680.0, 2710.0), steady=True),
            "real": Rate(samples_per_s=2456.0, samples_per_s_ci95=(2400.0, 2500.0), steady=True),
        },
        loader=Rate(samples_per_s=2500.0, samples_per_s_ci95=None, steady=True),
        verdict="input-bound",
        verdict_reason="the loader gives less than the step takes",
    )
    return [*sweep(), *others, changed(examples.ok_gpu(), id="fed", input=fed, trace=trace())]


def trace(*names: str, busy: float | None = 0.931) -> Trace:
    """Five traced steps, with operations of these names or of some that XLA might give."""
    names = names or ("convolution.3", "fusion.12", "fusion.7", "all-reduce.1", "copy.2")
    kinds = {"convolution": "convolution", "fusion": "loop fusion", "all-reduce": "collective"}
    shares = [0.5**place / 2 for place, _ in enumerate(names, 1)]
    return Trace(
        steps=5,
        wall_s=0.47,
        device_busy_fraction=busy,
        operations=tuple(
            Operation(
                name=name,
                category=kinds.get(name.partition(".")[0], name),
                origin=f"jit(step)/jvp(Model)/{name}/dot_general",
                self_time_s=0.09 * share,
                share=share,
                occurrences=1 + place % 3,
            )
            for place, (name, share) in enumerate(zip(names, shares, strict=True))
        ),
        source="xprof 2.24.0",
        path="trace",
        size_bytes=3_400_000,
    )


def forecast(base: Result, kind: str = "TPU v6 lite") -> Result:
    """The same work as a forecast for a chip that is not here: a rate and a workload, but no timing."""
    assert base.hardware is not None
    return changed(
        base,
        kind="forecast",
        id=f"{base.id}-forecast",
        hardware=base.hardware.model_copy(update={"device_kind": kind, "chip": "v6e"}),
        timing=None,
        utilization=None,
        loss=None,
        memory=Memory(peak_bytes_compiled=20 * GIB),
    )


def two_models() -> list[Result]:
    """Two models by four batch sizes, with what failed, repeats as of a comparison, and forecasts."""
    base, made = examples.ok_gpu(), []
    for place, model in enumerate(("a", "b")):
        for size, batch in enumerate((1, 2, 4, 8)):
            made.append(point(base, 10 * place + size, batch, model=model))
    oom, failed = made.pop(), made.pop(2)
    made.append(changed(examples.oom(), id="run-oom", workload=oom.workload))
    made.append(
        changed(examples.failed_early(), id="run-failed", workload=failed.workload, hardware=failed.hardware)
    )
    made += [point(base, 30 + repeat, 4, model="b") for repeat in range(3)]
    return [*made, *(forecast(point(base, 40 + batch, batch, model="a")) for batch in (2, 4, 8))]


def hostile() -> Result:
    """Strings that are markup, code, a URL that runs code, a path into data, and control characters."""
    base = examples.ok_gpu()
    assert base.workload is not None
    assert base.hardware is not None
    assert base.software is not None
    figure = Comparison(
        reference_id=HOSTILE,
        accelerator=HOSTILE,
        value=2750.0,
        ratio=1.01,
        like_for_like=True,
        differences=(HOSTILE,),
        source="javascript:alert(3)",
        date=HOSTILE,
    )
    return changed(
        base,
        id="hostile",
        command=HOSTILE,
        config={HOSTILE: HOSTILE, "attention": "datum['x'].y[0]"},
        workload=base.workload.model_copy(
            update={"model": HOSTILE, "precision": HOSTILE, "data": HOSTILE, "sample_unit": HOSTILE}
        ),
        hardware=base.hardware.model_copy(update={"device_kind": HOSTILE, "chip": HOSTILE}),
        software=base.software.model_copy(update={"jax": HOSTILE, "driver": "</script><!--"}),
        comparisons=(figure,),
        trace=trace(HOSTILE, "datum['x'].y[0]"),
        warnings=(f"odd: {HOSTILE}",),
    )


def thousands(count: int) -> Iterator[Result]:
    """`count` results of 20 models at 8 batch sizes, each measured many times."""
    base = examples.ok_gpu()
    alike = [
        point(base, number, 2 ** (3 + number // 20), model=f"model_{number % 20}") for number in range(160)
    ]
    for number in range(count):
        later = base.created_utc + timedelta(minutes=number)
        yield alike[number % 160].model_copy(update={"id": f"run-{number:05}", "created_utc": later})


def collection(results: list[Result], skipped: tuple[Skipped, ...] = ()) -> Collection:
    """The results as if they had been read from as many directories."""
    loaded = [Loaded(Path("runs") / result.id / "result.json", result) for result in results]
    return Collection(tuple(loaded), skipped)


def written(results: list[Result], directory: Path) -> Path:
    """`directory`, after each result was written into a directory of its own below it."""
    for result in results:
        place = directory / result.id
        place.mkdir(parents=True)
        (place / "result.json").write_text(result.model_dump_json(indent=2))
    return directory
