"""What the devices of a compiled program send to each other in one call of it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from trainbench.compiled.collectives import begins_collective, is_collective, kind_of, sent_data_bytes
from trainbench.compiled.hlo import Computation, Instruction, Module
from trainbench.compiled.trips import trips

# Operations that run what they call; the later halves of asynchronous ones only name it again.
_PRODUCTS = ("dot", "convolution")
_ASYNCHRONOUS = ("async-start", "async-update", "async-done")
_CALLS = ("fusion", "call", "async-start", "while", "conditional")


@dataclass(frozen=True)
class Sent:
    """Collectives of one kind and one group size.

    Attributes:
      kind: as HLO names it.
      group_size: devices that take part in one.
      count: how many run in one call of the program.
      bytes: that each device sends for all of them, by a ring; elements alone, without a layout's padding.
    """

    kind: str
    group_size: int
    count: int
    bytes: float


@dataclass(frozen=True)
class Traffic:
    """All collectives of a call, those that send most first; `unknown` is in words what could not be told."""

    sent: tuple[Sent, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def bytes(self) -> float:
        """That each device sends in one call."""
        return sum(one.bytes for one in self.sent)


def traffic(module: Module) -> Traffic:
    """What each of the module's devices sends in one call; groups of one device send nothing."""
    counts: dict[tuple[str, int], int] = defaultdict(int)
    sizes: dict[tuple[str, int], float] = defaultdict(float)
    unknown: list[str] = []
    for computation, one, times in _collectives(module, module.entry, 1, unknown):
        group = _group_size(one, module.devices)
        if group > 1:
            key = kind_of(computation, one), group
            counts[key] += times
            sizes[key] += times * sent_data_bytes(computation, one, module.devices)
    found = [Sent(*key, counts[key], sizes[key]) for key in counts]
    found.sort(key=lambda one: (-one.bytes, one.kind, one.group_size))
    return Traffic(tuple(found), tuple(dict.fromkeys(unknown)))


def names(module: Module) -> frozenset[str]:
    """Of the instructions that only communicate: collectives, halves of them, and fusions that hold one.

    A fusion of a collective with a matrix product computes as well.
    """
    found: set[str] = set()
    for computation in module.computations.values():
        found.update(one.name for one in computation.instructions if _communicates(module, one))
    return frozenset(found)


def _communicates(module: Module, one: Instruction) -> bool:
    if is_collective(one.opcode):
        return True
    if one.opcode not in ("fusion", *_ASYNCHRONOUS):
        return False
    inner = [each for name in one.called for each in module.computations[name].instructions]
    computes = any(each.opcode in _PRODUCTS for each in inner)
    return not computes and any(_communicates(module, each) for each in inner)


def _group_size(collective: Instruction, devices: int) -> int:
    """Devices in a group; of a permutation, which has pairs in place of groups, 2 or 1."""
    pairs = collective.attributes.get("source_target_pairs")
    if pairs is None:
        return collective.group_size(devices)
    return 1 if pairs in ("{}", "") else devices


def _collectives(
    module: Module, computation: Computation, times: int, unknown: list[str]
) -> Iterator[tuple[Computation, Instruction, int]]:
    """(where it is, collective, how often it runs), for `computation` run so many times."""
    for one in computation.instructions:
        if begins_collective(one.opcode):
            yield computation, one, times
            continue
        runs = times * _runs(module, computation, one, unknown)
        for name in one.called if runs and one.opcode in _CALLS else ():
            yield from _collectives(module, module.computations[name], runs, unknown)


def _runs(module: Module, computation: Computation, one: Instruction, unknown: list[str]) -> int:
    """How often `one` runs what it calls, each time that it is run itself."""
    if one.opcode == "while":
        count = trips(module, computation, one)
        if count is None:
            unknown.append(f"how often the loop {one.name} runs: it counts once")
        return 1 if count is None else count
    if one.opcode == "conditional":
        unknown.append(f"which branch of {one.name} runs: each counts once")
    return 1
