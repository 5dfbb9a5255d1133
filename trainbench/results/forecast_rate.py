"""The one rate of a forecast: what is expected, or where nothing is, the bound."""

from dataclasses import dataclass

from trainbench.results.record import Result

EXPECTED, BOUND = "expected", "at most"


@dataclass(frozen=True)
class Rate:
    """Samples per second and chip.

    Attributes:
      kind: "expected", or "at most" where there is no more than a bound.
      interval: 95 %, by the calibration; a bound has none.
    """

    value: float
    kind: str
    interval: tuple[float, float] | None = None


def chips(result: Result) -> int:
    """Chips that ran, or of the target; devices where it is not known how many chips they are."""
    hardware = result.hardware
    return (hardware.chip_count or hardware.device_count or 1) if hardware else 1


def rate(result: Result) -> Rate | None:
    """The expected rate, else the bound; None where it doesn't fit, or nothing is known."""
    count, about = chips(result), result.forecast
    if speed := result.throughput:
        ends = speed.samples_per_s_ci95
        interval = (ends[0] / count, ends[1] / count) if ends else None
        return Rate(speed.samples_per_s / count, EXPECTED, interval)
    if about is None or about.bound_samples_per_s is None:
        return None
    return Rate(about.bound_samples_per_s / count, BOUND)
