"""Under which conditions a run and a published figure differ, and which differences are material.

Material means: known to move throughput by more than about a tenth, or so badly documented that it might.
A comparison without material differences is like-for-like. The accelerator itself is not a condition (to
compare accelerators is the question), so another chip is listed but never material; a run on a CPU, or on a
chip that is not in the table, has no per-chip figure in that sense, and there it is. Nor is the framework:
every published figure is the work of some software, and the ratio is one of chip and software together.

Two conditions weigh more than the others, because they move throughput by a factor: the precision class, and
whether a "sequence" is a full row (MLPerf's GPU runs remove padding or pack several sequences into a row).
They decide first which figure stands for an accelerator.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from trainbench.reference import vocabulary
from trainbench.reference.figure import Figure
from trainbench.reference.validate import form_factors, memory_gb

# ResNet-50 on one A100 PCIe: 1396 images/s at batch 720, 1527 at 1280 (Lambda): 9 % for 1.8 times the batch.
_BATCH_FACTOR = 2.0
# Between 1 and 8 GPUs the table's rates per chip fall by up to 17 %; between 16 and 256 TPU v3 by 17 %
# (MLPerf v0.6 ResNet-50), between 8 and 64 H100, at an eighth of the batch, by 29 % (v3.0, v3.1).
_CHIP_FACTOR = 4.0


@dataclass(frozen=True)
class RunFacts:
    """The conditions of one run, as far as they matter for comparing it; None where a source leaves one open.

    Attributes:
      model, task: names as `vocabulary` has them.
      image_size, sequence_length: pixels a side, tokens; the one that does not apply is None.
      precision: bf16, fp32, tf32 or bf16_full.
      batch_size: samples per device and optimizer step; a micro-batch is 1/gradient_accumulation of it.
      data: "synthetic" or "real".
      dataset: the name of a real data set, where known.
      optimizer: its name, lower case.
      chip_id: id in chips.yaml; None on a CPU or an accelerator that is not in it.
      accelerator: what to call the hardware where `chip_id` is None ("CPU", or the device kind).
      num_chips: chips (not JAX devices) that took part.
      samples_per_s_per_chip: the result, None where there is none (yet).
      devices_per_chip: JAX devices that one chip shows.
      includes_evaluation, padding, objective, model_variant: as `Figure` has them.
      unusual: what no source says of a figure, which is taken for what is usual: (condition, what is usual,
        what this run did instead), each material.
    """

    model: str
    task: str
    image_size: int | None
    sequence_length: int | None
    precision: str | None
    batch_size: float | None
    optimizer: str | None
    num_chips: float | None
    samples_per_s_per_chip: float | None = None
    chip_id: str | None = None
    accelerator: str | None = None
    gradient_accumulation: int = 1
    data: str | None = "synthetic"
    dataset: str | None = None
    framework: str = "JAX (Flax NNX)"
    devices_per_chip: int = 1
    includes_evaluation: bool = False
    padding: str | None = vocabulary.PADDED
    objective: str | None = "MLM"
    model_variant: str = "v1.5"
    unusual: tuple[tuple[str, str, str], ...] = ()

    @property
    def micro_batch_per_chip(self) -> float | None:
        """Samples that one chip takes at once."""
        if self.batch_size is None:
            return None
        return self.batch_size * self.devices_per_chip / self.gradient_accumulation


# How much a difference counts: listed only, about a tenth or more, a factor.
LISTED, MATERIAL, FACTOR = 0, 1, 10


@dataclass(frozen=True)
class Difference:
    """One condition that differs, in words, and how much it counts: LISTED, MATERIAL or FACTOR.

    Attributes:
      sides: the same for two published figures, "condition: first / second".
    """

    text: str
    weight: int
    sides: str = ""

    @property
    def material(self) -> bool:
        """Whether it forbids to call the comparison like-for-like."""
        return self.weight >= MATERIAL

    @property
    def stated(self) -> bool:
        """Whether the source says its side of it, so that it is known to differ."""
        return "not stated" not in self.text


def differences(run: RunFacts, figure: Figure) -> tuple[Difference, ...]:
    """Every condition that differs between run and figure, the material ones first."""
    found = [difference for rule in _RULES if (difference := rule(run, figure)) is not None]
    found += [_words(*words, MATERIAL) for words in run.unusual]
    return tuple(sorted(found, key=_lightness))


def facts_of(figure: Figure) -> RunFacts:
    """The conditions under which a published figure was measured."""
    batch = figure.micro_batch_per_chip
    return RunFacts(
        model=figure.name,
        task=figure.task,
        image_size=figure.image_size,
        sequence_length=figure.sequence_length,
        precision=figure.precision,
        batch_size=None if batch is None else batch * figure.accumulation,
        gradient_accumulation=figure.accumulation,
        optimizer=figure.optimizer,
        num_chips=figure.num_chips,
        samples_per_s_per_chip=figure.samples_per_s_per_chip,
        chip_id=figure.chip or figure.accelerator,
        accelerator=figure.accelerator,
        data=figure.data,
        dataset=figure.dataset,
        framework=figure.framework,
        includes_evaluation=figure.includes_evaluation,
        padding=figure.padding,
        objective=figure.objective,
        model_variant=figure.model_variant,
    )


def same_accelerator(run: RunFacts, figure: Figure) -> bool:
    """Whether the figure was taken on the run's chip family ("A100", whatever the board)."""
    return run.chip_id is not None and vocabulary.ACCELERATOR_OF_CHIP.get(run.chip_id) == figure.accelerator


