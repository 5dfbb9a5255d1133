"""What the checks of claims are judged from, and the form of what is found: numbers with their sources."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trainbench.hardware.chips import HOST_NOT_STATED, Chip
from trainbench.reference import economy, vocabulary
from trainbench.reference.differences import MATERIAL, Difference
from trainbench.reference.figure import Figure


@dataclass(frozen=True)
class Source:
    """Where a number is from: id of its row or chip, repository or site, the place in full, date if known."""

    id: str
    place: str
    text: str
    date: str | None


@dataclass(frozen=True)
class Divisor:
    """The price or the power that one side is divided by.

    Attributes:
      kind: what it covers: of a price whether the host is in it, of a power how it came about.
      dated: False for a price that its source gives no date for.
    """

    chip: str
    value: float
    words: str
    kind: str
    dated: bool
    source: Source


@dataclass(frozen=True)
class Found:
    """One number: of a row, a chip, or a pair of either.

    Attributes:
      label, group: what it is of, and what it is reported together with.
      agrees: whether it meets what the check claims.
      sources: of a pair the numerator's first.
      differences: conditions in which the two sides of a pair differ, in words, the material ones first.
      material: how many of them are, each of which forbids to call the pair like for like.
      divisors: of a pair per dollar or watt, the numerator's first.
    """

    label: str
    group: str
    value: float
    agrees: bool
    sources: tuple[Source, ...]
    differences: tuple[str, ...] = ()
    material: int = 0
    divisors: tuple[Divisor, ...] = ()

    @property
    def like_for_like(self) -> bool:
        """Whether no difference is material."""
        return self.material == 0

    @property
    def sides(self) -> tuple[str, ...]:
        """The ids of the rows or chips that it is made of, the numerator's first."""
        return tuple(source.id for source in self.sources)


@dataclass(frozen=True)
class Tables:
    """What claims are judged from: published figures, chips by id, and the comparable GPU of each TPU."""

    figures: Sequence[Figure]
    chips: Mapping[str, Chip]
    peers: Mapping[str, str]

    def chip_of(self, figure: Figure) -> Chip | None:
        """The chip that a figure was measured on; None where the source does not tell which board."""
        if figure.chip is not None:
            return self.chips.get(figure.chip)
        boards = self.boards(figure.accelerator)
        return boards[0] if len(boards) == 1 else None

    def boards(self, accelerator: str) -> list[Chip]:
        """All chips of one accelerator family."""
        family = vocabulary.ACCELERATOR_OF_CHIP
        return [chip for chip in self.chips.values() if family.get(chip.id) == accelerator]


def source_of(figure: Figure) -> Source:
    """Where a figure is from."""
    return Source(figure.id, figure.repository.removeprefix("https://"), figure.source, figure.date)


def specification(chip: Chip, quantity: str) -> tuple[float | None, str]:
    """A chip's 16-bit peak (TFLOP/s), memory (GB), bandwidth (TB/s) or power (W), and its field's name."""
    if quantity == "peak":
        dtype = "bf16" if chip.peak_tflops["bf16"] is not None else "fp16"
        return chip.peak_tflops[dtype], f"peak_tflops_dense_per_chip.{dtype}"
    if quantity.startswith("power."):
        return chip.power_w.get(quantity.removeprefix("power.")), f"power_w.{quantity.removeprefix('power.')}"
    memory = chip.memory_options[0] if len(chip.memory_options) == 1 else None
    if quantity == "memory":
        return (memory.nominal_gb if memory else None), "memory_gb"
    known = memory.bandwidth if memory else None
    return (None if known is None else known / 1e12), "mem_bw_gbs"


def chip_source(chip: Chip, field: str) -> Source:
    """Where a field of a chip is from."""
    places = chip.sources.get(field, ())
    return Source(chip.id, _place(places), ", ".join(places), None)


def divisors_of(divide_by: str | None, above: Chip | None, below: Chip | None) -> tuple[Divisor, ...] | None:
    """The prices or powers of both sides: empty where nothing is divided by, None where one is not known."""
    if divide_by is None:
        return ()
    one, two = (_divisor(divide_by, chip) for chip in (above, below))
    return (one, two) if one and two else None


def divided(ratio: float, divisors: tuple[Divisor, ...]) -> float:
    """A ratio per dollar and hour, or per watt."""
    return ratio * divisors[1].value / divisors[0].value if divisors else ratio


def unlike(divisors: tuple[Divisor, ...]) -> Iterator[Difference]:
    """How the prices or powers of the two sides differ in kind; a price without a date differs from any."""
    if not divisors:
        return
    one, two = divisors
    if one.kind != two.kind or HOST_NOT_STATED in (one.kind, two.kind):
        sides = f"{one.chip} {one.kind} / {two.chip} {two.kind}"
        yield Difference(sides, MATERIAL, sides)
    undated = [side.chip for side in divisors if not side.dated]
    if undated:
        words = f"price undated: {', '.join(undated)}"
        yield Difference(words, MATERIAL, words)


def _divisor(divide_by: str, chip: Chip | None) -> Divisor | None:
    if chip is None:
        return None
    known = economy.price_of(chip) if divide_by == "price" else economy.power_of(chip)
    if known.value is None:
        return None
    if divide_by == "price" and chip.price:
        kind, date, places = chip.price.host, chip.price.date, chip.price.source
    elif chip.rated_power:
        kind, date, places = chip.rated_power.kind, None, chip.rated_power.source
    dated = divide_by != "price" or date is not None
    source = Source(chip.id, _place(places), str(known), date)
    return Divisor(chip.name, known.value, known.words, kind, dated, source)


def _place(places: Sequence[str]) -> str:
    """The repository or address that the first of several sources begins with."""
    return re.split(r"[ ?]", places[0].removeprefix("https://"), maxsplit=1)[0] if places else "no source"


def per_core(value: float, figure: Figure, tables: Tables) -> float:
    """A chip's rate per TensorCore; of a GPU, which has none, the same."""
    chip = tables.chip_of(figure)
    return value / ((chip.tensorcores_per_chip if chip else None) or 1)
