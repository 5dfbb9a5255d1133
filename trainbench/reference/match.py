"""Which published figures a run is compared with, and how it compares: always per chip.

Model, task, and image size or sequence length must agree, else there is no comparison. Everything else that
differs is listed (`differences`), and decides which figure of an accelerator stands for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trainbench.reference.differences import Difference, RunFacts, differences, same_accelerator, same_board
from trainbench.reference.figure import Figure

# After the run's own chip: the accelerators that most papers and claims refer to, GPUs first.
CLASSIC_ACCELERATORS = (
    *("V100", "A100", "H100"),
    *("TPU v3", "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e", "TPU v7x (Ironwood)"),
)


@dataclass(frozen=True)
class Comparison:
    """A run beside one published figure.

    Attributes:
      reference_id, source, date: the figure's id, where it is from, and when (None: not known).
      accelerator: what it was measured on.
      value: the published samples per second and chip.
      ratio: the run's samples per second and chip / value; None where the run has no result.
      like_for_like: no material difference.
      differences: every differing condition in words, the material ones first.
    """

    reference_id: str
    accelerator: str
    value: float
    ratio: float | None
    like_for_like: bool
    differences: tuple[str, ...]
    source: str
    date: str | None


@dataclass(frozen=True)
class _Candidate:
    figure: Figure
    value: float
    differences: tuple[Difference, ...]
    own_chip: bool
    own_board: bool

    def distance(self) -> tuple[bool, int, int, float, str]:
        """Sorts the closest conditions first, then the highest value, then by id.

        On the run's own chip the board comes first: an H100 PCIe card is no reference for an SXM module
        where there is a figure for one.
        """
        other_board = self.own_chip and not self.own_board
        weight = sum(difference.weight for difference in self.differences)
        return other_board, weight, len(self.differences), -self.value, self.figure.id


def comparable(run: RunFacts, figure: Figure) -> bool:
    """Whether a ratio between the two means anything: the same samples through the same model, per chip."""
    sizes = (run.image_size, run.sequence_length)
    return (
        figure.samples_per_s_per_chip is not None
        and (run.model, run.task) == (figure.model, figure.task)
        and sizes == (figure.image_size, figure.sequence_length)
        and sizes != (None, None)
    )


def compare(run: RunFacts, figures: Iterable[Figure], *, limit: int = 8) -> tuple[Comparison, ...]:
    """The best figure of each accelerator, at most `limit`: the run's own chip, the classic ones, the rest.

    Best is closest in conditions, then highest. The order of `figures` does not matter.

    Raises:
      ValueError: `limit` is negative.
    """
    if limit < 0:
        raise ValueError(f"limit must be 0 or more, not {limit}")
    best: dict[str, _Candidate] = {}
    for candidate in _candidates(run, figures):
        accelerator = candidate.figure.accelerator
        if accelerator not in best or candidate.distance() < best[accelerator].distance():
            best[accelerator] = candidate
    ordered = sorted(best.values(), key=_place)
    return tuple(_comparison(run, candidate) for candidate in ordered[:limit])


def _candidates(run: RunFacts, figures: Iterable[Figure]) -> Iterable[_Candidate]:
    for figure in figures:
        value = figure.samples_per_s_per_chip
        if value is not None and comparable(run, figure):
            own = same_accelerator(run, figure)
            yield _Candidate(figure, value, differences(run, figure), own, same_board(run, figure))


def _place(candidate: _Candidate) -> tuple[bool, int, str]:
    accelerator = candidate.figure.accelerator
    classic = accelerator in CLASSIC_ACCELERATORS
    rank = CLASSIC_ACCELERATORS.index(accelerator) if classic else len(CLASSIC_ACCELERATORS)
    return not candidate.own_chip, rank, accelerator


def _comparison(run: RunFacts, candidate: _Candidate) -> Comparison:
    figure, rate = candidate.figure, run.samples_per_s_per_chip
    return Comparison(
        reference_id=figure.id,
        accelerator=figure.label,
        value=candidate.value,
        ratio=None if rate is None else rate / candidate.value,
        like_for_like=not any(difference.material for difference in candidate.differences),
        differences=tuple(difference.text for difference in candidate.differences),
        source=figure.source,
        date=figure.date,
    )
