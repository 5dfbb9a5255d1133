"""The result record: what one run says, as typed and immutable data (DESIGN.md, "The result record").

This file is the one truth: the JSON Schema beside it is generated from these classes, and a test keeps the
two equal. Regenerate it after a change here with

    python -m trainbench.results.record > trainbench/results/result.schema.json

Unknown is None, never 0, and its reason stands in `Result.warnings` as "<field>: <reason>". Units are in the
names; what is per device, per chip or global is said in the description.

Schema history (`results/migrate.py` takes older files along):
  1 first version.
  2 trace; and, in later files of version 1 already: gradient_accumulation, reproduction, and a comparison's
    per_watt, per_dollar and basis.
  3 forecast; and, in later files of version 3 already: memory's largest_batch_size.
  4 parallel, processes, communication, checkpoint and segments.
  5 levers and framework.
"""

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, model_validator

SCHEMA_VERSION: Final = 5


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    """The interval itself; ValueError when its ends are swapped."""
    low, high = interval
    if low > high:
        raise ValueError(f"the lower end {low} is above the upper end {high}")
    return interval


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]
# What other programs keep in 64 bits: a larger count is damage.
_MOST: Final = 2**63 - 1
Count = Annotated[int, Field(ge=0, le=_MOST)]
Bytes = Annotated[int, Field(ge=0, le=_MOST)]
Seconds = Annotated[float, Field(ge=0)]
Quantity = Annotated[float, Field(ge=0)]


def _finite(value: JsonValue) -> JsonValue:
    """The value itself; ValueError when it holds NaN or infinity, which 1e999 in a file becomes."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _finite(one)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    return value


FreeForm = Annotated[JsonValue, AfterValidator(_finite)]


class Section(BaseModel):
    """Frozen, without unknown fields, without NaN and infinity (JSON has neither)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),  # pydantic 2.9 warns of every name that begins with model_
        json_schema_serialization_defaults_required=True,
    )


class Auto(Section):
    """A value that the program chose, and why."""

    value: FreeForm
    reason: str


class Workload(Section):
    """What was trained."""

    model: str
    task: str = Field(description="for example image classification or masked language modelling")
    sample_unit: str = Field(description='what one sample is: "image" or "sequence"')
    parameters: Count = Field(description="trained scalars of the model")
    batch_size: Count = Field(description="samples per device and optimizer step")
    global_batch_size: Count = Field(description="samples per optimizer step over all devices")
    gradient_accumulation: Annotated[int, Field(ge=1, le=_MOST)] = Field(
        default=1, description="micro-batches per optimizer step; batch_size counts all of them"
    )
    image_size: Count | None = Field(default=None, description="side of the square image, in pixels")
    sequence_length: Count | None = Field(default=None, description="tokens per sequence")
    flops_per_sample: Quantity | None = Field(
        default=None,
        description="analytic, forward and backward; 2 per multiply-add, backward = 2 x forward",
    )
    precision: str
    optimizer: str
    data: str = Field(description="data set, or synthetic")


class Host(Section):
    """The machine that the devices of process 0 are in."""

    cpu: str | None = None
    cores: Count | None = Field(default=None, description="cores that this process may use")
    memory_bytes: Bytes | None = None


class Hardware(Section):
    """The accelerators, over all processes."""

    device_kind: str = Field(description="as JAX names it")
    chip: str | None = Field(default=None, description="name in chips.yaml; None when the kind is not in it")
    device_count: Count = Field(description="JAX devices over all processes")
    chip_count: Count | None = Field(
        default=None, description="over all processes; TPU v2 and v3: 2 devices a chip"
    )
    process_count: Count
    peak_tflops: Quantity | None = Field(
        default=None, description="published dense TFLOP/s of one chip in the dtype that ran"
    )
    memory_bytes: Bytes | None = Field(default=None, description="published memory of one chip")
    host: Host = Host()


