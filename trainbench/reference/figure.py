"""One published figure, and what its notes say about the conditions it was taken under."""

import re
from dataclasses import dataclass

from trainbench.reference import vocabulary

_EVALUATION_INSIDE = re.compile(
    r"evals? included|eval inside|evaluation and compile|incl\. (?:checkpoints/)?eval"
)


@dataclass(frozen=True)
class Figure:
    """One published figure; None or an empty string where the source does not state something.

    Attributes:
      model: the model here that it is a figure for, or None where there is none.
      published_model, model_variant: the source's name; what is known of the variant ("v1.5").
      task: one of `vocabulary`'s tasks.
      accelerator, variant: family ("A100"); board, memory or slice as published.
      precision: as published, or "fp32 or tf32" where the source leaves that open.
      per_device_batch: samples per micro-batch and device.
      source: repository, path and commit, or an address.
    """

    id: str
    model: str | None
    published_model: str
    model_variant: str
    task: str
    dataset: str
    accelerator: str
    variant: str
    num_chips: int | None
    precision: str | None
    per_device_batch: int | None
    global_batch: int | None
    grad_accum: int | None
    sequence_length: int | None
    image_size: int | None
    framework: str
    data: str | None
    metric: str
    value: float
    value_per_chip: float | None
    derivation: str
    source: str
    date: str | None
    note: str

    @property
    def label(self) -> str:
        """The accelerator in full: "A100 PCIe 80GB", "TPU v3 (v3-32)"."""
        if self.accelerator.startswith("TPU") and self.variant:
            return f"{self.accelerator} ({re.sub('^(?:TPU |tpu-)', '', self.variant)})"
        return f"{self.accelerator} {self.variant}".strip()

    @property
    def precision_class(self) -> str | None:
        """The class within which precisions count as alike, or None where it is not stated."""
        return None if self.precision is None else vocabulary.PRECISION_CLASSES[self.precision]

    @property
    def samples_per_s_per_chip(self) -> float | None:
        """Samples per second and chip; None for tokens, times, MFU, and where the chip count is unclear."""
        known = self.metric in vocabulary.SAMPLE_METRICS and self.num_chips is not None
        return self.value_per_chip if known else None

    @property
    def micro_batch_per_chip(self) -> float | None:
        """Samples that one chip takes at once; None where neither the batch nor the chip count tells."""
        # A TPU's printed device may be half a chip, so its batch is taken from the global one.
        if self.per_device_batch is not None and not self.accelerator.startswith("TPU"):
            return float(self.per_device_batch)
        if self.global_batch is None or self.num_chips is None:
            return None
        return self.global_batch / self.num_chips / (self.grad_accum or 1)

    @property
    def accumulation(self) -> int:
        """Micro-batches per optimizer step: stated, implied by the batches, or 1 if neither."""
        if self.grad_accum is not None:
            return self.grad_accum
        if self.per_device_batch and self.global_batch and self.num_chips:
            return max(1, round(self.global_batch / (self.per_device_batch * self.num_chips)))
        return 1

    @property
    def includes_evaluation(self) -> bool:
        """Whether evaluation, checkpoints or compilation are inside the time that the rate was taken from."""
        return bool(_EVALUATION_INSIDE.search(f"{self.derivation}; {self.note}"))

    @property
    def padding(self) -> str | None:
        """How short sequences fill a row of BERT pre-training: padded, removed, packed, not stated, or None.

        MLPerf's GPU runs drop padding tokens or pack several sequences into a row, so their "sequences" are
        shorter than the length printed. NVIDIA DeepLearningExamples trains on padded rows.
        """
        if self.task != vocabulary.MASKED_LANGUAGE_MODEL:
            return None
        for phrase, handling in (("padding tokens removed", "removed"), ("packed samples", "packed")):
            if phrase in self.note:
                return handling
        return "padded" if "DeepLearningExamples" in self.source else "not stated"

    @property
    def objective(self) -> str | None:
        """What BERT pre-training optimises: "MLM", "MLM and next sentence" or "not stated"; None elsewhere.

        The MLPerf reference and DeepLearningExamples train both heads, as the paper does (arXiv:1810.04805).
        """
        if self.task != vocabulary.MASKED_LANGUAGE_MODEL:
            return None
        if "MLM only" in self.note:
            return "MLM"
        both = any(name in self.source for name in ("DeepLearningExamples", "training_results"))
        return "MLM and next sentence" if both else "not stated"

    @property
    def optimizer(self) -> str | None:
        """The optimizer where the row names it: only LAMB rows do."""
        return "lamb" if "LAMB" in self.note else None
