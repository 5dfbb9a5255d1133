"""Ratios between two published figures: which pairs are like for like, and of what the ratio is."""

import re
from collections.abc import Iterable, Iterator, Mapping

from trainbench.hardware.chips import Chip
from trainbench.reference.claim import Check, Near, attribute, matches
from trainbench.reference.figure import Figure
from trainbench.reference.found import (
    Found,
    Tables,
    divided,
    divisor_source,
    per_core,
    source_of,
    specification,
)

# Two figures whose micro-batches per chip differ by more than this are not like for like.
_BATCH_FACTOR = 2.0
_MINUTES = re.compile(r"time to train ([\d.]+) min")
_TIMES = ("minutes", "hours")
# What must be known on both sides to be the same: "not stated" twice is no agreement.
_KNOWN = {"precision_class": None, "bits": None, "padding": "not stated"}
_DIFFERING = ("precision", "framework", "data", "padding", "model_variant", "num_chips")
_PER_CHIP = frozenset({"tokens/sec", "tokens/sec/device", "TFLOP/s matmul", "TFLOP/s/device"})


def pairs(
    check: Check, above: Iterable[Figure], below: Iterable[Figure], tables: Tables
) -> Iterator[tuple[Figure, Figure]]:
    """Numerators of `above` with denominators of `below`: those alike, and those that the check names."""
    denominators = [figure for figure in below if matches(figure, check.denominator)]
    for figure in above:
        if matches(figure, check.numerator):
            for other in denominators:
                if (figure.id, other.id) in check.pairs or _alike(check, figure, other, tables.peers):
                    yield figure, other


def ratio(check: Check, above: Figure, below: Figure, tables: Tables) -> Found | None:
    """One pair's ratio; None where a side lacks the quantity, the price or the power."""
    values = [_quantity(check.quantity, check.divide_by, figure, tables) for figure in (above, below)]
    if values[0] is None or not values[1]:
        return None
    value = values[0] / values[1]
    sources = [source_of(above), source_of(below)]
    if check.divide_by:
        sources += [divisor_source(check.divide_by, tables.chip_of(figure)) for figure in (above, below)]
    name = above.name if above.name == below.name else f"{above.name} against {below.name}"
    agrees = check.claimed.agrees(value, value)
    label = f"{above.label} / {below.label}, {name}"
    group = f"{above.accelerator} / {below.accelerator}, {name}"
    return Found(label, group, value, value, 1, agrees, differences(above, below), tuple(sources))


def near(one: Near, check: Check, tables: Tables) -> Found:
    """A comparison that is not like for like, with what differs.

    Raises:
      KeyError: a row that the claim names is not in the table.
    """
    rows = {figure.id: figure for figure in tables.figures}
    above, below = rows[one.numerator], rows[one.denominator]
    values = []
    for figure in (above, below):
        value = _quantity(one.quantity, None, figure, tables) or 0.0
        if one.per == "system":
            value *= figure.num_chips or 0
        values.append(per_core(value, figure, tables) if one.per == "core" else value)
    value = values[0] / values[1]
    agrees = check.claimed.agrees(value, value)
    sources = (source_of(above), source_of(below))
    return Found(one.label, one.label, value, value, 1, agrees, differences(above, below), sources)


def differences(above: Figure, below: Figure) -> tuple[str, ...]:
    """The conditions in which two figures differ, beside the accelerator."""
    found = []
    for name in _DIFFERING:
        values = [getattr(figure, name) for figure in (above, below)]
        if values[0] != values[1]:
            words = " / ".join("not stated" if value in (None, "") else str(value) for value in values)
            found.append(f"{name.replace('_', ' ').replace('num chips', 'chips')}: {words}")
    return tuple(found)


def _alike(check: Check, above: Figure, below: Figure, peers: Mapping[str, str]) -> bool:
    """Whether two comparable figures agree in all that the check asks for, and contradict nowhere else."""
    if not _comparable(above.accelerator, below.accelerator, peers):
        return False
    # Times are to targets and over epochs that the columns don't hold.
    if check.quantity == "speed" and above.metric in _TIMES:
        return False
    if not all(_same(name, above, below) for name in check.same):
        return False
    if above.data and below.data and above.data != below.data:
        return False
    batch, other = above.micro_batch_per_chip, below.micro_batch_per_chip
    return batch is None or other is None or max(batch, other) <= _BATCH_FACTOR * min(batch, other)


def _comparable(accelerator: str, other: str, peers: Mapping[str, str]) -> bool:
    """A TPU with its GPU, either way round, and any two TPUs."""
    if accelerator in peers and other in peers:
        return True
    return other == peers.get(accelerator) or accelerator == peers.get(other)


def _same(name: str, above: Figure, below: Figure) -> bool:
    value = attribute(above, name)
    known = name not in _KNOWN or value != _KNOWN[name]
    return known and value == attribute(below, name)


def _quantity(quantity: str, divide_by: str | None, figure: Figure, tables: Tables) -> float | None:
    chip = tables.chip_of(figure)
    if quantity == "speed":
        value = _speed(figure)
    elif quantity == "minutes":
        value = _training_runs(figure)
    else:
        value = _achieved(figure, chip, as_share=quantity == "mfu")
    return divided(value, divide_by, chip)


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


def closeness(found: Found) -> tuple[int, float, str]:
    """Sorts pairs with the fewest differences first, then the highest ratio."""
    return len(found.differences), -found.low, found.label
