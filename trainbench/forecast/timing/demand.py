"""What the operations of a compiled program take of a chip, whatever part of its rates they reach."""

from collections.abc import Iterator

from trainbench.compiled.collectives import base_opcode, is_collective, sent_bytes
from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.compiled.trips import trips
from trainbench.forecast.timing.chip_model import ChipModel
from trainbench.forecast.timing.schedule import Kind, Operation
from trainbench.forecast.timing.work import FREE, FREE_TARGETS, Work, is_untold, work_of


class Demands:
    """The operations of one program on one chip, each worked out once; collects what could not be told."""

    def __init__(self, module: Module, chip: ChipModel) -> None:
        self.module, self.chip = module, chip
        self.unknown: list[str] = []
        self._operations: dict[tuple[str, str], Operation] = {}
        self._trips: dict[tuple[str, str], int] = {}

    def operation(self, computation: Computation, one: Instruction) -> Operation:
        """The operation with its seconds at full rates, and no time yet."""
        key = computation.name, one.name
        if key not in self._operations:
            self._operations[key] = self._operation(computation, one)
        return self._operations[key]

    def trips(self, computation: Computation, loop: Instruction) -> int:
        """How often a loop runs; 1 where that can't be told."""
        key = computation.name, loop.name
        if key not in self._trips:
            count = trips(self.module, computation, loop)
            if count is None:
                self.unknown.append(f"how often the loop {loop.name} runs: it counts once")
            self._trips[key] = 1 if count is None else count
        return self._trips[key]

    def computes(self, computation: Computation, start: Instruction) -> bool:
        """Whether this starts a kernel on another queue of a GPU: it takes units from those beside it."""
        if self.chip.platform != "gpu" or any(self._collectives(computation, start)):
            return False
        return self.module.computations[start.called[0]].root.opcode in ("fusion", "call", "custom-call")

    def _operation(self, computation: Computation, one: Instruction) -> Operation:
        overlapped = one.opcode.endswith("-start")
        work = self._transfer(computation, one) if overlapped else self._work(computation, one)
        if is_untold(computation, one):
            self.unknown.append(f"what the kernel {one.name} computes: only its arguments and results count")
        network_s, collective = self._network(computation, one)
        return Operation(
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

    def _work(self, computation: Computation, one: Instruction) -> Work:
        return work_of(self.module, computation, one, self.chip.platform)

    def _estimate(self, one: Instruction, work: Work) -> float | None:
        """Seconds by the compiler; that for GPUs knows no matrix units, so there products have none."""
        if self.chip.platform == "gpu":
            return None if work.flops else one.estimated_s
        cycles = one.estimated_cycles
        return None if cycles is None or self.chip.clock_hz is None else cycles / self.chip.clock_hz

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
        sent = sum(
            sent_bytes(place, each, self.module.devices, self.chip.devices_per_chip) for place, each in found
        )
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


def is_free(one: Instruction) -> bool:
    """Whether an instruction takes no time of its own."""
    if one.opcode in FREE or one.target in FREE_TARGETS:
        return True
    # Arithmetic on single numbers runs on the scalar unit beside the rest.
    scalar = not one.shape.is_tuple and not one.shape.dims
    return scalar and one.opcode not in ("fusion", "custom-call", "reduce") and not is_collective(one.opcode)


def _kind(one: Instruction, work: Work, collective: bool) -> Kind:
    if work.total_flops:
        return "matrix"
    if collective:
        return "collective"
    if one.opcode == "custom-call":
        return "custom"
    return "memory" if work.bytes or one.estimated_cycles else "overhead"
