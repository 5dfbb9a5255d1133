"""What a race says: JAX's rate over PyTorch's with its interval, and what the two still did differently."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainbench.results.compare_metrics import step_times_s
from trainbench.results.compare_pairs import Pair, Side
from trainbench.results.compare_statistics import FALSE_ALARMS, Difference, of_rounds, of_two_runs
from trainbench.results.outcome import steady
from trainbench.results.record import Result

Verdict = Literal["faster", "slower", "same", "unclear", "broken"]


@dataclass(frozen=True)
class Figures:
    """One side; None where it is not known.

    Attributes:
      rate: samples/s of one chip, the middle of its runs.
      peak_bytes: the most that the allocator saw.
      unsteady: of its runs, how many never came to a steady step time.
    """

    rate: float | None = None
    batch_size: int | None = None
    mfu: float | None = None
    peak_bytes: int | None = None
    broke: str | None = None
    unsteady: int = 0


@dataclass(frozen=True)
class Standing:
    """JAX against PyTorch in one model; `ratio` is JAX's rate over PyTorch's.

    Attributes:
      interval: of the ratio; holds the truth in 99 % of cases over all models of a race together.
      differences: what remains between the two sides, in words.
    """

    model: str
    jax: Figures
    torch: Figures
    ratio: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    sample_unit: str | None = None
    differences: tuple[str, ...] = ()


def standing(model: str, pair: Pair, threshold: float, models: int = 1) -> Standing:
    """How the sides of `pair`, PyTorch and JAX, stand to each other.

    Args:
      threshold: the least difference that counts, as a fraction.
      models: of the race, which share the chance of a false alarm (Bonferroni).
    """
    torch, jax = figures(pair.base), figures(pair.new)
    first = next(iter((*pair.base.results, *pair.new.results)), None)
    unit = first.workload.sample_unit if first and first.workload else None
    found = tuple(differences(pair))
    if torch.rate is None or jax.rate is None or not _same_devices(pair):
        return Standing(model, jax, torch, None, None, "broken", unit, found)
    ratio, difference = jax.rate / torch.rate, _difference(pair)
    interval = None
    if difference is not None:
        ratio = math.exp(difference.log_ratio)
        low, high = difference.interval(FALSE_ALARMS / max(1, models))
        interval = math.exp(low), math.exp(high)
    verdict = judge(ratio, interval, threshold)
    return Standing(model, jax, torch, ratio, interval, verdict, unit, found)


def judge(ratio: float, interval: tuple[float, float] | None, threshold: float) -> Verdict:
    """What a ratio and its interval show; a difference below the threshold does not count.

    >>> [judge(1.2, (1.1, 1.3), 0.02), judge(1.0, (0.99, 1.01), 0.02), judge(1.2, (0.9, 1.6), 0.02)]
    ['faster', 'same', 'unclear']
    """
    if interval is None:
        return "unclear"
    low, high = interval
    if low > 1 and ratio > 1 + threshold:
        return "faster"
    if high < 1 and ratio < 1 / (1 + threshold):
        return "slower"
    return "same" if low > 1 / (1 + threshold) and high < 1 + threshold else "unclear"


def figures(side: Side) -> Figures:
    """What the runs of one side say."""
    measured = side.measured
    broken = [result for result in side.results if result not in measured]
    why = f"{broken[0].status}: {broken[0].status_reason}" if broken else next(iter(side.lost), None)
    if not measured:
        return Figures(broke=why or "no run")
    last = measured[-1]
    peaks = [one.memory.peak_bytes_allocator for one in measured if one.memory]
    used = [one.utilization.mfu for one in measured if one.utilization and one.utilization.mfu is not None]
    return Figures(
        rate=statistics.median(_rates(measured)),
        batch_size=last.workload.batch_size if last.workload else None,
        mfu=statistics.median(used) if used else None,
        peak_bytes=max((peak for peak in peaks if peak is not None), default=None),
        broke=why,
        unsteady=sum(not steady(one) for one in measured),
    )


def _same_devices(pair: Pair) -> bool:
    """Whether both sides ran on as many devices of one kind: a GPU against a CPU is no race of programs."""
    used = {_devices(result) for side in (pair.base, pair.new) for result in side.measured}
    return len(used) == 1


def _devices(result: Result) -> str:
    hardware = result.hardware
    return f"{hardware.device_count} x {hardware.chip or hardware.device_kind}" if hardware else "unknown"


def _rates(results: Sequence[Result]) -> list[float]:
    return [one.throughput.samples_per_s for one in results if one.throughput]


def _difference(pair: Pair) -> Difference | None:
    """Of samples/s, JAX's over PyTorch's: by rounds, or by the blocks of one run each."""
    torch, jax = _rates(pair.base.measured), _rates(pair.new.measured)
    if len(torch) == len(jax) > 1:
        return of_rounds(torch, jax)
    if len(torch) == len(jax) == 1:
        # Times per sample: the sides may have batches of their own.
        return of_two_runs(*(_seconds_per_sample(side.measured[0]) for side in (pair.new, pair.base)))
    return None


def _seconds_per_sample(result: Result) -> list[float]:
    assert result.workload is not None
    return [time / result.workload.global_batch_size for time in step_times_s(result)]


def differences(pair: Pair) -> Iterator[str]:
    """What the two sides did differently, as far as their records say."""
    torch, jax = (next(iter(side.results), None) for side in (pair.base, pair.new))
    if torch is None or jax is None:
        return
    yield from _of_the_work(jax, torch)
    yield from _of_the_programs(jax, torch)
    yield from _of_the_model(jax, torch)


def _of_the_work(jax: Result, torch: Result) -> Iterator[str]:
    ours, theirs = jax.workload, torch.workload
    if ours is None or theirs is None:
        return
    if _devices(jax) != _devices(torch):
        yield f"DEVICES: {_devices(jax)} in JAX, {_devices(torch)} in PyTorch, so nothing is compared"
    if ours.parameters != theirs.parameters:
        yield f"PARAMETERS: {ours.parameters:,} in JAX, {theirs.parameters:,} in PyTorch"
    if ours.batch_size != theirs.batch_size:
        yield f"batch: {ours.batch_size} in JAX, {theirs.batch_size} in PyTorch, each side's own"
    if ours.precision != theirs.precision:
        yield f"precision: {ours.precision} in JAX, {theirs.precision} in PyTorch"
    elif ours.precision == "bf16":
        yield "bf16: all but statistics, softmax and loss · the operations that torch.autocast lists"
        if not ours.model.startswith("resnet"):
            yield "residual stream: bfloat16 · float32, as torch.autocast leaves it (not with bf16_full)"
    yield "initial values: each library's own; they move no speed"


def _of_the_programs(jax: Result, torch: Result) -> Iterator[str]:
    framework, software = torch.framework, jax.software
    if framework is None or software is None:
        return
    cuda = f", CUDA {framework.cuda}, cuDNN {framework.cudnn}" if framework.cuda else ""
    yield f"compiler: XLA of jaxlib {software.jaxlib} · torch {framework.version}{cuda}, {framework.compile}"
    yield f"model: trainbench's (Flax NNX) · {framework.models}"
    plain = {key: lever.value for key, lever in jax.levers.items()}
    if plain:
        yield "levers in JAX: " + ", ".join(f"{key}={value}" for key, value in plain.items())
    if framework.attention is not None:
        # A recorded CUDA graph and compiled operations have no names that the profiler could see.
        ran = framework.attention_ran or (
            "plain operations" if framework.attention == "eager" else "not seen"
        )
        yield f"attention: in JAX as its levers say · in PyTorch {framework.attention}: {ran}"
    fused = "fused" if framework.fused_optimizer else "one kernel a tensor"
    yield f"optimizer: inside the compiled step · {fused}, beside the compiled forward and backward pass"
    if framework.cuda is None:
        cores = jax.hardware.host.cores if jax.hardware else None
        yield f"CPU threads: XLA takes all {cores} cores of the process · PyTorch {framework.threads}"


def _of_the_model(jax: Result, torch: Result) -> Iterator[str]:
    name = jax.workload.model if jax.workload else ""
    if name.startswith("resnet"):
        place = "last" if torch.framework and torch.framework.channels_last else "first"
        yield f"layout: channels last · channels {place}; BatchNorm: by its lever · PyTorch's"
    if name.startswith("vit"):
        yield "last norm: of the class token alone · of all tokens; patches: a product · a convolution"
    model: Any = jax.config.get("model")
    drops = isinstance(model, dict) and model.get("architecture", {}).get("dropout_rate")
    if drops and jax.software is not None:
        yield f"dropout: {jax.software.prng or 'threefry2x32'} · PyTorch's Philox (CPU: Mersenne twister)"
    if name.startswith(("gpt2", "gpt3")):
        yield "query, key and value: three products · one"
