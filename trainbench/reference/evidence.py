"""What the tables of figures and of chips say about one check of a claim.

Pure: figures and chips in, `Found` out. Every speed is per chip unless a check says otherwise.
"""

from collections.abc import Iterator

from trainbench.hardware.chips import Chip
from trainbench.reference import ratios, vocabulary
from trainbench.reference.claim import Check, matches
from trainbench.reference.figure import Figure
from trainbench.reference.found import (
    Found,
    Tables,
    chip_source,
    divided,
    divisors_of,
    per_core,
    source_of,
    specification,
    unlike,
)


def gather(check: Check, tables: Tables) -> list[Found]:
    """Everything that bears on `check`; for ratios the pairs with the fewest differences come first."""
    if check.kind == "rate":
        return sorted(_rates(check, tables), key=_by_group_and_value)
    if check.kind == "specification":
        return [*_specifications(check, tables), *_measured(check, tables)]
    if check.kind == "peak_ratio":
        return list(_peak_ratios(check, tables))
    pairs = ratios.pairs(check, tables.figures, tables.figures, tables)
    found = (ratios.ratio(check, above, below, tables) for above, below in pairs)
    return sorted((one for one in found if one), key=ratios.closeness)


def rate(figure: Figure, per: str, tables: Tables) -> float | None:
    """Samples, batches or micro-batches per second as `per` asks for; None where the row does not tell."""
    speed = figure.samples_per_s_per_chip
    if speed is None or per == "chip":
        return speed
    if per == "core":
        return per_core(speed, figure, tables)
    if per == "step":
        total = None if figure.num_chips is None else speed * figure.num_chips
        return None if total is None or not figure.global_batch else total / figure.global_batch
    return speed / figure.micro_batch_per_chip if figure.micro_batch_per_chip else None


def group_label(figure: Figure) -> str:
    """The conditions that rates are grouped by: task, size, precision class."""
    size = [f"{figure.sequence_length} tokens"] if figure.sequence_length else []
    size += [f"{figure.image_size} pixels"] if figure.image_size else []
    words = [figure.task.replace("_", " "), *(size or ["size not stated"])]
    return ", ".join([*words, figure.precision_class or "precision not stated"])


def _rates(check: Check, tables: Tables) -> Iterator[Found]:
    for figure in tables.figures:
        value = rate(figure, check.per, tables) if matches(figure, check.rows) else None
        if value is not None:
            agrees = check.claimed.agrees(value)
            yield Found(figure.label, group_label(figure), value, agrees, (source_of(figure),))


def _specifications(check: Check, tables: Tables) -> Iterator[Found]:
    for name in check.chips:
        chip = tables.chips[name]
        for quantity in check.quantities:
            value, field = specification(chip, quantity)
            if value is not None:
                kind = quantity.partition(".")[2]
                label = f"{chip.name} ({kind})" if kind else chip.name
                yield Found(label, label, value, check.claimed.agrees(value), (chip_source(chip, field),))


def _measured(check: Check, tables: Tables) -> Iterator[Found]:
    for figure in tables.figures:
        if check.rows and matches(figure, check.rows):
            label = f"{figure.label}, measured, {figure.precision}"
            agrees = check.claimed.agrees(figure.value)
            yield Found(label, label, figure.value, agrees, (source_of(figure),))


def _peak_ratios(check: Check, tables: Tables) -> Iterator[Found]:
    for accelerator in check.numerator or tables.peers:
        others = check.denominator or [tables.peers[accelerator]]
        for above in tables.boards(accelerator):
            for below in (chip for other in others for chip in tables.boards(other)):
                found = _peak_ratio(check, above, below)
                if found:
                    yield found


def _peak_ratio(check: Check, above: Chip, below: Chip) -> Found | None:
    (one, field), (two, other_field) = specification(above, "peak"), specification(below, "peak")
    divisors = divisors_of(check.divide_by, above, below)
    if one is None or not two or divisors is None:
        return None
    value = divided(one / two, divisors)
    return Found(
        label=f"{above.name} / {below.name}",
        group=" / ".join(vocabulary.ACCELERATOR_OF_CHIP[chip.id] for chip in (above, below)),
        value=value,
        agrees=check.claimed.agrees(value),
        sources=(chip_source(above, field), chip_source(below, other_field)),
        differences=tuple(one.sides for one in unlike(divisors)),
        material=sum(one.material for one in unlike(divisors)),
        divisors=divisors,
    )


def _by_group_and_value(found: Found) -> tuple[str, float]:
    return found.group, found.value