class Software(Section):
    """Versions and settings that move the result."""

    python: str
    jax: str
    jaxlib: str
    flax: str
    optax: str
    libtpu: str | None = None
    trainbench: str
    git_commit: str | None = Field(
        default=None, description="of the trainbench checkout; -dirty with uncommitted changes"
    )
    xla_flags: str | None = None
    prng: str | None = Field(default=None, description="random bit generator of dropout, by JAX's name")
    driver: str | None = Field(default=None, description="accelerator driver")


class Compile(Section):
    """How the training step came to be; fields after the stage that failed are None."""

    trace_s: Seconds | None = None
    lower_s: Seconds | None = None
    compile_s: Seconds | None = None
    cache: Literal["hit", "miss", "off"] | None = Field(default=None, description="persistent, on disk")
    xla_flops: Quantity | None = Field(
        default=None,
        description="XLA's count per device and call; loop bodies count once, custom calls not at all",
    )
    xla_bytes: Quantity | None = Field(default=None, description="XLA's bytes accessed per device and call")
    peak_bytes: Bytes | None = Field(default=None, description="the compiler's peak memory per device")
    program_flops: Quantity | None = Field(
        default=None, description="dot and conv FLOPs of one global training step, from a walk over its jaxpr"
    )
    donated: bool | None = Field(default=None, description="the state's buffers hold its successor")

    @property
    def fresh_s(self) -> float | None:
        """Seconds to trace, lower and compile; None from the cache, which says nothing of the compiler."""
        if self.compile_s is None or self.cache == "hit":
            return None
        return (self.trace_s or 0) + (self.lower_s or 0) + self.compile_s


class StepTime(Section):
    """Seconds per optimizer step over the timed blocks."""

    median: Seconds
    mean: Seconds
    p5: Seconds | None = None
    p95: Seconds | None = None
    cv: Quantity | None = Field(default=None, description="standard deviation / mean")
    ci95: Interval | None = Field(default=None, description="of the median, autocorrelation allowed for")


class Timing(Section):
    """The timed window; an interrupted run has the blocks that were complete."""

    warmup_steps: Count
    timed_steps: Count
    steps_per_block: Count = Field(description="optimizer steps between two fences")
    steps_per_call: Count = Field(description="optimizer steps in one device call")
    block_s: tuple[Seconds, ...] = Field(description="seconds of each timed block, in order, none dropped")
    warmup_block_s: tuple[Seconds, ...] = Field(description="seconds of each warm-up block, in order")
    step_time_s: StepTime | None = Field(default=None, description="None when no timed block was completed")
    outlier_blocks: tuple[Count, ...] = Field(default=(), description="indices into block_s; never dropped")
    drift_fraction: float | None = Field(
        default=None, description="trend over the window / median; > 0 slows"
    )
    autocorrelation: float | None = Field(default=None, description="lag 1, between blocks")
    effective_blocks: Quantity | None = Field(default=None, description="independent blocks worth as much")
    steady: bool
    steady_reason: str = Field(description="the criterion that was met, or how it was missed")
    host_dispatch_s: Seconds | None = Field(default=None, description="host seconds to issue one step")
    compilations_in_window: Count
    implicit_transfers_in_window: Count


class Throughput(Section):
    """Samples trained per second."""

    samples_per_s: Quantity = Field(description="over all devices")
    samples_per_s_ci95: Interval | None = Field(default=None, description="over all devices")
    samples_per_s_per_chip: Quantity | None = None
    tokens_per_s: Quantity | None = Field(
        default=None, description="text only; over all devices, as fed, with padding"
    )
    useful_tokens_per_s: Quantity | None = Field(default=None, description="the same without padding")


class Utilization(Section):
    """Share of the published dense peak of the dtype that ran."""

    mfu: Quantity | None = Field(default=None, description="analytic FLOPs per second / peak, as a fraction")
    hfu: Quantity | None = Field(default=None, description="program_flops per second / peak, as a fraction")
    model_tflops_per_s_per_chip: Quantity | None = Field(default=None, description="analytic")


