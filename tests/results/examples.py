"""Example records for the tests of `results` and `report`: invented figures, each complete for its kind."""

from datetime import UTC, datetime

from trainbench.results.record import (
    Auto,
    Comparison,
    Compile,
    Evaluation,
    Hardware,
    Host,
    Input,
    Loss,
    Memory,
    Result,
    Software,
    StepTime,
    Throughput,
    Timing,
    Utilization,
    Workload,
)

GIB = 2**30

IMAGES = Workload(
    model="resnet50",
    task="image classification",
    sample_unit="image",
    parameters=25_557_032,
    batch_size=256,
    global_batch_size=256,
    image_size=224,
    flops_per_sample=24.5e9,
    precision="bf16",
    optimizer="sgd",
    data="synthetic",
)

TEXT = Workload(
    model="bert_base",
    task="masked language modelling",
    sample_unit="sequence",
    parameters=109_514_298,
    batch_size=32,
    global_batch_size=256,
    sequence_length=128,
    flops_per_sample=70e9,
    precision="bf16",
    optimizer="adamw",
    data="synthetic",
)

H100 = Hardware(
    device_kind="NVIDIA H100 80GB HBM3",
    chip="h100_sxm",
    device_count=1,
    chip_count=1,
    process_count=1,
    peak_tflops=989.4,
    memory_bytes=80 * GIB,
    host=Host(cpu="Example CPU", cores=16, memory_bytes=128 * GIB),
)

CPU = Hardware(device_kind="cpu", device_count=1, process_count=1, host=Host(cores=2))

SOFTWARE = Software(
    python="3.11.9", jax="0.10.2", jaxlib="0.10.2", flax="0.12.8", optax="0.2.8", trainbench="0.1.0"
)

COMPILED = Compile(
    trace_s=2.1,
    lower_s=0.9,
    compile_s=31.0,
    cache="miss",
    xla_flops=6.1e12,
    xla_bytes=1.1e11,
    peak_bytes=60 * GIB,
    program_flops=6.27e12,
    donated=True,
)

TIMING = Timing(
    warmup_steps=20,
    timed_steps=30,
    steps_per_block=10,
    steps_per_call=1,
    block_s=(0.915, 0.917, 0.921),
    warmup_block_s=(1.9, 0.918),
    step_time_s=StepTime(median=0.0917, mean=0.09177, p5=0.0915, p95=0.0921, cv=0.003, ci95=(0.0915, 0.0921)),
    drift_fraction=0.002,
    steady=True,
    steady_reason="the last warm-up blocks agree within 2 %",
    host_dispatch_s=0.0004,
    compilations_in_window=0,
    implicit_transfers_in_window=0,
)

FIGURES = tuple(
    Comparison(
        reference_id=f"resnet50-{name.lower()}",
        accelerator=name,
        value=value,
        ratio=2791 / value,
        like_for_like=name == "H100",
        differences=differences,
        source="https://example.org/table",
        date="2022-10-03",
    )
    for name, value, differences in (
        ("H100", 2750.0, ("framework: published PyTorch, here JAX",)),
        (
            "A100",
            2470.0,
            ("precision: published fp16-amp, here bf16", "data: published real, here synthetic"),
        ),
        ("V100", 1200.0, ("accelerator: published V100, here h100_sxm",)),
        ("TPU v3", 2022.0, ("accelerator",)),
        ("TPU v2", 890.0, ("accelerator",)),
    )
)


def ok_gpu() -> Result:
    """A complete measurement with MFU and five published figures."""
    return Result(
        kind="measured",
        status="ok",
        id="20260102T030405Z-resnet50-1a2b",
        created_utc=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        command="python -m trainbench model=resnet50 precision=bf16",
        config={"model": {"name": "resnet50"}, "batch_size": "auto", "steps": 30},
        autos={"batch_size": Auto(value=256, reason="largest that fits into 79.6 GiB")},
        workload=IMAGES,
        hardware=H100,
        software=SOFTWARE,
        compile=COMPILED,
        timing=TIMING,
        throughput=Throughput(
            samples_per_s=2791.4, samples_per_s_ci95=(2779.0, 2800.0), samples_per_s_per_chip=2791.4
        ),
        utilization=Utilization(mfu=0.0691, hfu=0.0713, model_tflops_per_s_per_chip=68.4),
        memory=Memory(
            peak_bytes_allocator=61 * GIB, peak_bytes_compiled=60 * GIB, limit_bytes=int(79.6 * GIB)
        ),
        input=Input(mode="resident"),
        loss=Loss.from_curve([(0, 6.93), (29, 6.41)]),
        comparisons=FIGURES,
        warnings=("power: this driver reports none",),
    )


