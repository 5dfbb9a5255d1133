"""Samples per joule and per dollar: a run beside a published figure, by rated power and rental price.

A ratio needs both sides, each from a source; what is not known is said, never guessed. Rated power is not
what a chip drew while it trained, and a price depends on provider, region and date: so each ratio comes with
its basis in words.
"""

import re
from dataclasses import dataclass

from trainbench.hardware import chips
from trainbench.hardware.chips import Chip
from trainbench.reference.figure import Figure

# A basis ends with this where its two prices do not buy the same.
ONE_HOST = "one of the prices includes the host machine, the other does not"

_WATTS = re.compile(r"\b(\d+) ?W\b")


@dataclass(frozen=True)
class Known:
    """A figure with what it is in words and where it is from; None where unknown, and the words say why.

    Attributes:
      host: as `chips.Price.host`, where the price has one.
    """

    value: float | None
    words: str
    source: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{self.words} ({self.source})" if self.source else self.words


@dataclass(frozen=True)
class Economy:
    """This run's samples per joule and per dollar / the published figure's, and what both rest on."""

    per_watt: float | None
    per_dollar: float | None
    basis: str


def compare(chip_id: str | None, price_per_hour: float | None, rate: float | None, figure: Figure) -> Economy:
    """How a run and a figure compare per watt and per dollar.

    Args:
      chip_id: the run's chip in chips.yaml; None for a CPU, or an accelerator that is not in it.
      price_per_hour: US dollars for one chip of the run and hour, instead of the table's.
      rate: the run's samples per second and chip; None where it has no result.
    """
    here = chips.by_id(chip_id) if chip_id else None
    there = chips.by_id(figure.chip) if figure.chip else None
    power = power_of(here), _published_power(figure, there)
    prices = price_of(here, price_per_hour), price_of(there)
    basis = f"power: {power[0]} here, {power[1]} there; price: {prices[0]} here, {prices[1]} there"
    if {chips.HOST_INCLUDED, chips.GPU_ONLY} <= {price.host for price in prices}:
        basis += f"; {ONE_HOST}"
    return Economy(_ratio(rate, figure, *power), _ratio(rate, figure, *prices), basis)


def power_of(chip: Chip | None) -> Known:
    """The rated power of one chip in watts."""
    if chip is None or chip.rated_power is None:
        return _unknown(chip)
    rated = chip.rated_power
    words = f"{rated.watts:g} W {rated.kind}" + (f" [{rated.note}]" if rated.note else "")
    return Known(rated.watts, words, " + ".join(rated.source))


def price_of(chip: Chip | None, price_per_hour: float | None = None) -> Known:
    """The price of one chip in US dollars an hour; `price_per_hour` is the user's, which wins."""
    if price_per_hour is not None:
        return Known(price_per_hour, f"{_dollars(price_per_hour)}/h, given by price_per_hour")
    if chip is None or chip.price is None:
        return _unknown(chip)
    price = chip.price
    place = f"{price.provider}, {price.region}, {price.date or 'undated'}, {price.host}"
    return Known(
        price.usd_per_hour,
        f"{_dollars(price.usd_per_hour)}/h, {place}",
        " + ".join(price.source),
        price.host,
    )


def _dollars(amount: float) -> str:
    """`amount` with cents, and with what a price per hour has beyond them.

    >>> [_dollars(x) for x in (2.7, 0.8048, 1234, 0.0004)]
    ['$2.70', '$0.8048', '$1,234.00', '$0.0004']
    """
    whole, _, cents = f"{amount:,.4f}".rstrip("0").partition(".")
    return f"${whole}.{cents:0<2}" if amount >= 1e-4 else f"${amount:.2g}"


def _published_power(figure: Figure, chip: Chip | None) -> Known:
    """The power limit that the source itself states for its board, else the chip's rated power."""
    stated = _WATTS.search(figure.variant)
    if stated:
        return Known(float(stated.group(1)), f"{stated.group(1)} W as published", figure.source)
    return power_of(chip)


def _unknown(chip: Chip | None) -> Known:
    if chip is None:
        return Known(None, "unknown (not in the table of chips, or board not stated)")
    return Known(None, f"unknown (no source for {chip.name})")


def _ratio(rate: float | None, figure: Figure, here: Known, there: Known) -> float | None:
    """(samples per second / watts or dollars) here / there."""
    published = figure.samples_per_s_per_chip
    if rate is None or published is None or here.value is None or there.value is None:
        return None
    return rate / published * there.value / here.value
