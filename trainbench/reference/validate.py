"""What a figure must not be: at odds with itself, with its chip, or with physics.

`faults` names everything that is wrong with one figure. FLOPs per sample come from outside, since counting
them takes the models.
"""

import math
import re
from collections.abc import Callable, Iterator
from datetime import date

from trainbench.hardware import chips
from trainbench.reference import vocabulary
from trainbench.reference.figure import Figure

# FLOPs of one training sample of a figure, 2 per multiply-add; None where they cannot be counted.
FlopsPerSample = Callable[[Figure], float | None]

# value_per_chip is printed with five significant digits.
_PER_CHIP_TOLERANCE = 1e-3
# Slice names of these TPU generations count TensorCores, two a chip (cloud.google.com/tpu/docs/v4, v5p);
# those of v5e and v6e count chips.
_TENSORCORE_SLICE = re.compile(r"\bv(?:2|3|4|5p)-(\d+)\b")
_MEMORY = re.compile(r"(\d+)\s?gb", re.IGNORECASE)
_FORM_FACTORS = ("sxm", "pcie", "nvl")
# Parameters in a model's name ("Llama 3.1 70B"), but not a mixture's ("8x7B"); a range has two ("2B-462B").
_PARAMETERS = re.compile(r"(?:^|[\s-])(\d+(?:\.\d+)?)\s?([mMbB])\b")
_MIXTURES = ("DeepSeek", "Mixtral")
_TEXT_FINETUNING = (
    *(vocabulary.QUESTION_ANSWERING, vocabulary.TEXT_CLASSIFICATION, vocabulary.OTHER_FINETUNING),
)
# Family of models here -> what its models are trained on, and the size that they do not have.
_IMAGES = (vocabulary.IMAGE_CLASSIFICATION, vocabulary.IMAGE_FINETUNING)
_FAMILIES = {
    "resnet": (_IMAGES, "sequence_length"),
    "vit": (_IMAGES, "sequence_length"),
    "bert": ((vocabulary.MASKED_LANGUAGE_MODEL, *_TEXT_FINETUNING), "image_size"),
    **dict.fromkeys(
        ("gpt2", "gpt3", "llama", "maxtext"),
        ((vocabulary.CAUSAL_LANGUAGE_MODEL, *_TEXT_FINETUNING), "image_size"),
    ),
    "t5": ((vocabulary.SPAN_CORRUPTION, *_TEXT_FINETUNING), "image_size"),
}


def faults(
    figure: Figure, flops_per_sample: FlopsPerSample | None = None, today: date | None = None
) -> tuple[str, ...]:
    """Everything that is wrong with a figure, in words; empty for a sound one.

    Args:
      flops_per_sample: what counts a figure's FLOPs; without it, a rate of samples is not held against the
        chip's peak, except for decoders whose name tells their size.
      today: no figure is later; None: as the machine's clock has it.
    """
    return (
        *_workload_faults(figure),
        *_date_faults(figure, today or date.today()),
        *_counting_faults(figure),
        *_chip_faults(figure),
        *_rate_faults(figure, flops_per_sample),
    )


def per_chip(metric: str, value: float, num_chips: int | None, num_devices: int | None) -> float | None:
    """The part of a value that falls to one chip; None for a time, or without the number of chips.

    >>> per_chip("images/sec", 8000.0, 4, 8)
    2000.0
    >>> per_chip("samples/sec/device", 1000.0, 4, 8)  # a device is half a chip
    2000.0
    """
    counts = vocabulary.METRICS[metric]
    if counts == vocabulary.SHARE:
        return value
    if counts == vocabulary.TIME or num_chips is None:
        return None
    return value / num_chips if counts == vocabulary.TOTAL else value * (num_devices or num_chips) / num_chips


def memory_gb(text: str) -> str | None:
    """The memory size in the name of a board or a chip: "80" of "PCIe 80GB"."""
    match = _MEMORY.search(text)
    return match.group(1) if match else None


def form_factors(text: str) -> frozenset[str]:
    """The forms in the name of a board or a chip: {"sxm"} of "SXM4 40GB"."""
    return frozenset(form for form in _FORM_FACTORS if form in text.lower())


def _workload_faults(figure: Figure) -> Iterator[str]:
    """A model of ours has only the tasks and the kind of size that its family has."""
    for family, (tasks, other_size) in _FAMILIES.items():
        if figure.model is None or not figure.model.startswith(family):
            continue
        if figure.task not in tasks:
            yield f"task: {figure.model} is not trained on {figure.task}, but on {', '.join(tasks)}"
        if getattr(figure, other_size) is not None:
            yield f"{other_size}: {figure.model} has none"


def _date_faults(figure: Figure, today: date) -> Iterator[str]:
    if figure.date is not None and date.fromisoformat(figure.date) > today:
        yield f"date: {figure.date} is still to come (today is {today.isoformat()})"