def _changed(base: Result, changes: dict[str, object]) -> Result:
    """`base` with top-level fields replaced, and validated again (model_copy would not)."""
    fields = {name: getattr(base, name) for name in type(base).model_fields}
    return Result.model_validate(fields | changes)


def ok_cpu() -> Result:
    """MFU and the allocator's peak are unknown on a CPU; a real data set was learnt."""
    return _changed(
        ok_gpu(),
        {
            "hardware": CPU,
            "utilization": Utilization(),
            "memory": Memory(peak_bytes_compiled=int(1.2 * GIB)),
            "compile": COMPILED.model_copy(update={"cache": "hit"}),
            "input": Input(mode="real", stall_fraction=0.01),
            "evaluation": Evaluation(metric="accuracy", value=0.941, samples=360, split="test"),
            "comparisons": (),
            "warnings": (
                "mfu: no published peak for device kind 'cpu'",
                "memory.limit_bytes: not reported",
            ),
        },
    )


def ok_text() -> Result:
    """Eight devices on four chips, tokens/s."""
    return _changed(
        ok_gpu(),
        {
            "workload": TEXT,
            "hardware": H100.model_copy(
                update={"device_kind": "TPU v3", "device_count": 8, "chip_count": 4, "process_count": 2}
            ),
            "throughput": Throughput(
                samples_per_s=93.44,
                samples_per_s_ci95=(92.5, 94.0),
                samples_per_s_per_chip=23.36,
                tokens_per_s=11960.0,
            ),
            "comparisons": (),
        },
    )


def not_steady() -> Result:
    unsteady = {"steady": False, "steady_reason": "step time fell by 7 % over the window"}
    return _changed(ok_gpu(), {"timing": TIMING.model_copy(update=unsteady)})


def oom() -> Result:
    """The compiler refused: no timing, no throughput."""
    return _changed(
        ok_gpu(),
        {
            "status": "oom",
            "status_reason": "compiling needs 91.2 GiB of 79.6 GiB; try batch_size=128",
            "compile": Compile(trace_s=2.1, lower_s=0.9),
            "timing": None,
            "throughput": None,
            "utilization": None,
            "memory": Memory(limit_bytes=int(79.6 * GIB)),
            "loss": None,
            "comparisons": (),
        },
    )


def interrupted() -> Result:
    """Ctrl-C after two of three blocks."""
    partial = {"timed_steps": 20, "block_s": (0.915, 0.917)}
    return _changed(
        ok_gpu(),
        {
            "status": "interrupted",
            "status_reason": "Ctrl-C after 2 of 3 blocks",
            "timing": TIMING.model_copy(update=partial),
            "throughput": Throughput(samples_per_s=2792.0, samples_per_s_per_chip=2792.0),
            "loss": None,
        },
    )


def interrupted_in_warmup() -> Result:
    nothing = {
        "timed_steps": 0,
        "block_s": (),
        "step_time_s": None,
        "steady": False,
        "steady_reason": "no block",
    }
    return _changed(
        interrupted(),
        {"timing": TIMING.model_copy(update=nothing), "throughput": None, "utilization": None},
    )


def invalid_nan() -> Result:
    return _changed(
        ok_gpu(),
        {
            "status": "invalid",
            "status_reason": "the loss is not finite from step 10 on",
            "loss": Loss.from_curve([(0, 6.93), (10, float("nan")), (29, float("inf"))]),
        },
    )


def failed_early() -> Result:
    """It failed before there was a model."""
    return Result(
        kind="measured",
        status="failed",
        status_reason="ValueError: no such layer",
        id="20260102T030405Z-failed",
        created_utc=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        command="python -m trainbench model=resnet50",
        config={},
    )


ALL = (
    ok_gpu,
    ok_cpu,
    ok_text,
    not_steady,
    oom,
    interrupted,
    interrupted_in_warmup,
    invalid_nan,
    failed_early,
)


def with_rate(samples_per_s: float, interval: tuple[float, float] | None = None) -> Result:
    """`ok_gpu` at another speed, for sweeps."""
    rate = Throughput(samples_per_s=samples_per_s, samples_per_s_ci95=interval)
    return _changed(ok_gpu(), {"throughput": rate})
