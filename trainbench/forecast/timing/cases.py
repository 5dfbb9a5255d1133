"""Published figures that the time model can be held against, each with the program that stands for it.

A figure counts if its conditions make up a run here (`forecast.reference`), on any slice of TPUs or on one
host of GPUs, since only its network is known; if its sequences are as long as it says; and if each device can
hold the whole model. GPU figures come from many programs for one condition (chip, model, precision, sequence
length): the middle one of them counts.
"""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainbench import recompose
from trainbench.compiled import hlo
from trainbench.forecast import reference, targets
from trainbench.forecast.compiler.build import Build, Traced
from trainbench.forecast.targets import MOST_GPUS_PER_HOST, Target
from trainbench.forecast.timing import chip_model, time_model
from trainbench.forecast.timing.demand import Demands
from trainbench.forecast.timing.schedule import Parameters
from trainbench.forecast.timing.scoring import Case
from trainbench.reference import vocabulary
from trainbench.reference.figure import Figure

# MLPerf's TensorFlow programs draw the bits of dropout from the TPU's own generator and let the compiler fuse
# all else; ours keeps every mask of the attention. The nearest program here is the one without dropout.
STAND_INS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("tpu", "bert_large"): ("model.architecture.dropout_rate=0",),
}


# The parameters of these in float32, their gradients and AdamW's two moments are 16 bytes a parameter, more
# than any device of their figures has, and the figures do not say how they were split.
SPLIT_UNSAID = ("llama_2_7b", "llama_70b", "llama_405b")


@dataclass(frozen=True)
class Row:
    """A figure with the forecast that stands for it."""

    figure: Figure
    target: Target
    overrides: tuple[str, ...]

    @property
    def model(self) -> str:
        assert self.figure.model is not None
        return self.figure.model


def rows(figures: Iterable[Figure], platform: str) -> list[Row]:
    """The figures of a platform ("tpu", "gpu") that count, in their order."""
    found = [row for figure in figures if (row := _row(figure)) and row.target.platform == platform]
    return _middle_ones(found) if platform == "gpu" else found


def case(row: Row, build: Build | Traced) -> Case | str:
    """The figure beside its compiled program; where it can't be, why not."""
    if isinstance(build, Traced):
        return build.why.problem
    if build.program is None:
        return "the step does not fit into the target's memory"
    published = row.figure.samples_per_s_per_chip
    if published is None:
        return "the figure is no rate of samples per chip"
    demands = Demands(hlo.parse(build.program.hlo), chip_model.for_target(row.target))
    samples = build.facts.workload.global_batch_size * build.facts.steps_per_call / row.target.chips

    @functools.cache
    def expected(parameters: Parameters) -> float:
        return samples / time_model.timed(demands, parameters).expected_s

    return Case(row.figure.id, row.target.chip, row.model, published, expected)


def tree(row: Row) -> dict[str, Any]:
    """The composed configuration of a row's forecast."""
    composed: dict[str, Any] = recompose.compose(row.overrides)
    # As one program over the whole slice normalises; on one device the two are the same.
    return composed | {"batch_norm": "synchronised"}


def _row(figure: Figure) -> Row | None:
    name, overrides = reference.overrides(figure)
    if name is None or figure.padding in vocabulary.SHORTENED or figure.model in SPLIT_UNSAID:
        return None
    target = targets.find(name)
    if target.platform == "gpu" and target.chips > MOST_GPUS_PER_HOST:
        return None
    assert figure.model is not None
    return Row(figure, target, (*overrides, *STAND_INS.get((target.platform, figure.model), ())))


def _middle_ones(found: Sequence[Row]) -> list[Row]:
    alike: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in found:
        figure = row.figure
        alike[row.target.chip, row.model, figure.precision_class, figure.sequence_length].append(row)
    return [_middle(group) for group in alike.values()]


def _middle(group: Sequence[Row]) -> Row:
    ordered = sorted(group, key=lambda row: row.figure.samples_per_s_per_chip or 0.0)
    return ordered[(len(ordered) - 1) // 2]
