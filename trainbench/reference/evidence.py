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
    Source,
    Tables,
    divided,
    divisor_source,
    per_core,
    source_of,
    specification,
)


def gather(check: Check, tables: Tables) -> list[Found]:
    """Everything that bears on `check`; for ratios the pairs with the fewest differences come first."""
    if check.kind == "rate":
        return list(_groups(check, tables))
    if check.kind == "specification":
        return [*_specifications(check, tables), *_measured(check, tables)]
    if check.kind == "peak_ratio":
        return list(_peak_ratios(check, tables))
    found = (
        ratios.ratio(check, above, below, tables)
        for above, below in ratios.pairs(check, tables.figures, tables.figures, tables)
    )
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


def _groups(check: Check, tables: Tables) -> Iterator[Found]:
    grouped: dict[str, list[tuple[float, Figure]]] = {}
    for figure in tables.figures:
        value = rate(figure, check.per, tables) if matches(figure, check.rows) else None
        if value is not None:
            grouped.setdefault(group_label(figure), []).append((value, figure))
    for label in sorted(grouped):
        rows = sorted(grouped[label], key=_by_value)
        low, high = rows[0][0], rows[-1][0]
        sources = tuple(source_of(figure) for _, figure in rows)
        yield Found(label, label, low, high, len(rows), check.claimed.agrees(low, high), (), sources)


def _specifications(check: Check, tables: Tables) -> Iterator[Found]:
    for name in check.chips:
        chip = tables.chips[name]
        for quantity in check.quantities:
            value, field = specification(chip, quantity)
            if value is not None:
                kind = quantity.partition(".")[2]
                label = f"{chip.name} ({kind})" if kind else chip.name
                source = Source(chip.id, ", ".join(chip.sources.get(field, ())), None)
                yield Found(label, label, value, value, 1, check.claimed.agrees(value, value), (), (source,))


def _measured(check: Check, tables: Tables) -> Iterator[Found]:
    for figure in tables.figures:
        if check.rows and matches(figure, check.rows):
            agrees = check.claimed.agrees(figure.value, figure.value)
            label = f"{figure.label}, measured, {figure.precision}"
            yield Found(label, label, figure.value, figure.value, 1, agrees, (), (source_of(figure),))


def _peak_ratios(check: Check, tables: Tables) -> Iterator[Found]:
    for accelerator in check.numerator or tables.peers:
        others = check.denominator or [tables.peers[accelerator]]
        for above in tables.boards(accelerator):
            for below in (chip for other in others for chip in tables.boards(other)):
                one, two = (divided(specification(c, "peak")[0], check.divide_by, c) for c in (above, below))
                if one is not None and two:
                    yield _peak_ratio(check, above, below, one / two)


def _peak_ratio(check: Check, above: Chip, below: Chip, value: float) -> Found:
    sources = []
    for chip in (above, below):
        field = specification(chip, "peak")[1]
        sources.append(Source(chip.id, ", ".join(chip.sources.get(field, ())), None))
        if check.divide_by:
            sources.append(divisor_source(check.divide_by, chip))
    label = f"{above.name} / {below.name}"
    group = " / ".join(vocabulary.ACCELERATOR_OF_CHIP[chip.id] for chip in (above, below))
    return Found(label, group, value, value, 1, check.claimed.agrees(value, value), (), tuple(sources))


def _by_value(row: tuple[float, Figure]) -> float:
    return row[0]
