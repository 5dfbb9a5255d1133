"""How long a compiled program takes: a small model over its schedule.

An operation takes at least its roofline: the longer of its FLOPs over the matrix units' peak and its bytes
over main memory's bandwidth. Where the compiler's own estimate is longer, so is the operation, by a part of
the difference (`Parameters.compiler_excess`). A loop's body counts as often as it runs.

A transfer between a `-start` and its `-done` costs only what the work between them leaves over. Transfers
take turns at main memory or at the links, and get the share of them that the operations meanwhile do not
need: no schedule moves more bytes than the bandwidth allows.
"""

from collections.abc import Iterator
from dataclasses import replace

from trainbench.forecast.channel import Channel
from trainbench.forecast.chip_model import ChipModel
from trainbench.forecast.collectives import base_opcode, is_collective, sent_bytes
from trainbench.forecast.hlo import Computation, Instruction, Module
from trainbench.forecast.schedule import FULL_RATES, Kind, Operation, Parameters, Schedule
from trainbench.forecast.trips import trips
from trainbench.forecast.work import FREE, FREE_TARGETS, KERNEL, UNTOLD, Work, stated_cost, work_of


def times(module: Module, chip: ChipModel, parameters: Parameters = FULL_RATES) -> Schedule:
    """The schedule of `module` on `chip` with a time for each operation."""
    run = _Run(module, chip, parameters)
    operations = tuple(run.computation(module.entry))
    return Schedule(operations, parameters, tuple(dict.fromkeys(run.unknown)))