class Memory(Section):
    """Memory of the fullest device."""

    peak_bytes_allocator: Bytes | None = Field(default=None, description="highest use that the allocator saw")
    peak_bytes_compiled: Bytes | None = Field(
        default=None, description="the compiler's, for the training step"
    )
    limit_bytes: Bytes | None = Field(default=None, description="what the allocator may hand out")
    largest_batch_size: Count | None = Field(
        default=None,
        description="of a forecast step that does not fit: samples per device that would, to within 1/16",
    )


class Power(Section):
    """Electrical power over the timed window; of a forecast, what the chips are rated at."""

    mean_w: Quantity | None = Field(default=None, description="over all devices")
    joules_per_sample: Quantity | None = None
    source: str | None = None


class Cost(Section):
    """Price of training at this speed."""

    usd_per_million_samples: Quantity | None = None
    price_source: str | None = None


class Rate(Section):
    """Samples per second over all devices, by one of several measurements."""

    samples_per_s: Quantity
    samples_per_s_ci95: Interval | None = None
    steady: bool


class Input(Section):
    """How batches reached the device, and what that costs."""

    mode: Literal["resident", "host", "real", "all"]
    stall_fraction: Quantity | None = Field(
        default=None, description="share of a step for which input is to blame: 1 - (resident step / step)"
    )
    stall_fraction_bounds: Interval | None = Field(
        default=None, description="by the ends of the rates' intervals; below 0 where the fed step was faster"
    )
    rates: dict[Literal["resident", "host", "real"], Rate] = Field(
        default_factory=dict, description="training by way of feeding, as far as measured"
    )
    resident_change: float | None = Field(
        default=None, description="share by which the resident step took longer after the others than before"
    )
    loader: Rate | None = Field(default=None, description="the input pipeline alone, with no model")
    capacity_over_demand: Quantity | None = Field(
        default=None, description="what the loader gives / what the step takes with resident input"
    )
    verdict: Literal["compute-bound", "input-bound", "contended"] | None = None
    verdict_reason: str | None = None
    padding_fraction: Quantity | None = Field(default=None, description="of the tokens that were fed")
    bad_records: dict[str, str] = Field(
        default_factory=dict, description="records that were left out, with why"
    )


class Loss(Section):
    """Training loss; a loss that is not finite is None here, and `finite` is False."""

    first: float | None = None
    last: float | None = None
    finite: bool = Field(description="whether every loss that was fetched was finite")
    curve: tuple[tuple[Count, float | None], ...] = Field(default=(), description="[step, loss] pairs")

    @classmethod
    def from_curve(cls, curve: Sequence[tuple[int, float]]) -> Self:
        """The section for fetched (step, loss) pairs, NaN and infinity allowed."""
        points = [(step, float(loss) if math.isfinite(loss) else None) for step, loss in curve]
        return cls(
            first=points[0][1] if points else None,
            last=points[-1][1] if points else None,
            finite=all(loss is not None for _, loss in points),
            curve=tuple(points),
        )


class Evaluation(Section):
    """What the trained model does on data it has not seen."""

    metric: Literal["accuracy", "masked_accuracy"]
    value: float = Field(ge=0, le=1, description="fraction of the predictions that are right")
    loss: float | None = Field(default=None, description="mean cross-entropy of the predictions, nats")
    samples: Count = Field(description="predictions: images, tokens, or masked tokens")
    split: str


class Comparison(Section):
    """One published figure beside this run, per chip."""

    reference_id: str
    accelerator: str
    value: Quantity = Field(description="published samples per second and chip")
    ratio: Quantity | None = Field(
        default=None, description="samples/s per chip of this run (a CPU counts as one) / value"
    )
    like_for_like: bool = Field(description="no material difference")
    differences: tuple[str, ...] = ()
    source: str | None = Field(default=None, description="where the figure is printed")
    date: str | None = None
    per_watt: Quantity | None = Field(
        default=None, description="samples per joule here / there, by the rated power of the chips"
    )
    per_dollar: Quantity | None = Field(default=None, description="samples per dollar here / there")
    basis: str | None = Field(
        default=None, description="powers and prices behind per_watt and per_dollar, with source and date"
    )


