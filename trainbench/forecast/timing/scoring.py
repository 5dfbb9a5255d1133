"""Fit the time model to published figures, and tell how well it forecasts figures that it was not fitted to.

Figures of one chip and model are alike in more than these: they count together as much as those of another
chip and model, however many they are, and are left out together. The same holds for GPUs of one compute
capability, such as an A100 of 40 and of 80 GB, and for sizes of one model. Errors are logarithms of
expected over published rates, so that twice and half as fast weigh the same; the fit minimises their mean
size, which a few odd figures move little.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]

from trainbench.forecast.compiler import gpu_devices
from trainbench.forecast.timing.calibration import Calibration, Errors
from trainbench.forecast.timing.schedule import FULL_RATES, ROOFLINE_REACH, Parameters


def _down_to(last: float, step: float) -> tuple[float, ...]:
    """From 1 downwards."""
    return tuple(round(1 - number * step, 2) for number in range(round((1 - last) / step) + 1))


Grid = Mapping[str, Sequence[float]]
# What is fitted, by the parameter's name, and the values that are tried, of which the first of equally good
# ones is taken: without evidence nothing is slower than stated. Collectives have no parameter: by their bytes
# they take 2 % of a step or less on the figures' slices, too little to fit one. The reach of the roofline is
# not fitted either: the figures hardly tell values from 3 upwards apart.
GRIDS: Mapping[str, Grid] = {
    "tpu": {
        "matrix_efficiency": _down_to(0.6, 0.1),
        "memory_efficiency": _down_to(0.5, 0.05),
        "roofline_reach": (ROOFLINE_REACH,),
    },
    "gpu": {
        "matrix_efficiency": _down_to(0.3, 0.1),
        "memory_efficiency": _down_to(0.4, 0.1),
        "roofline_reach": (ROOFLINE_REACH,),
    },
}
WITHIN = 0.3


@dataclass(frozen=True)
class Case:
    """A published figure beside the program that stands for it.

    Attributes:
      id: of the figure.
      chip: id in chips.yaml.
      published: samples per second and chip; of a matrix product TFLOP per second and JAX device.
      expected: the same by the time model with some parameters.
    """

    id: str
    chip: str
    model: str
    published: float
    expected: Callable[[Parameters], float]

    @property
    def chips(self) -> str:
        """What this chip and those like it have in common: GPUs the compute capability; a TPU is alone."""
        gpu = gpu_devices.find(self.chip)
        return gpu.capability if gpu else self.chip

    @property
    def models(self) -> str:
        """The model without its size, such as vit for vit_b16."""
        return self.model.partition("_")[0]

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
    groups = _grouped((case, case.error(parameters)) for case in cases)
    return float(np.mean([np.mean(np.abs(found)) for found in groups]))


def left_out(cases: Sequence[Case], grid: Grid, key: Callable[[Case], str]) -> dict[str, Parameters]:
    """By each value of `key`: the parameters fitted to the figures of all other values."""
    return {
        value: fit([case for case in cases if key(case) != value], grid)
        for value in dict.fromkeys(map(key, cases))
    }


def score(cases: Sequence[Case], grid: Grid) -> tuple[Calibration, tuple[Score, ...]]:
    """The calibration from a platform's cases, and each case's own score.

    The interval is that of a figure of a chip or model not seen before: Student's, from the errors with the
    chip left out or with the model left out, whichever are larger, with as many independent errors as there
    are groups.
    """
    fitted = fit(cases, grid)
    chips = left_out(cases, grid, lambda case: case.chips)
    models = left_out(cases, grid, lambda case: case.models)
    scores = tuple(
        Score(
            case,
            case.expected(fitted),
            case.expected(chips[case.chips]),
            case.expected(models[case.models]),
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
    forecasts = (
        [(one.case, math.log(rate / one.case.published)) for one, rate in zip(scores, rates, strict=True)]
        for rates in ([one.without_chip for one in scores], [one.without_model for one in scores])
    )
    of_chips, of_models = (_grouped(errors_) for errors_ in forecasts)
    count = len(of_chips)
    if count < 2:
        return math.inf
    spread = max(_spread(of_chips), _spread(of_models))
    return math.exp(float(stdtrit(count - 1, 0.975)) * spread * math.sqrt(1 + 1 / count))


def _spread(groups: Iterable[Sequence[float]]) -> float:
    """The root of the mean square, each group counting as one."""
    return math.sqrt(np.mean([np.mean(np.square(found)) for found in groups]))


def _grouped(errors_: Iterable[tuple[Case, float]]) -> list[list[float]]:
    """Errors by the like chips and like models of their cases."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for case, error in errors_:
        groups[case.chips, case.models].append(error)
    return list(groups.values())
