"""What limits a forecast step, and which operations take most of it."""

from collections import defaultdict
from dataclasses import dataclass

from trainbench.forecast.timing.schedule import FULL_RATES, ROOFLINE_REACH, Operation, Parameters, Schedule

MATRIX, MEMORY, VECTOR = "matrix units", "main memory", "vector units"
COLLECTIVES, OVERHEAD = "collectives", "overhead"
LIMITS = (MATRIX, MEMORY, VECTOR, COLLECTIVES, OVERHEAD)


@dataclass(frozen=True)
class Part:
    """What one limit or one place of the traced program takes of a step; `share` is of its expected time."""

    name: str
    seconds: float
    share: float


def limit_of(one: Operation, rates: Parameters = FULL_RATES) -> str:
    """What bounds an operation that was timed with `rates`, one of LIMITS."""
    on_matrix, on_memory, on_network = one.reached(rates)
    if one.kind == "collective" or (on_network and on_network >= max(on_matrix, on_memory)):
        return COLLECTIVES
    if one.overlapped:
        return MEMORY
    if one.kind == "overhead" or not (one.roofline_s or one.compiler_s):
        return OVERHEAD
    if one.time_s > ROOFLINE_REACH * one.roofline_s:
        return VECTOR
    return MATRIX if on_matrix >= on_memory else MEMORY


def limits(schedule: Schedule) -> tuple[Part, ...]:
    """What each limit takes of the expected time, the largest first; what takes nothing is left out."""
    seconds: dict[str, float] = defaultdict(float)
    for one in schedule.operations:
        seconds[limit_of(one, schedule.parameters)] += one.total_s
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