ReproductionVerdict = Literal[
    "reproduced", "not reproduced", "other conditions", "another machine", "not judged"
]


class Reproduction(Section):
    """The answer to `reproduce=ID`: the published figure and this run, per chip."""

    reference_id: str
    accelerator: str
    value: Quantity = Field(description="published samples per second and chip")
    measured: Quantity | None = Field(default=None, description="samples/s per chip of this run")
    deviation: float | None = Field(default=None, description="measured / value - 1")
    verdict: ReproductionVerdict
    verdict_reason: str
    differences: tuple[str, ...] = Field(default=(), description="what remains, the material ones first")
    source: str
    date: str | None = None


class Operation(Section):
    """One operation of a trace, over all its occurrences."""

    name: str = Field(description="as the compiler calls it")
    category: str | None = Field(default=None, description="what kind of operation the compiler made of it")
    origin: str | None = Field(default=None, description="where in the program it comes from, as JAX says it")
    self_time_s: Seconds = Field(description="per step and device, without operations inside it")
    share: float = Field(ge=0, le=1, description="of the self times of all operations that were recorded")
    occurrences: Quantity = Field(description="per step and device")


class Trace(Section):
    """What JAX's profiler saw of some steps, run after everything that was timed."""

    steps: Count
    wall_s: Seconds = Field(description="of all traced steps, from the first call to the fence")
    device_busy_fraction: float | None = Field(
        default=None, ge=0, le=1, description="time with an operation running / wall_s, mean over devices"
    )
    operations: tuple[Operation, ...] = Field(default=(), description="the longest ones, longest first")
    source: str | None = Field(default=None, description="what the operations were read with")
    path: str = Field(description="directory for `xprof --logdir`, from where the result file is")
    size_bytes: Bytes = Field(description="of the files in it")


class ForecastPart(Section):
    """What one limit, or one place of the program, takes of a forecast step."""

    name: str
    seconds: Seconds = Field(description="per optimizer step and device, by the compiler's estimate")
    share: float = Field(ge=0, le=1, description="of the estimated step")


class Beside(Section):
    """A forecast beside a run of the same configuration on the real chip."""

    result_id: str = Field(description="of the run")
    samples_per_s: Quantity = Field(description="measured, over all devices")
    error: float = Field(description="expected / measured - 1; of the bound where nothing is expected")
    differences: tuple[str, ...] = Field(default=(), description="in what the two are not alike")


class Forecast(Section):
    """How fast a training step that nobody ran would be; no rates where it doesn't fit.

    `throughput` holds the expected rate and its interval, where there is a calibration for the basis.
    """

    target: str = Field(description="as the user names the slice")
    explanation: str = Field(description="the target in chips and devices")
    topology: str = Field(description="the target as its compiler names it")
    devices_per_chip: Annotated[int, Field(ge=1, le=_MOST)] = Field(
        description="JAX devices that a chip shows"
    )
    basis: Literal["compiled program", "traced program"] = Field(
        description="compiled by the target's compiler; or traced only, which gives a bound and no more"
    )
    calibration: str | None = Field(
        default=None,
        description="which published figures the expected rate rests on, and how well it met them",
    )
    bound_samples_per_s: Quantity | None = Field(
        default=None, description="over all devices; FLOPs and bytes at published rates alone"
    )
    compiler_samples_per_s: Quantity | None = Field(
        default=None, description="over all devices; by the compiler's own estimates, before calibration"
    )
    unestimated_fraction: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the forecast step that rests on FLOPs and bytes alone",
    )
    limits: tuple[ForecastPart, ...] = Field(default=(), description="what bounds the step, longest first")
    operations: tuple[ForecastPart, ...] = Field(default=(), description="the longest places, longest first")
    unknown: tuple[str, ...] = Field(
        default=(), description="what could not be told: the step takes longer by that"
    )
    beside: Beside | None = Field(
        default=None, description="a run of the same configuration on the real chip"
    )


