"""Samples per joule and per dollar: a run beside a published figure, by rated power and rental price.

A ratio needs both sides, each from a source; what is not known is said, never guessed. Rated power is not
what a chip drew while it trained, and a price depends on provider, region and date: so each ratio comes with
its basis in words. A basis begins with the short form that a terminal has room for, "per watt: ...; per
dollar: ...", as far as there are ratios; the powers and prices in full follow.
"""

import re
from dataclasses import dataclass

from trainbench.hardware import chips
from trainbench.hardware.chips import Chip
from trainbench.reference.figure import Figure

# A basis says this where its two powers are not the same kind of figure.
TWO_KINDS = "the two powers are of different kinds"
# A basis ends with one of these where its two prices do not buy the same, or may not.
ONE_HOST = "one of the prices includes the host machine, the other does not"
UNKNOWN_HOST = "whether both prices include the host machine is not known"
_SHORT_HOST = {"": "", ONE_HOST: ", a host in one price only", UNKNOWN_HOST: ", hosts unknown"}

_WATTS = re.compile(r"\b(\d+) ?W\b")


@dataclass(frozen=True)
class Known:
    """A figure with what it is in words and where it is from; None where unknown, and the words say why.

    Attributes:
      short: the kind of a power; the provider and date of a price.
      host: as `chips.Price.host`, where it is a price.
    """

    value: float | None
    words: str
    source: str = ""
    short: str = ""
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
    ratios = _ratio(rate, figure, *power), _ratio(rate, figure, *prices)
    hosts = _unlike_hosts(*prices)
    said = {
        f"per watt: {_short(*power)}": ratios[0] is not None,
        f"per dollar: {_short(*prices)}{_SHORT_HOST[hosts]}": ratios[1] is not None,
        f"power: {power[0]} here, {power[1]} there": True,
        f"price: {prices[0]} here, {prices[1]} there": True,
        TWO_KINDS: ratios[0] is not None and power[0].short != power[1].short,
        hosts: bool(hosts) and ratios[1] is not None,
    }
    return Economy(*ratios, "; ".join(text for text, holds in said.items() if holds))


def _short(here: Known, there: Known) -> str:
    """What both sides are, or each: "TDP", "TDP / measured"."""
    return here.short if here.short == there.short else f"{here.short} / {there.short}"


def _unlike_hosts(here: Known, there: Known) -> str:
    """Why the two prices may not buy the same; empty where they do, as one and the same offer does."""
    if here == there or (here.host == there.host and here.host != chips.HOST_NOT_STATED):
        return ""
    return UNKNOWN_HOST if chips.HOST_NOT_STATED in (here.host, there.host) else ONE_HOST


def power_of(chip: Chip | None) -> Known:
    """The rated power of one chip in watts."""
    if chip is None or chip.rated_power is None:
        return _unknown(chip)
    rated = chip.rated_power
    words = f"{rated.watts:g} W {rated.kind}" + (f" [{rated.note}]" if rated.note else "")
    return Known(rated.watts, words, " + ".join(rated.source), rated.kind.removeprefix("highest "))


def price_of(chip: Chip | None, price_per_hour: float | None = None) -> Known:
    """The price of one chip in US dollars an hour; `price_per_hour` is the user's, which wins."""
    if price_per_hour is not None:
        words = f"{_dollars(price_per_hour)}/h, given by price_per_hour"
        return Known(price_per_hour, words, short="yours", host=chips.HOST_NOT_STATED)
    if chip is None or chip.price is None:
        return _unknown(chip)
    price = chip.price
    date = price.date or "undated"
    place = f"{price.provider}, {price.region}, {date}, {price.host}"
    return Known(
        price.usd_per_hour,
        f"{_dollars(price.usd_per_hour)}/h, {place}",
        " + ".join(price.source),
        # What follows the company's name is the kind of machine.
        f"{price.provider.split()[0]} {date}",
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
        return Known(
            float(stated.group(1)), f"{stated.group(1)} W as published", figure.source, "as published"
        )
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
