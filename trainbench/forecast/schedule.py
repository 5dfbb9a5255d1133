"""A compiled program's operations with a time for each, and what they add up to.

Three totals, none of them fitted to anything:
- `roofline_s`: FLOPs and bytes alone; nothing can be faster, much is slower;
- `optimistic_s`: with the compiler's cycles, transfers perfectly hidden, at full rates;
- `expected_s`: with the schedule's own overlap, and with `Parameters`.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["matrix", "memory", "collective", "custom", "overhead"]


@dataclass(frozen=True)
class Parameters:
    """What a program reaches of its limits; the defaults are the limits, and the compiler taken at its word.

    Attributes:
      matrix_efficiency: share of the matrix units' peak, where that is the limit.
      memory_efficiency: share of main memory's bandwidth.
      collective_efficiency: share of the links' bandwidth.
      compiler_excess: of the time by which the compiler's own estimate of an operation exceeds the roofline,
        the part that really comes. 0: all of it is hidden or never was; 1: all of it comes.
      collective_latency_s: of a collective, beyond what its bytes take.
    """

    matrix_efficiency: float = 1.0
    memory_efficiency: float = 1.0
    collective_efficiency: float = 1.0
    compiler_excess: float = 1.0
    collective_latency_s: float = 0.0


FULL_RATES = Parameters()


@dataclass(frozen=True)
class Operation:
    """One operation of the schedule; times are for one execution, in seconds.

    Attributes:
      origin: where in the traced program it comes from; may be empty.
      compiler_s: by the compiler's estimate; None where it has none.
      matrix_s, memory_s, network_s: at the full rates of the matrix units, main memory and the links.
      time_s: what it adds to the step by the model; of a transfer, what the work meanwhile does not hide.
      count: how often it runs in a step.
      overlapped: whether it is a transfer that runs beside other work.
    """

    name: str
    opcode: str
    origin: str
    kind: Kind
    compiler_s: float | None
    matrix_s: float
    memory_s: float
    network_s: float
    time_s: float
    count: int = 1
    overlapped: bool = False

    @property
    def roofline_s(self) -> float:
        return max(self.matrix_s, self.memory_s, self.network_s)

    @property
    def total_s(self) -> float:
        return self.time_s * self.count


@dataclass(frozen=True)
class Schedule:
    """The operations of one step on one device.

    `unknown` says in words what could not be told, such as how often a loop runs: the times are too small
    by that.
    """

    operations: tuple[Operation, ...]
    parameters: Parameters
    unknown: tuple[str, ...] = ()

    @property
    def expected_s(self) -> float:
        return sum(one.total_s for one in self.operations)

    @property
    def optimistic_s(self) -> float:
        return self._hidden([max(one.compiler_s or 0.0, one.roofline_s) for one in self.operations])

    @property
    def roofline_s(self) -> float:
        return self._hidden([one.roofline_s for one in self.operations])

    @property
    def compiler_s(self) -> float:
        """The compiler's own estimates alone, loops multiplied; what has none counts nothing."""
        return sum((one.compiler_s or 0.0) * one.count for one in self.operations)

    @property
    def unestimated_s(self) -> float:
        """The part of `expected_s` that rests on the roofline alone, without an estimate of the compiler."""
        return sum(one.total_s for one in self.operations if one.compiler_s is None)

    def _hidden(self, times: list[float]) -> float:
        """The longest of what core, memory and links do, each without a pause."""
        pairs = list(zip(self.operations, times, strict=True))
        core = sum(time * one.count for one, time in pairs if not one.overlapped)
        memory = sum(one.memory_s * one.count for one in self.operations)
        network = sum(one.network_s * one.count for one in self.operations)
        return max(core, memory, network)