def same_board(run: RunFacts, figure: Figure) -> bool:
    """Whether the figure's board can be the run's: an SXM module and a PCIe card are not the same chip."""
    published, here = form_factors(figure.board), form_factors(run.chip_id or "")
    return not published or not here or published == here


def same_chip(run: RunFacts, figure: Figure) -> bool:
    """Whether the figure can be of the run's own chip: family, board and memory, as far as they are known."""
    memory = memory_gb(figure.board), memory_gb(run.chip_id or "")
    same_memory = None in memory or memory[0] == memory[1]
    return same_accelerator(run, figure) and same_board(run, figure) and same_memory


def _lightness(difference: Difference) -> int:
    return -difference.weight


def _words(what: str, published: object, here: object, weight: int) -> Difference:
    text = f"{what}: published {published}, here {here}"
    return Difference(text, weight, f"{what}: {here} / {published}")


def _number(value: float | None) -> str:
    return vocabulary.NOT_STATED if value is None else f"{value:g}"


def _accelerator(run: RunFacts, figure: Figure) -> Difference | None:
    if run.chip_id is None:
        return Difference(f"accelerator: {run.accelerator or 'unknown'}, published {figure.label}", MATERIAL)
    if same_chip(run, figure):
        return None
    return _words("accelerator", figure.label, run.chip_id, LISTED)


def _precision(run: RunFacts, figure: Figure) -> Difference | None:
    stated = run.precision is not None and figure.precision is not None
    if stated and run.precision == figure.precision:
        return None
    alike = stated and vocabulary.PRECISION_CLASSES.get(run.precision or "") == figure.precision_class
    sides = figure.precision or vocabulary.NOT_STATED, run.precision or vocabulary.NOT_STATED
    return _words("precision", *sides, LISTED if alike else FACTOR)


def _batch(run: RunFacts, figure: Figure) -> Difference | None:
    published, here = figure.micro_batch_per_chip, run.micro_batch_per_chip
    if published is not None and published == here:
        return None
    near = published and here and max(published, here) <= _BATCH_FACTOR * min(published, here)
    return _words("batch per chip", _number(published), _number(here), LISTED if near else MATERIAL)


