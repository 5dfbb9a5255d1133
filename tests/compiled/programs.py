"""Programs to test with: the trimmed real ones of hlo/, and small ones written by hand."""

import functools
import json
from pathlib import Path
from typing import Any

from trainbench.compiled import hlo
from trainbench.compiled.hlo import Module

SAMPLES = Path(__file__).parent / "hlo"


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