AtLeastOne = Annotated[int, Field(ge=1, le=_MOST)]


class Parallel(Section):
    """How state, layers and batch were split over the devices of a mesh."""

    data: AtLeastOne = Field(description="groups of devices that each hold the whole state")
    fsdp: AtLeastOne = Field(description="devices of a group over which the state is split")
    tensor: AtLeastOne = Field(description="devices over which each layer is split; they share samples")
    batch_norm: Literal["per_replica", "synchronised"] | None = Field(
        default=None, description="what batch statistics are over; None: there are none, or one replica"
    )
    remat: str = Field(default="none", description="what the backward pass computes again")
    state_bytes_per_device: Bytes | None = Field(
        default=None, description="parameters, optimizer state and statistics on the fullest device"
    )
    unsplit: tuple[str, ...] = Field(
        default=(), description="parameters that should have been split and were not, each with why"
    )


class Process(Section):
    """One process of a run, by its own clock."""

    index: Count
    host: str
    devices: Count = Field(description="of this process")
    step_time_s: Seconds | None = Field(default=None, description="median; of a step that all take together")
    host_dispatch_s: Seconds | None = Field(default=None, description="median host seconds to issue one step")
    input_wait_s: Seconds | None = Field(
        default=None, description="mean seconds a step that the loop waited for a batch"
    )


class Collective(Section):
    """Collective operations of one kind and one group size in the compiled step."""

    kind: str = Field(description="as HLO names it, for example all-reduce")
    group_size: AtLeastOne = Field(description="devices that take part in one of them")
    count: Quantity = Field(description="per optimizer step")
    bytes: Quantity = Field(
        description="that each device sends per optimizer step, by a ring: of an all-reduce 2(n-1)/n of its "
        "result, of an all-gather (n-1)/n of its result, of a reduce-scatter (n-1)/n of its operand"
    )


class Communication(Section):
    """What the devices say to each other in one optimizer step."""

    collectives: tuple[Collective, ...] = Field(default=(), description="in the compiled program")
    bytes_per_step: Quantity = Field(description="sent by each device per optimizer step")
    expected_bytes_per_step: Quantity | None = Field(
        default=None,
        description="by theory, from the sizes of the parameters alone; None: no theory is known",
    )
    time_fraction: float | None = Field(
        default=None, ge=0, le=1, description="of a traced step, with nothing else running; trace=true only"
    )


class Checkpoint(Section):
    """What saving the training state costs; medians over the saves."""

    every: AtLeastOne = Field(description="timed optimizer steps between two saves")
    directory: str
    saves: Count
    size_bytes: Bytes | None = Field(default=None, description="of the saved state, over all devices")
    save_s: Seconds | None = Field(default=None, description="from its start until it is on the disk")
    blocking_s: Seconds | None = Field(default=None, description="of these, the training waited")
    bytes_per_s: Quantity | None = Field(default=None, description="size_bytes / save_s")
    step_time_while_saving_s: Seconds | None = Field(
        default=None, description="median of steps beside an asynchronous save"
    )
    slowdown: Quantity | None = Field(
        default=None, description="step time beside a save / step time without one"
    )
    timed: bool = Field(description="whether saves count in the timed window")
    restored_step: Count | None = Field(default=None, description="optimizer step that the run went on from")
    restore_s: Seconds | None = None


class Segment(Section):
    """One process, or group of processes, that ran a part of the timed window."""

    started_utc: AwareDatetime
    first_step: Count = Field(description="optimizer steps that were done before, warm-up included")
    blocks: Count = Field(description="timed blocks that it gave to the result")
    ended: Literal["ok", "interrupted", "failed", "killed"]
    device_count: Count
    process_count: Count


