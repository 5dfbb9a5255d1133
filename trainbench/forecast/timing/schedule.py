"""A compiled program's operations with a time for each, and what they add up to.

Two totals:
- `roofline_s`: the program's FLOPs and bytes at full rates, transfers perfectly hidden. Nothing is fitted.
  The program is no faster, unless a GPU's cache keeps arrays from one kernel to the next;
- `expected_s`: with the compiler's estimates, the schedule's own overlap, and `Parameters`. At
  `FULL_RATES` it is what the compiler says, else what published figures have made of that.
"""

from dataclasses import dataclass
from typing import Literal

# Of calibrated forecasts. libtpu takes even the sum of two arrays in main memory for up to 2.5 times the time
# of its bytes (0.0.42.1, v4 to v5p; 0.0.50.1, 7x). What it takes for much longer works on vector units, or on
# arrays in on-chip memory, and the roofline says nothing of either.
ROOFLINE_REACH = 4.0

Kind = Literal["matrix", "memory", "collective", "custom", "overhead"]


@dataclass(frozen=True)
class Parameters:
    """What a program reaches of its limits; the defaults are the limits, and the compiler taken at its word.

    Attributes:
      matrix_efficiency: share of the matrix units' peak, where that is the limit.
      memory_efficiency: share of main memory's bandwidth.
      collective_efficiency: share of the links' bandwidth.
      roofline_reach: an operation whose estimate by the compiler is no more than this many times its roofline
        takes the roofline, at the shares above; beyond, something else limits it, and it takes the estimate.
      collective_latency_s: of a collective, beyond what its bytes take.
    """

    matrix_efficiency: float = 1.0
    memory_efficiency: float = 1.0
    collective_efficiency: float = 1.0
    roofline_reach: float = 1.0
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

    def reached(self, rates: Parameters) -> tuple[float, float, float]:
        """Seconds on the matrix units, on main memory and on the links at what is reached of their rates."""
        latency_s = rates.collective_latency_s if self.network_s else 0.0
        return (
            self.matrix_s / rates.matrix_efficiency,
            self.memory_s / rates.memory_efficiency,
            self.network_s / rates.collective_efficiency + latency_s,
        )


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
    def roofline_s(self) -> float:
        """The longest of what core, memory and links do, each without a pause."""
        core = sum(one.roofline_s * one.count for one in self.operations if not one.overlapped)
        memory = sum(one.memory_s * one.count for one in self.operations)
        network = sum(one.network_s * one.count for one in self.operations)
        return max(core, memory, network)

    @property
    def unestimated_s(self) -> float:
        """The part of `expected_s` that rests on the roofline alone, without an estimate of the compiler."""
        return sum(one.total_s for one in self.operations if one.compiler_s is None)
