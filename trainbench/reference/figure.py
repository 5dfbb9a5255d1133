"""One published figure: what was measured, where, and under which conditions, as far as its source tells."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trainbench.reference import vocabulary


@dataclass(frozen=True)
class Figure:
    """One published figure; None or an empty string where the source does not state something.

    Attributes:
      best: chosen as the best reference for its model and accelerator.
      name: the model as the table calls it: the name here of a model that has the same shape, or a slug.
      published_model, model_variant: the source's name; what is known of the variant ("v1.5").
      task: one of `vocabulary.TASKS`.
      accelerator, board: family ("A100"); board, memory or slice as published.
      chip: id in hardware/chips.yaml; None where the source leaves it open or the chip is not in there.
      num_chips, num_devices: chips; devices as the source counts, for TPU v2 to v4 often TensorCores.
      precision: as published, or "fp32 or tf32" where the source leaves that open.
      per_device_batch: samples per micro-batch and device.
      global_batch: samples per optimizer step.
      gradient_accumulation: micro-batches per optimizer step, as stated; see `accumulation`.
      padding: how short sequences fill a row: one of `vocabulary.PADDING`, or "not stated" in pre-training
        with masked words; None where it makes no difference.
      objective: of such pre-training: "MLM", "MLM and next sentence" or "not stated"; else None.
      includes_evaluation: evaluation, checkpoints or compilation are inside the time that the rate is from.
      value, value_per_chip: in the metric's unit.
      repository, source_path, source_commit: repository or address, and where in it.
      date: ISO 8601: last commit of the file, or the day of the run.
    """

    id: str
    best: bool
    name: str
    published_model: str
    model_variant: str
    task: str
    dataset: str
    accelerator: str
    board: str
    chip: str | None
    num_chips: int | None
    num_devices: int | None
    precision: str | None
    per_device_batch: int | None
    global_batch: int | None
    gradient_accumulation: int | None
    sequence_length: int | None
    image_size: int | None
    optimizer: str | None
    objective: str | None
    padding: str | None
    includes_evaluation: bool
    framework: str
    framework_version: str
    data: str | None
    metric: str
    value: float
    value_per_chip: float | None
    derivation: str
    repository: str
    source_path: str
    source_commit: str
    date: str | None
    note: str

    @property
    def model(self) -> str | None:
        """The model here that it is a figure for, or None where there is none."""
        return self.name if self.name in vocabulary.MODELS else None

    @property
    def variant(self) -> str:
        """Board, memory or slice as published."""
        return self.board

    @property
    def source(self) -> str:
        """Repository, path and commit in one line, or an address."""
        place = f"{self.repository} {self.source_path}".strip()
        return f"{place} @{self.source_commit[:12]}" if self.source_commit else place

    @property
    def label(self) -> str:
        """The accelerator in full: "A100 PCIe 80GB", "TPU v3 (v3-8)"."""
        if self.accelerator.startswith("TPU") and self.board:
            return f"{self.accelerator} ({re.sub('^(?:TPU |tpu-)', '', self.board)})"
        return f"{self.accelerator} {self.board}".strip()

    @property
    def short_label(self) -> str:
        """The accelerator in a narrow column: no server, slice or power limit in it."""
        if self.accelerator.startswith("TPU"):
            return self.accelerator.partition(" (")[0]
        return re.sub(r" \(.*| \d+W\b", "", self.label)

    @property
    def unit(self) -> str:
        """What the metric counts, over all chips or by one device; an image model's samples are images.

        >>> from trainbench.reference import figures
        >>> figures.find("vit-b-16-h100-x8-bf16-r224-jax-flax").unit
        'images/sec'
        """
        if self.metric not in vocabulary.SAMPLE_METRICS:
            return self.metric.removesuffix("/device").removesuffix(" total")
        return "images/sec" if "image" in self.task else "sequences/sec"

    @property
    def runnable(self) -> bool:
        """Whether `reproduce=ID` runs it without anything stated besides."""
        return not self.missing()

    @property
    def precision_class(self) -> str | None:
        """The class within which precisions count as alike, or None where it is not stated."""
        return None if self.precision is None else vocabulary.PRECISION_CLASSES[self.precision]

    @property
    def samples_per_s_per_chip(self) -> float | None:
        """Samples per second and chip; None for times, MFU, and where the chip count is unclear.

        Tokens count as samples where a row of text is full, as in training on the next token of joined
        documents, and its length is stated: then tokens/s are sequences/s times that length, exactly. No
        other metric is converted, since that would take an assumption.
        """
        if self.num_chips is None or self.value_per_chip is None:
            return None
        if self.metric in vocabulary.SAMPLE_METRICS:
            return self.value_per_chip
        if self.metric in vocabulary.TOKEN_METRICS and self._rows_are_full and self.sequence_length:
            return self.value_per_chip / self.sequence_length
        return None

    @property
    def _rows_are_full(self) -> bool:
        return self.task == vocabulary.CAUSAL_LANGUAGE_MODEL and self.padding is None

    @property
    def micro_batch_per_chip(self) -> float | None:
        """Samples that one chip takes at once; None where neither the batch nor the chip count tells."""
        # A TPU's printed device may be half a chip, so its batch is taken from the global one.
        if self.per_device_batch is not None and not self.accelerator.startswith("TPU"):
            return float(self.per_device_batch)
        if self.global_batch is None or self.num_chips is None:
            return None
        return self.global_batch / self.num_chips / (self.gradient_accumulation or 1)

    @property
    def accumulation(self) -> int:
        """Micro-batches per optimizer step: stated, implied by the batches, or 1 if neither.

        Implied for data parallelism only, which is how every model here is trained.
        """
        if self.gradient_accumulation is not None:
            return self.gradient_accumulation
        devices = self.num_devices or self.num_chips
        if self.per_device_batch and self.global_batch and devices:
            return max(1, round(self.global_batch / (self.per_device_batch * devices)))
        return 1

    def missing(self) -> tuple[str, ...]:
        """What keeps it from being run again here, in words; empty where nothing does."""
        return (*self.obstacles(), *self.unstated().values())

    def obstacles(self) -> tuple[str, ...]:
        """What keeps it from being run here, whatever one states besides, in words."""
        trained = self.precision is None or self.precision_class in vocabulary.TRAINED_PRECISION_CLASSES
        other = () if trained else (f"training in {self.precision} is not built here",)
        return (*self._not_comparable(), *other)

    def never_compared(self) -> tuple[str, ...]:
        """Why no run is ever compared with it, in words; empty where one may be."""
        unstated = self.unstated()
        sizes = (unstated[key] for key in ("image_size", "sequence_length") if key in unstated)
        return (*self._not_comparable(), *sizes)

    def _not_comparable(self) -> tuple[str, ...]:
        found = {
            f"{self.published_model} is not built here": self.model is None,
            f"{spaced(self.task)} is not trained here": self.task not in vocabulary.TRAINED_TASKS,
            self._why_no_rate(): self.samples_per_s_per_chip is None,
        }
        return tuple(words for words, holds in found.items() if holds)

    def unstated(self) -> Mapping[str, str]:
        """What the source does not say and a run has to know, in words, by configuration key."""
        size = "image_size" if "image" in self.task else "sequence_length"
        whole = self.micro_batch_per_chip is not None and self.micro_batch_per_chip.is_integer()
        found = {
            "precision": self.precision is None,
            size: self.image_size is None and self.sequence_length is None,
            "batch_size": not whole,
        }
        words = {"batch_size": "the batch per chip is not stated as a whole number"}
        return {
            key: words.get(key, f"the {spaced(key)} is not stated") for key, holds in found.items() if holds
        }

    def _why_no_rate(self) -> str:
        if self.num_chips is None:
            return "the number of chips is not stated"
        return f"{self.metric} is no rate of samples"


def spaced(word: str) -> str:
    """ "masked language model" of "masked_language_model"."""
    return word.replace("_", " ")