def _accumulation(run: RunFacts, figure: Figure) -> Difference | None:
    # Accumulation divides the cost of the optimizer and of the gradients' all-reduce among its micro-batches.
    if figure.accumulation == run.gradient_accumulation:
        return None
    return _words("gradient accumulation", figure.accumulation, run.gradient_accumulation, MATERIAL)


def _data(run: RunFacts, figure: Figure) -> Difference | None:
    if run.data is not None and run.data == figure.data:
        return None
    sides = figure.data or vocabulary.NOT_STATED, run.data or vocabulary.NOT_STATED
    return _words("data", *sides, MATERIAL)


def _dataset(run: RunFacts, figure: Figure) -> Difference | None:
    both_real = run.data == figure.data == "real"
    if not (both_real and run.dataset and figure.dataset) or _letters(run.dataset) == _letters(
        figure.dataset
    ):
        return None
    return _words("data set", figure.dataset, run.dataset, LISTED)


def _evaluation(run: RunFacts, figure: Figure) -> Difference | None:
    # 10-25 % on common systems, up to half of the time where evaluation is slow.
    if figure.includes_evaluation == run.includes_evaluation:
        return None
    words = {True: "training with evaluation", False: "training steps only"}
    return _words("timed", words[figure.includes_evaluation], words[run.includes_evaluation], MATERIAL)


def _chips(run: RunFacts, figure: Figure) -> Difference | None:
    published, here = figure.num_chips, run.num_chips
    if published is None or here is None:
        return _words("chips", _number(published), _number(here), MATERIAL)
    if published == here:
        return None
    alone = (published <= 1) != (here <= 1)
    far = max(published, here) > _CHIP_FACTOR * min(published, here)
    return _words("chips", published, f"{here:g}", MATERIAL if alone or far else LISTED)


def _padding(run: RunFacts, figure: Figure) -> Difference | None:
    published, here = figure.padding, run.padding
    stated = vocabulary.NOT_STATED not in (published, here)
    if None in (published, here) or (stated and published == here):
        return None
    full = {vocabulary.PADDED: "rows of full length"}
    sides = full.get(published or "", published), full.get(here or "", here)
    return _words("padding", *sides, FACTOR if stated else MATERIAL)


def _objective(run: RunFacts, figure: Figure) -> Difference | None:
    # The next-sentence head works on one token of each sequence: under 1 % of the FLOPs.
    if figure.objective in (None, run.objective) or run.objective is None:
        return None
    return _words("objective", figure.objective, run.objective, LISTED)


def _variant(run: RunFacts, figure: Figure) -> Difference | None:
    # v1 is about 5 % faster than v1.5 (NVIDIA DeepLearningExamples, ResNet-50 v1.5 README).
    if figure.model_variant in ("", run.model_variant) or not run.model_variant:
        return None
    return _words("model", f"{figure.published_model} ({figure.model_variant})", run.model_variant, LISTED)


def _optimizer(run: RunFacts, figure: Figure) -> Difference | None:
    if figure.optimizer in (None, run.optimizer) or run.optimizer is None:
        return None
    return _words("optimizer", figure.optimizer, run.optimizer, LISTED)


def _framework(run: RunFacts, figure: Figure) -> Difference | None:
    if _first_word(figure.framework) == _first_word(run.framework):
        return None
    return _words("framework", figure.framework or "not stated", run.framework, LISTED)


_RULES: tuple[Callable[[RunFacts, Figure], Difference | None], ...] = (
    _accelerator,
    _precision,
    _batch,
    _accumulation,
    _data,
    _dataset,
    _evaluation,
    _chips,
    _padding,
    _objective,
    _variant,
    _optimizer,
    _framework,
)


def _letters(name: str) -> str:
    """The letters that a name begins with: "imagenet" of "ImageNet-1k" and of "imagenet2012"."""
    return re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]


def _first_word(framework: str) -> str:
    """ "JAX" of "JAX/Flax (Rosetta ViT)"."""
    return re.split(r"[\s/(]", framework, maxsplit=1)[0]
