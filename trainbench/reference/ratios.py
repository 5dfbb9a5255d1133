"""Ratios between two published figures: which pairs a check compares, of what, and how the two differ.

What counts as a difference, and which differences forbid to call a pair like for like, is in `differences`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from trainbench.hardware.chips import Chip
from trainbench.reference.claim import Check, Near, attribute, matches
from trainbench.reference.differences import FACTOR, Difference, differences, facts_of
from trainbench.reference.figure import Figure
from trainbench.reference.found import (
    Found,
    Tables,
    divided,
    divisors_of,
    per_core,
    source_of,
    specification,
    unlike,
)

_MINUTES = re.compile(r"time to train ([\d.]+) min")
_TIMES = ("minutes", "hours")
# What must be known on both sides to be the same: "not stated" twice is no agreement.
_KNOWN = ("precision_class", "bits")
_PER_CHIP = frozenset({"tokens/sec", "tokens/sec/device", "TFLOP/s matmul", "TFLOP/s/device"})
# What a run and a figure must agree in to be compared at all; figures that a check compares may not.
_SUBJECT = {"name": "model", "task": "task", "image_size": "image size", "sequence_length": "sequence length"}


def pairs(
    check: Check, above: Iterable[Figure], below: Iterable[Figure], tables: Tables
) -> Iterator[tuple[Figure, Figure]]:
    """Numerators of `above` with denominators of `below`: those that may be compared, and those named."""
    denominators = [figure for figure in below if matches(figure, check.denominator)]
    for figure in above:
        if matches(figure, check.numerator):
            for other in denominators:
                if (figure.id, other.id) in check.pairs or _alike(check, figure, other, tables.peers):
                    yield figure, other


def ratio(check: Check, above: Figure, below: Figure, tables: Tables) -> Found | None:
    """One pair's ratio; None where a side lacks the quantity, the price or the power."""
    one, two = (_quantity(check.quantity, figure, tables) for figure in (above, below))
    divisors = divisors_of(check.divide_by, tables.chip_of(above), tables.chip_of(below))
    if one is None or not two or divisors is None:
        return None
    value = divided(one / two, divisors)
    one_model = above.name if above.name == below.name else ""
    name = one_model or f"{above.name} against {below.name}"
    differing = [*unlike(divisors), *between(above, below)]
    return Found(
        label=f"{above.label} / {below.label}, {name}",
        group=f"{above.accelerator} / {below.accelerator}, {one_model or 'different models'}",
        value=value,
        agrees=check.claimed.agrees(value),
        sources=(source_of(above), source_of(below)),
        differences=tuple(difference.sides for difference in differing),
        material=sum(difference.material for difference in differing),
        divisors=divisors,
    )


def near(one: Near, check: Check, tables: Tables) -> Found:
    """A comparison that does not count, with what differs.

    Raises:
      KeyError: a row that the claim names is not in the table.
    """
    rows = {figure.id: figure for figure in tables.figures}
    above, below = rows[one.numerator], rows[one.denominator]
    values = []
    for figure in (above, below):
        value = _quantity(one.quantity, figure, tables) or 0.0
        if one.per == "system":
            value *= figure.num_chips or 0
        values.append(per_core(value, figure, tables) if one.per == "core" else value)
    value = values[0] / values[1]
    differing = between(above, below)
    return Found(
        label=one.label,
        group=one.label,
        value=value,
        agrees=check.claimed.agrees(value),
        sources=(source_of(above), source_of(below)),
        differences=tuple(difference.sides for difference in differing),
        material=sum(difference.material for difference in differing),
    )


def between(above: Figure, below: Figure) -> tuple[Difference, ...]:
    """The conditions in which two figures differ, the heaviest first, by the rules for a run and a figure.

    The accelerator is left out: to compare accelerators is the question.
    """
    found = [*_subjects(above, below), *differences(facts_of(above), below)]
    conditions = [one for one in found if not one.sides.startswith("accelerator")]
    return tuple(sorted(conditions, key=_lightness))


def _subjects(above: Figure, below: Figure) -> Iterator[Difference]:
    for attribute_name, word in _SUBJECT.items():
        values = [getattr(figure, attribute_name) for figure in (above, below)]
        if values[0] != values[1]:
            words = f"{word}: {' / '.join('not stated' if value is None else str(value) for value in values)}"
            yield Difference(words, FACTOR, words)


def _lightness(difference: Difference) -> int:
    return -difference.weight


def _alike(check: Check, above: Figure, below: Figure, peers: Mapping[str, str]) -> bool:
    """Whether two figures are of comparable chips and agree in all that the check asks for."""
    if not _comparable(above.accelerator, below.accelerator, peers):
        return False
    # Times are to targets and over epochs that the columns don't hold.
    if check.quantity == "speed" and above.metric in _TIMES:
        return False
    return all(_same(name, above, below) for name in check.same)


def _comparable(accelerator: str, other: str, peers: Mapping[str, str]) -> bool:
    """A TPU with its GPU, either way round, and any two TPUs."""
    if accelerator in peers and other in peers:
        return True
    return other == peers.get(accelerator) or accelerator == peers.get(other)


def _same(name: str, above: Figure, below: Figure) -> bool:
    one, two = attribute(above, name), attribute(below, name)
    if name == "padding":
        # Not stated may be the same; known to differ moves the rate by a factor.
        return one == two or "not stated" in (one, two)
    return one == two and not (name in _KNOWN and one is None)


def _quantity(quantity: str, figure: Figure, tables: Tables) -> float | None:
    if quantity == "speed":
        return _speed(figure)
    if quantity == "minutes":
        return _training_runs(figure)
    return _achieved(figure, tables.chip_of(figure), as_share=quantity == "mfu")


def _speed(figure: Figure) -> float | None:
    """Per chip, in the figure's own unit; a time is turned into runs per minute and chip."""
    if figure.metric in _TIMES:
        minutes = figure.value * (60 if figure.metric == "hours" else 1)
        return 1 / (minutes * figure.num_chips) if figure.num_chips else None
    rate = figure.samples_per_s_per_chip
    return figure.value_per_chip if rate is None and figure.metric in _PER_CHIP else rate


def _training_runs(figure: Figure) -> float | None:
    """Complete training runs per minute and chip, from the time to train that an MLPerf row's note states."""
    found = _MINUTES.search(figure.note)
    return 1 / (float(found[1]) * figure.num_chips) if found and figure.num_chips else None


def _achieved(figure: Figure, chip: Chip | None, *, as_share: bool) -> float | None:
    """Model TFLOP/s per chip, or their share of the 16-bit peak in per cent; each gives the other."""
    peak = specification(chip, "peak")[0] if chip else None
    value = figure.value if figure.metric == "MFU%" else figure.value_per_chip
    if value is None or figure.metric not in ("MFU%", "TFLOP/s/device"):
        return None
    if (figure.metric == "MFU%") == as_share:
        return value
    if peak is None:
        return None
    return 100 * value / peak if as_share else value / 100 * peak


def closeness(found: Found) -> tuple[int, int, float, str]:
    """Sorts pairs with the fewest material differences first, then the fewest, then the highest ratio."""
    return found.material, len(found.differences), -found.value, found.label
