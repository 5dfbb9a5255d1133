"""Fit the time model to published figures, and tell how well it forecasts figures that it was not fitted to.

Figures of one chip and model are alike in more than these: they count together as much as those of another
chip and model, however many they are. Errors are logarithms of expected over published rates, so that twice
and half as fast weigh the same; the fit minimises their mean size, which a few odd figures move little.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]

from trainbench.forecast.calibration import Calibration, Errors
from trainbench.forecast.schedule import FULL_RATES, Parameters


def _steps(first: float, last: float, step: float = 0.05) -> tuple[float, ...]:
    return tuple(round(first + number * step, 2) for number in range(round((last - first) / step) + 1))


Grid = Mapping[str, Sequence[float]]
# What is fitted, by the parameter's name, and the values that are tried. No collective parameter: the figures
# are of slices whose collectives take 2 % of a step or less.
GRIDS: Mapping[str, Grid] = {
    "tpu": {
        "matrix_efficiency": _steps(0.6, 1.0, 0.1),
        "memory_efficiency": _steps(0.5, 1.0),
        "compiler_excess": (0.0, 0.5, 1.0),
    },
    "gpu": {
        "matrix_efficiency": _steps(0.3, 1.0, 0.1),
        "memory_efficiency": _steps(0.5, 1.0, 0.1),
        "compiler_excess": (0.0, 0.5, 1.0),
    },
}
WITHIN = 0.3


@dataclass(frozen=True)
class Case:
    """A published figure beside the program that stands for it.

    Attributes:
      id: of the figure.
      chip: id in chips.yaml.
      published: samples (of a matrix product: TFLOP) per second and chip.
      expected: the same by the time model with some parameters.
    """

    id: str
    chip: str
    model: str
    published: float
    expected: Callable[[Parameters], float]

    def error(self, parameters: Parameters) -> float:
        """ln(expected / published)."""
        return math.log(self.expected(parameters) / self.published)


@dataclass(frozen=True)
class Score:
    """One figure: expected per chip as fitted to all figures, to those of other chips, to other models'."""

    case: Case
    fitted: float
    without_chip: float
    without_model: float


def fit(cases: Sequence[Case], grid: Grid) -> Parameters:
    """Of a grid's parameters those with the least `mean_size`; what is not in the grid is at its default.

    All values are tried: the loss has kinks, and a finer answer than the grid's nobody could defend.
    """
    points = itertools.product(*grid.values())
    tried = [replace(FULL_RATES, **dict(zip(grid, point, strict=True))) for point in points]
    return min(tried, key=lambda parameters: mean_size(cases, parameters))


def mean_size(cases: Iterable[Case], parameters: Parameters) -> float:
    """The mean of |error| over the groups of one chip and model, each with its own mean."""
    return float(np.mean([np.mean(np.abs(errors)) for errors in _groups(cases, parameters)]))


def left_out(cases: Sequence[Case], grid: Grid, key: Callable[[Case], str]) -> dict[str, Parameters]:
    """By each value of `key`: the parameters fitted to the figures of all other values."""
    return {
        value: fit([case for case in cases if key(case) != value], grid)
        for value in dict.fromkeys(map(key, cases))
    }


def score(cases: Sequence[Case], grid: Grid) -> tuple[Calibration, tuple[Score, ...]]:
    """The calibration from a platform's cases, and each case's own score.

    The interval is that of a figure of a chip and model not seen before: Student's, from the errors with the
    chip left out, with as many independent errors as there are groups.
    """
    fitted = fit(cases, grid)
    chips = left_out(cases, grid, lambda case: case.chip)
    models = left_out(cases, grid, lambda case: case.model)
    scores = tuple(
        Score(
            case,
            case.expected(fitted),
            case.expected(chips[case.chip]),
            case.expected(models[case.model]),
        )
        for case in cases
    )
    calibration = Calibration(
        parameters=fitted,
        factor=interval_factor(scores),
        figures=len(cases),
        chips=tuple(dict.fromkeys(case.chip for case in cases)),
        models=tuple(dict.fromkeys(case.model for case in cases)),
        without_chip=errors([(one.without_chip, one.case.published) for one in scores]),
        without_model=errors([(one.without_model, one.case.published) for one in scores]),
    )
    return calibration, scores


def errors(pairs: Iterable[tuple[float, float]]) -> Errors:
    """Of (expected, published) rates."""
    sizes = [abs(expected / published - 1) for expected, published in pairs]
    return Errors(float(np.median(sizes)), float(np.mean([size <= WITHIN for size in sizes])))


def interval_factor(scores: Sequence[Score]) -> float:
    """What a 95 % prediction interval divides and multiplies the expected rate by."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in scores:
        groups[one.case.chip, one.case.model].append(math.log(one.without_chip / one.case.published))
    count = len(groups)
    if count < 2:
        return math.inf
    spread = math.sqrt(np.mean([np.mean(np.square(found)) for found in groups.values()]))
    return math.exp(float(stdtrit(count - 1, 0.975)) * spread * math.sqrt(1 + 1 / count))


def _groups(cases: Iterable[Case], parameters: Parameters) -> list[list[float]]:
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case in cases:
        groups[case.chip, case.model].append(case.error(parameters))
    return list(groups.values())