def _counting_faults(figure: Figure) -> Iterator[str]:
    slice_name = _TENSORCORE_SLICE.search(figure.board)
    in_slice = int(slice_name.group(1)) // 2 if slice_name else None
    if in_slice is not None and figure.num_chips not in (None, in_slice):
        yield f"num_chips: {figure.board} has {in_slice}, not {figure.num_chips}"
    expected = per_chip(figure.metric, figure.value, figure.num_chips, figure.num_devices)
    if expected is not None and not (
        figure.value_per_chip is not None
        and math.isclose(figure.value_per_chip, expected, rel_tol=_PER_CHIP_TOLERANCE)
    ):
        yield f"value_per_chip: {figure.value_per_chip} is not {expected:.5g}"
    if figure.num_devices and figure.num_chips and figure.num_devices not in _device_counts(figure):
        yield f"num_devices: {figure.num_devices} on {figure.num_chips} chips of {figure.accelerator}"


def _device_counts(figure: Figure) -> set[int]:
    """The devices that a source may count on the chips: as many, or one for each TensorCore or die."""
    per_chip_counts = {1}
    for chip in _possible_chips(figure):
        per_chip_counts |= {chip.tensorcores_per_chip or 1, chip.jax_devices_per_chip}
    return {count * (figure.num_chips or 0) for count in per_chip_counts}


def _chip_faults(figure: Figure) -> Iterator[str]:
    if figure.chip is None:
        return
    family = vocabulary.ACCELERATOR_OF_CHIP[figure.chip]
    if family != figure.accelerator:
        yield f"chip: {figure.chip} is {family}, not {figure.accelerator}"
    for published, named in (
        (memory_gb(figure.board), memory_gb(figure.chip)),
        (form_factors(figure.board), form_factors(figure.chip)),
    ):
        if published and named and published != named:
            yield f"chip: {figure.chip} is no {figure.board}"


def _rate_faults(figure: Figure, flops_per_sample: FlopsPerSample | None) -> Iterator[str]:
    if figure.metric == vocabulary.MFU and figure.value > 100:
        yield f"value: an MFU of {figure.value:g} % is above the peak"
    peak = peak_tflops(figure)
    achieved = achieved_tflops(figure, flops_per_sample)
    if peak is not None and achieved is not None and achieved > peak:
        yield (
            f"value: {figure.value:g} {figure.metric} means {achieved:.4g} TFLOP/s per chip, above the "
            f"{peak:g} that {_whose_peak(figure)} can do in "
            f"{figure.precision or 'any floating-point format'}: check num_chips, metric, precision, padding"
        )


def peak_tflops(figure: Figure) -> float | None:
    """The most dense TFLOP/s (TOP/s for int8) of the figure's chip; None where chips.yaml has none.

    Where the source leaves open which board of a family or which precision it was, or chips.yaml lacks the
    precision, the highest floating-point rate counts; for an accelerator that chips.yaml lacks, the highest
    of any chip.
    """
    dtype = vocabulary.PEAK_DTYPES.get(figure.precision or "")
    peaks = [_peak_of(chip, dtype) for chip in _possible_chips(figure) or chips.load()]
    return max((peak for peak in peaks if peak is not None), default=None)


def _whose_peak(figure: Figure) -> str:
    return figure.chip or (figure.accelerator if _possible_chips(figure) else "any chip that is known")


def _peak_of(chip: chips.Chip, dtype: str | None) -> float | None:
    if dtype is not None and chip.peak_tflops[dtype] is not None:
        return chip.peak_tflops[dtype]
    floating = (rate for name, rate in chip.peak_tflops.items() if name != "int8" and rate is not None)
    return max(floating, default=None)


def achieved_tflops(figure: Figure, flops_per_sample: FlopsPerSample | None = None) -> float | None:
    """TFLOP/s per chip that the figure amounts to; None where that cannot be told.

    Not for rows that are not padded in full: their "sequences" hold fewer tokens than the length says.
    """
    if figure.value_per_chip is None or figure.padding in vocabulary.SHORTENED:
        return None
    if figure.metric in vocabulary.TFLOPS_METRICS:
        return figure.value_per_chip
    rate = figure.samples_per_s_per_chip
    flops = flops_per_sample(figure) if flops_per_sample and figure.model else None
    if rate is not None and flops is not None:
        return rate * flops / 1e12
    return _decoder_tflops(figure)


def _decoder_tflops(figure: Figure) -> float | None:
    """6 FLOPs per parameter and token (Kaplan et al. 2020, arXiv:2001.08361), attention left out."""
    sizes = _PARAMETERS.findall(figure.published_model)
    mixture = any(name in figure.published_model for name in _MIXTURES)
    if figure.task != vocabulary.CAUSAL_LANGUAGE_MODEL or len(sizes) != 1 or mixture:
        return None
    ((count, unit),) = sizes
    parameters = float(count) * (1e6 if unit in "mM" else 1e9)
    tokens = _tokens_per_s_per_chip(figure)
    return None if tokens is None else 6 * parameters * tokens / 1e12


def _tokens_per_s_per_chip(figure: Figure) -> float | None:
    if figure.metric in vocabulary.TOKEN_METRICS:
        return figure.value_per_chip
    rate = figure.samples_per_s_per_chip
    return rate * figure.sequence_length if rate and figure.sequence_length else None


def _possible_chips(figure: Figure) -> list[chips.Chip]:
    if figure.chip is not None:
        return [chip for chip in chips.load() if chip.id == figure.chip]
    family = vocabulary.ACCELERATOR_OF_CHIP
    return [chip for chip in chips.load() if family.get(chip.id) == figure.accelerator]