class Framework(Section):
    """What ran the training step where that was not JAX."""

    name: Literal["torch"]
    version: str
    models: str = Field(description="whose architectures, with version")
    cuda: str | None = Field(default=None, description="version that it was built with; None on a CPU")
    cudnn: str | None = Field(default=None, description="version; None on a CPU")
    compile: str = Field(description="eager, inductor (torch.compile's default), or another of its modes")
    channels_last: bool = Field(description="images and kernels of convolutions, in memory")
    attention: str | None = Field(default=None, description="sdpa or eager; None: the model has none")
    attention_ran: str | None = Field(
        default=None, description="kernels of scaled_dot_product_attention in one step, by the profiler"
    )
    threads: Count = Field(description="of the CPU, within an operation")
    fused_optimizer: bool


class Lever(Section):
    """One choice of how the step was computed, of those that the model and its optimizer have."""

    value: FreeForm = Field(description="that ran")
    reason: str | None = Field(default=None, description="why, where the program chose it")
    proof: str | None = Field(
        default=None,
        description="what shows it in the compiled step; None: it is the plain way, or nothing ran",
    )


class Result(Section):
    """One run. Sections that never came to exist are None."""

    schema_version: Literal[5] = SCHEMA_VERSION
    kind: Literal["measured", "forecast", "probe"]
    status: Literal["ok", "oom", "interrupted", "failed", "invalid"]
    status_reason: str | None = Field(default=None, description="why it is not ok")
    id: str = Field(description="unique name of the run")
    created_utc: AwareDatetime = Field(description="start of the run, ISO 8601")
    command: str = Field(description="the command line, quoted for a shell")
    config: dict[str, FreeForm] = Field(description="the composed configuration, before autos are resolved")
    autos: dict[str, Auto] = Field(default_factory=dict, description="values chosen by the program, by key")
    workload: Workload | None = None
    hardware: Hardware | None = None
    software: Software | None = None
    compile: Compile | None = None
    timing: Timing | None = None
    throughput: Throughput | None = None
    utilization: Utilization | None = None
    memory: Memory | None = None
    power: Power | None = None
    cost: Cost | None = None
    input: Input | None = None
    loss: Loss | None = None
    evaluation: Evaluation | None = None
    comparisons: tuple[Comparison, ...] = Field(default=(), description="nearest first")
    reproduction: Reproduction | None = Field(default=None, description="with reproduce=ID only")
    trace: Trace | None = Field(default=None, description="with trace=true only")
    forecast: Forecast | None = Field(default=None, description="of kind forecast only")
    parallel: Parallel | None = Field(default=None, description="of more than one device, or with remat")
    processes: tuple[Process, ...] = Field(default=(), description="with several processes only")
    levers: dict[str, Lever] = Field(
        default_factory=dict, description="ways of computing the same step, by configuration key"
    )
    communication: Communication | None = Field(default=None, description="with several devices only")
    checkpoint: Checkpoint | None = Field(default=None, description="with checkpoint.every=N only")
    framework: Framework | None = Field(default=None, description="None: JAX")
    segments: tuple[Segment, ...] = Field(
        default=(), description="with checkpoint.every=N only: what the timed window is made of, in order"
    )
    warnings: tuple[str, ...] = Field(default=(), description='"<field>: <reason>" for each unknown field')

    @model_validator(mode="after")
    def _keeps_its_promises(self) -> Self:
        """The record itself; ValueError when its status claims more than its sections hold."""
        if self.status != "ok":
            if not self.status_reason:
                raise ValueError(f"status {self.status!r} needs a status_reason")
            return self
        needed = ("workload", "hardware", "timing", "throughput") if self.kind == "measured" else ()
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"an ok measurement needs {', '.join(missing)}")
        if self.utilization and self.utilization.mfu is not None and self.utilization.mfu > 1:
            raise ValueError(f"MFU {self.utilization.mfu} is above the chip's peak: status must be 'invalid'")
        return self

    def reason(self, field: str) -> str | None:
        """Why `field` is unknown, from the warnings; None when none says so."""
        prefix = f"{field}:"
        found = (line for line in self.warnings if line.startswith(prefix))
        return next((line.removeprefix(prefix).strip() for line in found), None)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a result file; every field is required, as files are complete."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | Result.model_json_schema(mode="serialization")


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
