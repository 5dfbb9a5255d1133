"""What the time model takes from published figures: its parameters, and how far off it was on others.

The values are in calibration.yaml, which `scripts/score_forecasts.py` writes.
"""

import functools
import importlib.resources
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from trainbench.forecast.timing.schedule import Parameters
from trainbench.hardware import chips

FILE = "calibration.yaml"


@dataclass(frozen=True)
class Errors:
    """How far expected rates were off published ones that had no part in the fit.

    Attributes:
      median: of |expected / published - 1|.
      within_30: share of the figures that were met within 30 %.
    """

    median: float
    within_30: float

    def __str__(self) -> str:
        return f"{self.within_30:.0%} of them are met within 30 % (median error {self.median:.0%})"


@dataclass(frozen=True)
class Calibration:
    """The time model of one kind of accelerator as published figures have it.

    Attributes:
      factor: the rate is expected to lie, at 95 %, between 1 / factor and factor times the expected one.
      figures: how many there were.
      chips, models: of the figures; ids of chips.yaml and names of models.
      without_chip: errors on the figures of each chip where only those of the others were fitted.
      without_model: the same for models.
    """

    parameters: Parameters
    factor: float
    figures: int
    chips: tuple[str, ...]
    models: tuple[str, ...]
    without_chip: Errors
    without_model: Errors

    def interval(self, rate: float) -> tuple[float, float]:
        """The 95 % interval around an expected rate, in its unit."""
        return rate / self.factor, rate * self.factor

    def words(self, chip: str, model: str) -> str:
        """What an expected rate of this chip (an id) and model rests on, in a sentence or two.

        Says so where the figures have neither.
        """
        names = ", ".join(chips.by_id(each).name for each in self.chips)
        missing = [
            *([] if chip in self.chips else [chips.by_id(chip).name]),
            *([] if model in self.models else [model]),
        ]
        unseen = f", none of {' or '.join(missing)}" if missing else ""
        return (
            f"{self.figures} published figures of {', '.join(self.models)} on {names}{unseen}. "
            f"Forecast without the other figures of their chip, {self.without_chip}; without those of their "
            f"model, {self.without_model}"
        )


@functools.cache
def load() -> Mapping[str, Calibration]:
    """The calibrations by platform ("tpu", "gpu"); a platform that has none is absent."""
    text = importlib.resources.files("trainbench.forecast.timing").joinpath(FILE).read_text()
    return {platform: parse(section) for platform, section in yaml.safe_load(text).items()}


def parse(section: Mapping[str, Any]) -> Calibration:
    """One platform's section of the file."""
    errors = {name: Errors(**section[name]) for name in ("without_chip", "without_model")}
    return Calibration(
        parameters=Parameters(**section["parameters"]),
        factor=section["factor"],
        figures=section["figures"],
        chips=tuple(section["chips"]),
        models=tuple(section["models"]),
        **errors,
    )


def dump(calibration: Calibration) -> dict[str, Any]:
    """The section that `parse` reads, to three significant digits: more would say what nobody knows."""
    errors = {"without_chip": calibration.without_chip, "without_model": calibration.without_model}
    return {
        "parameters": {name: rounded(value) for name, value in vars(calibration.parameters).items()},
        "factor": rounded(calibration.factor),
        "figures": calibration.figures,
        "chips": list(calibration.chips),
        "models": list(calibration.models),
        **{
            name: {"median": rounded(found.median), "within_30": rounded(found.within_30)}
            for name, found in errors.items()
        },
    }


def rounded(value: float, digits: int = 3) -> float:
    """To so many significant digits.

    >>> rounded(0.123456), rounded(1234.5), rounded(0.0), rounded(math.inf)
    (0.123, 1230.0, 0.0, inf)
    """
    if not value or math.isinf(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))
