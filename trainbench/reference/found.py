"""What the checks of claims are judged from, and the form of what is found: numbers with their sources."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainbench.hardware.chips import Chip
from trainbench.reference import vocabulary
from trainbench.reference.figure import Figure


@dataclass(frozen=True)
class Source:
    """Where a number is from: the id of its row or chip, the place, and the date where there is one."""

    id: str
    text: str
    date: str | None


@dataclass(frozen=True)
class Found:
    """One number (low = high), or the range of a group of `count` rows.

    Attributes:
      group: what it is reported together with: the accelerators and the model of a pair.
      agrees: whether it meets what the check claims.
      sources: of a group from the lowest to the highest row; of a pair the numerator's first.
      differences: conditions in which the two figures of a pair differ, in words.
    """

    label: str
    group: str
    low: float
    high: float
    count: int
    agrees: bool
    differences: tuple[str, ...]
    sources: tuple[Source, ...]


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
    return Source(figure.id, figure.source, figure.date)


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


def divided(value: float | None, divide_by: str | None, chip: Chip | None) -> float | None:
    """`value` per dollar and hour ("price") or per watt ("power"); None where the chip's is not known."""
    if value is None or divide_by is None:
        return value
    if divide_by == "price":
        return value / chip.price.usd_per_hour if chip and chip.price else None
    return value / chip.rated_power.watts if chip and chip.rated_power else None


def divisor_source(divide_by: str, chip: Chip | None) -> Source:
    """Where the price or the power of a chip is from, with its amount and conditions."""
    if chip is None:
        raise ValueError("a ratio per dollar or watt needs both chips")
    if divide_by == "price" and chip.price:
        price = chip.price
        offer = f"${price.usd_per_hour:g}/h, {price.provider}, {price.region}, {price.host}"
        text = f"{offer}: {', '.join(price.source)}"
        return Source(chip.id, text, price.date)
    power = chip.rated_power
    text = f"{power.watts:g} W ({power.kind}): {', '.join(power.source)}" if power else "not known"
    return Source(chip.id, text, None)


def per_core(value: float, figure: Figure, tables: Tables) -> float:
    """A chip's rate per TensorCore; of a GPU, which has none, the same."""
    chip = tables.chip_of(figure)
    return value / ((chip.tensorcores_per_chip if chip else None) or 1)