class _Run:
    """One pass over a program; collects what it could not tell."""

    def __init__(self, module: Module, chip: ChipModel, parameters: Parameters) -> None:
        self.module, self.chip, self.parameters = module, chip, parameters
        self.unknown: list[str] = []

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
            elif not _is_free(one):
                operation = self._operation(computation, one)
                if operation.overlapped:
                    started[one.name] = operation
                    memory.start(one.name, operation.memory_s / self.parameters.memory_efficiency)
                    network.start(one.name, self._network_time(operation.network_s))
                else:
                    done.append(operation)
                    _spare(memory, network, [operation], self.parameters)
        # What is not waited for here is waited for by whoever takes the result.
        done.extend(replace(one, time_s=_wait(memory, network, name)) for name, one in started.items())
        return done

    def _called(self, computation: Computation, one: Instruction) -> list[Operation] | None:
        """The operations of the computations that `one` runs; None where it is an operation itself."""
        if one.opcode == "while":
            count = trips(self.module, computation, one)
            if count is None:
                self.unknown.append(f"how often the loop {one.name} runs: it counts once")
            body = self.module.computations[one.attributes["body"].lstrip("%")]
            count = 1 if count is None else count
            return [replace(inner, count=inner.count * count) for inner in self.computation(body)]
        if one.opcode == "call":
            return self.computation(self.module.computations[one.called[0]])
        if one.opcode == "conditional":
            branches = [self.computation(self.module.computations[name]) for name in one.called]
            return max(branches, key=_sum)
        if one.opcode == "async-start" and self._computes(computation, one):
            return self.computation(self.module.computations[one.called[0]])
        return None

    def _computes(self, computation: Computation, start: Instruction) -> bool:
        """Whether this starts a kernel on another queue of a GPU: it takes units from those beside it."""
        if self.chip.platform != "gpu" or any(self._collectives(computation, start)):
            return False
        return self.module.computations[start.called[0]].root.opcode in ("fusion", "call", "custom-call")

    def _operation(self, computation: Computation, one: Instruction) -> Operation:
        overlapped = one.opcode.endswith("-start")
        work = self._transfer(computation, one) if overlapped else self._work(computation, one)
        if one.target.startswith((KERNEL, *UNTOLD)) and stated_cost(one) is None:
            self.unknown.append(f"what the kernel {one.name} computes: only its arguments and results count")
        network_s, collective = self._network(computation, one)
        operation = Operation(
            name=one.name,
            opcode=one.opcode,
            origin=one.op_name,
            kind=_kind(one, work, collective),
            compiler_s=self._estimate(one, work),
            matrix_s=self._matrix(work),
            memory_s=work.bytes / self.chip.memory_bytes_per_s,
            network_s=network_s,
            time_s=0.0,
            overlapped=overlapped,
        )
        return operation if overlapped else replace(operation, time_s=self._time(operation))

    def _work(self, computation: Computation, one: Instruction) -> Work:
        return work_of(self.module, computation, one, self.chip.platform)

    def _estimate(self, one: Instruction, work: Work) -> float | None:
        """Seconds by the compiler; that for GPUs knows no matrix units, so there products have none."""
        if self.chip.platform == "gpu":
            return None if work.flops else one.estimated_s
        cycles = one.estimated_cycles
        return None if cycles is None or self.chip.clock_hz is None else cycles / self.chip.clock_hz

    def _time(self, one: Operation) -> float:
        """What an operation takes that nothing hides."""
        reached = self.parameters
        roofline = max(
            one.matrix_s / reached.matrix_efficiency,
            one.memory_s / reached.memory_efficiency,
            self._network_time(one.network_s),
        )
        return roofline + reached.compiler_excess * max(0.0, (one.compiler_s or 0.0) - roofline)

    def _network_time(self, seconds: float) -> float:
        if not seconds:
            return 0.0
        return seconds / self.parameters.collective_efficiency + self.parameters.collective_latency_s

    def _matrix(self, work: Work) -> float:
        seconds = 0.0
        for dtype, count in work.flops:
            peak = self.chip.peak(dtype)
            if peak is None:
                self.unknown.append(f"the {dtype} rate of {self.chip.name}: its products count nothing")
            seconds += count / peak if peak else 0.0
        return seconds

    def _network(self, computation: Computation, one: Instruction) -> tuple[float, bool]:
        """(seconds on the links, whether `one` is or holds a collective)."""
        found = list(self._collectives(computation, one))
        sent = sum(sent_bytes(place, each, self.chip, self.module.devices) for place, each in found)
        if sent and not self.chip.network_bytes_per_s:
            self.unknown.append(f"the links of {self.chip.name}: collectives count nothing beyond memory")
            return 0.0, True
        return (sent / self.chip.network_bytes_per_s if self.chip.network_bytes_per_s else 0.0), bool(found)

    def _collectives(
        self, computation: Computation, one: Instruction
    ) -> Iterator[tuple[Computation, Instruction]]:
        if is_collective(one.opcode):
            yield computation, one
        elif one.opcode in ("fusion", "async-start"):
            for name in one.called:
                inner = self.module.computations[name]
                for each in inner.instructions:
                    yield from self._collectives(inner, each)

    def _transfer(self, computation: Computation, start: Instruction) -> Work:
        """What a transfer moves between main memory and elsewhere."""
        if start.opcode == "async-start":
            called = self.module.computations[start.called[0]]
            return self._work(called, called.root)
        sources = [computation.by_name[name].shape for name in start.operands]
        read = sum(shape.main_memory_bytes for shape in sources)
        if start.opcode == "copy-start":
            return Work(bytes=read + start.shape.elements[0].main_memory_bytes)
        if start.opcode == "slice-start":
            part = start.shape.elements[1]
            return Work(bytes=(part.bytes if read else 0) + part.main_memory_bytes)
        # A collective. Where its result lists the operands too, they are not written.
        listed = read if base_opcode(start.opcode) != "all-reduce" else 0
        return Work(bytes=read + max(0, start.shape.main_memory_bytes - listed))


def _kind(one: Instruction, work: Work, collective: bool) -> Kind:
    if work.total_flops:
        return "matrix"
    if collective:
        return "collective"
    if one.opcode == "custom-call":
        return "custom"
    return "memory" if work.bytes or one.estimated_cycles else "overhead"


def _is_free(one: Instruction) -> bool:
    if one.opcode in FREE or one.target in FREE_TARGETS:
        return True
    # Arithmetic on single numbers runs on the scalar unit beside the rest.
    scalar = not one.shape.is_tuple and not one.shape.dims
    return scalar and one.opcode not in ("fusion", "custom-call", "reduce") and not is_collective(one.opcode)


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
