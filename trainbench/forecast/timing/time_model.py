"""How long a compiled program takes: a small model over its schedule.

An operation takes its roofline: the longer of its FLOPs over the matrix units' peak and its bytes over main
memory's bandwidth, each at the share of these rates that is reached. Where the compiler's own estimate is far
longer, the roofline is not the limit, and the operation takes the estimate (`Parameters.roofline_reach`). A
loop's body counts as often as it runs.

A transfer between a `-start` and its `-done` costs only what the work between them leaves over. Transfers
take turns at main memory or at the links, and get the share of them that the operations meanwhile do not
need: no schedule moves more bytes than the bandwidth allows.
"""

from dataclasses import replace

from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.forecast.timing.channel import Channel
from trainbench.forecast.timing.chip_model import ChipModel
from trainbench.forecast.timing.demand import Demands, is_free
from trainbench.forecast.timing.schedule import FULL_RATES, Operation, Parameters, Schedule


def times(module: Module, chip: ChipModel, parameters: Parameters = FULL_RATES) -> Schedule:
    """The schedule of `module` on `chip` with a time for each operation."""
    return timed(Demands(module, chip), parameters)


def timed(demands: Demands, parameters: Parameters) -> Schedule:
    """The schedule of a program whose demands are known; for many `parameters` one after the other."""
    operations = tuple(_Run(demands, parameters).computation(demands.module.entry))
    return Schedule(operations, parameters, tuple(dict.fromkeys(demands.unknown)))


class _Run:
    """One pass over a program."""

    def __init__(self, demands: Demands, parameters: Parameters) -> None:
        self.demands, self.module, self.parameters = demands, demands.module, parameters

    def computation(self, computation: Computation) -> list[Operation]:
        """The operations of a computation in their order, each with its time."""
        memory, network = Channel(), Channel()
        done: list[Operation] = []
        started: dict[str, Operation] = {}
        renamed: dict[str, str] = {}
        for one in computation.instructions:
            inner = self._called(computation, one)
            if inner is not None:
                done.extend(inner)
                _spare(memory, network, inner, self.parameters)
            elif one.opcode == "async-update":
                renamed[one.name] = renamed.get(one.operands[0], one.operands[0])
            elif one.opcode.endswith("-done"):
                begun = renamed.get(one.operands[0], one.operands[0])
                if begun in started:
                    wait = _wait(memory, network, begun)
                    ended = replace(started.pop(begun), name=one.name, opcode=one.opcode, time_s=wait)
                    done.append(ended)
            elif not is_free(one):
                operation = self.demands.operation(computation, one)
                if operation.overlapped:
                    started[one.name] = operation
                    _, on_memory, on_network = operation.reached(self.parameters)
                    memory.start(one.name, on_memory)
                    network.start(one.name, on_network)
                else:
                    done.append(replace(operation, time_s=self._time(operation)))
                    _spare(memory, network, done[-1:], self.parameters)
        # What is not waited for here is waited for by whoever takes the result.
        done.extend(replace(one, time_s=_wait(memory, network, name)) for name, one in started.items())
        return done

    def _called(self, computation: Computation, one: Instruction) -> list[Operation] | None:
        """The operations of the computations that `one` runs; None where it is an operation itself."""
        if one.opcode == "while":
            count = self.demands.trips(computation, one)
            body = self.module.computations[one.attributes["body"].lstrip("%")]
            return [replace(inner, count=inner.count * count) for inner in self.computation(body)]
        if one.opcode == "call":
            return self.computation(self.module.computations[one.called[0]])
        if one.opcode == "conditional":
            branches = [self.computation(self.module.computations[name]) for name in one.called]
            return max(branches, key=_sum)
        if one.opcode == "async-start" and self.demands.computes(computation, one):
            return self.computation(self.module.computations[one.called[0]])
        return None

    def _time(self, one: Operation) -> float:
        """What an operation takes that nothing hides."""
        roofline, estimate = max(one.reached(self.parameters)), one.compiler_s or 0.0
        return (
            max(roofline, estimate)
            if estimate > self.parameters.roofline_reach * one.roofline_s
            else roofline
        )


def _spare(memory: Channel, network: Channel, ran: list[Operation], reached: Parameters) -> None:
    """Let the transfers use what the operations that just ran have left of memory and links."""
    for one in ran:
        total = one.total_s
        memory.spare(total - one.count * one.memory_s / reached.memory_efficiency)
        network.spare(total - one.count * one.network_s / reached.collective_efficiency)


def _wait(memory: Channel, network: Channel, name: str) -> float:
    """Seconds that the core waits for a transfer; the other channel goes on meanwhile."""
    on_memory = memory.wait(name)
    network.spare(on_memory)
    on_network = network.wait(name)
    memory.spare(on_network)
    return on_memory + on_network


def _sum(operations: list[Operation]) -> float:
    return sum(one.total_s for one in operations)
