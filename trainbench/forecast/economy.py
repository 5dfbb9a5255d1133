"""What a forecast rate costs in dollars and joules, by the price and the rated power of the target's chips.

Only an expected rate has either: a bound would promise more samples than there will be.
"""

from trainbench import published
from trainbench.forecast.targets import CPU, Target
from trainbench.hardware import chips
from trainbench.hardware.chips import Chip
from trainbench.reference import economy
from trainbench.results import record

NOT_DRAWN = "rated, not drawn"


def cost(target: Target, rate: float, price_per_hour: float | None) -> record.Cost | None:
    """What a million samples cost at `rate` samples per second over all devices; None without a price.

    Args:
      price_per_hour: US dollars for one chip and hour, instead of the table's.
    """
    return published.cost_at(economy.price_of(_chip(target), price_per_hour), rate / target.chips)


def power(target: Target, rate: float) -> record.Power | None:
    """The energy of a sample at `rate` samples per second over all devices, by rated power; None without."""
    rated = economy.power_of(_chip(target))
    if rated.value is None or rate <= 0:
        return None
    return record.Power(
        joules_per_sample=rated.value * target.chips / rate, source=f"{NOT_DRAWN}: {rated} per chip"
    )


def _chip(target: Target) -> Chip | None:
    return None if target.chip == CPU else chips.by_id(target.chip)
