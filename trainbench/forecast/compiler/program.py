"""What a compiler says of one training step: the program, or that it is too large."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"
# Two wordings of libtpu 0.0.52: of a program that was laid out, and of one that was given up before.
_USED = re.compile(rf"Used {_SIZE}i?B? of {_SIZE}i?B? hbm", re.IGNORECASE)
_TOTAL = re.compile(rf"\({_SIZE}\) exceeds available HBM \({_SIZE}\)")


@dataclass(frozen=True)
class ProgramMemory:
    """Memory of one call, in bytes per device, by the compiler's `memory_analysis`.

    `alias_bytes` of the output lie in donated arguments; `peak_bytes` is the sum of the others less these.
    What cuDNN takes for itself on a GPU is not in it: XLA chooses its algorithms only on the real device.
    """

    argument_bytes: int
    output_bytes: int
    temp_bytes: int
    alias_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Program:
    """A step that was compiled for a target.

    Attributes:
      hlo: the scheduled program of one device, as text.
      available_bytes: of one device's memory, what the compiler may lay out; of a GPU's, what JAX takes.
      optimal_s: the compiler's optimistic estimate of one call as it stands. Each operation of unknown cost
        has added -1 to it, loop bodies are in it once, and collectives not at all. None for GPUs, as are:
      flops, bytes: of one call on one device; loop bodies once.
      versions: of what compiled it.
    """

    hlo: str
    memory: ProgramMemory
    available_bytes: int | None
    optimal_s: float | None
    flops: float | None
    bytes: float | None
    compile_s: float
    versions: Mapping[str, str | None]


@dataclass(frozen=True)
class TooLarge:
    """A step that a device's memory does not hold.

    Attributes:
      needed_bytes: per device; None where the step was not even compiled.
      available_bytes: per device; None where the compiler doesn't say.
      reason: in a line.
    """

    needed_bytes: int | None
    available_bytes: int | None
    reason: str
    compile_s: float
    versions: Mapping[str, str | None]


Outcome = Program | TooLarge


def fitting(program: Program) -> bool:
    """Whether a program that was compiled fits: XLA compiles for GPUs also what is larger than the memory."""
    return program.available_bytes is None or program.memory.peak_bytes <= program.available_bytes


def too_large(program: Program) -> TooLarge:
    """What is left to say of a program that was compiled and does not fit."""
    needed, available = program.memory.peak_bytes, program.available_bytes
    reason = f"the compiled program needs {needed} bytes of {available}"
    return TooLarge(needed, available, reason, program.compile_s, program.versions)


def is_out_of_memory(text: str) -> bool:
    """Whether this is what a compiler says of a program that is too large for the device's main memory."""
    return "RESOURCE_EXHAUSTED" in text and "hbm" in text.lower()


def needed_and_available(text: str) -> tuple[int | None, int | None]:
    """Bytes per device in a compiler's out-of-memory error; None for what it doesn't say.

    >>> needed_and_available("RESOURCE_EXHAUSTED: ... Used 20.5G of 15.48G hbm. Exceeded hbm capacity by ...")
    (22011707392, 16621523435)
    """
    said = _USED.search(text) or _TOTAL.search(text)
    if said is None:
        return None, None
    needed, needed_unit, available, available_unit = said.groups()
    return _bytes(needed, needed_unit), _bytes(available, available_unit)


def _bytes(value: str, unit: str) -> int:
    return int(float(value) * _UNITS[unit.upper()])
