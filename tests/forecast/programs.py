"""Programs to test with: the trimmed real ones of hlo/, and small ones written by hand."""

import functools
import json
from pathlib import Path
from typing import Any

from trainbench.forecast.compiled import hlo
from trainbench.forecast.compiled.hlo import Module
from trainbench.forecast.timing.chip_model import ChipModel

SAMPLES = Path(__file__).parent / "hlo"

# Round numbers, so that times can be told in one's head: 1 FLOP, byte, cycle a microsecond each, or so.
CHIP = ChipModel(
    name="a test chip",
    flops_per_s={"bf16": 1e12, "fp8": None},
    memory_bytes_per_s=1e9,
    clock_hz=1e9,
    devices=4,
    network_bytes_per_s=1e8,
)


@functools.cache
def sample(name: str) -> Module:
    return hlo.parse((SAMPLES / f"{name}.txt").read_text(encoding="utf-8"))


def said_by_xla(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((SAMPLES / "said_by_xla.json").read_text(encoding="utf-8"))[name]
    return facts


def program(body: str, others: str = "", devices: int = 1) -> Module:
    """A scheduled program whose entry has the instructions of `body`."""
    header = f"HloModule test, is_scheduled=true, num_partitions={devices}"
    return hlo.parse(f"{header}\n\n{others}\n\nENTRY %main () -> () {{\n{body}\n}}\n")
