"""What limits a forecast step, and which operations take most of it."""

from collections import defaultdict
from dataclasses import dataclass

from trainbench.forecast.schedule import Operation, Schedule

MATRIX, MEMORY, VECTOR = "matrix units", "HBM", "vector units"
COLLECTIVES, OVERHEAD = "collectives", "overhead"
LIMITS = (MATRIX, MEMORY, VECTOR, COLLECTIVES, OVERHEAD)
# An estimate of the compiler up to this many times the roofline is put down to what bounds the roofline,
# used below its peak; beyond it, to the vector units, whose work the roofline does not count.
FILL = 2.0


@dataclass(frozen=True)
class Part:
    """What one limit or one place of the traced program takes of a step; `share` is of its expected time."""

    name: str
    seconds: float
    share: float


def limit_of(one: Operation) -> str:
    """What bounds an operation, one of LIMITS."""
    if one.network_s and one.network_s >= max(one.matrix_s, one.memory_s):
        return COLLECTIVES
    if one.kind == "collective":
        return COLLECTIVES
    if one.overlapped:
        return MEMORY
    if one.kind == "overhead" or not (one.roofline_s or one.compiler_s):
        return OVERHEAD
    if (one.compiler_s or 0.0) > FILL * one.roofline_s:
        return VECTOR
    return MATRIX if one.matrix_s >= one.memory_s else MEMORY


def limits(schedule: Schedule) -> tuple[Part, ...]:
    """What each limit takes of the expected time, the largest first; what takes nothing is left out."""
    seconds: dict[str, float] = defaultdict(float)
    for one in schedule.operations:
        seconds[limit_of(one)] += one.total_s
    return _parts(seconds, schedule.expected_s)


def top(schedule: Schedule, most: int = 10) -> tuple[Part, ...]:
    """The places of the traced program that take most time, the largest first.

    Operations of the same place are taken together, as those of like layers are; one without a place goes
    under its opcode.
    """
    seconds: dict[str, float] = defaultdict(float)
    for one in schedule.operations:
        seconds[one.origin or one.opcode] += one.total_s
    return _parts(seconds, schedule.expected_s)[:most]


def _parts(seconds: dict[str, float], whole: float) -> tuple[Part, ...]:
    parts = (Part(name, took, took / whole if whole else 0.0) for name, took in seconds.items() if took > 0)
    return tuple(sorted(parts, key=lambda part: part.seconds, reverse=True))
