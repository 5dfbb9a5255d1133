"""Compiled programs in XLA's text form, read as far as a time model needs it.

jaxlib can parse this text (`jaxlib._hlo.hlo_module_from_text`), but what it then shows of an instruction in
jaxlib 0.10 is name, opcode and operands: no shape, no called computation, no attribute. Jaxlib 0.12 adds the
shape only. Both are private. So we read the text, one instruction a line, as XLA prints it.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainbench.compiled.shape import Shape, split_top_level
from trainbench.compiled.shape import parse as parse_shape

# What the compiler writes where it has no estimate; negative numbers mean the same.
UNKNOWN_CYCLES = 2**63 - 1

# The model of XLA for GPUs for fusions that Triton computes tile by tile. The other, which has no name, takes
# it that each element of a softmax computes its row anew: 500,000 times as long (jaxlib 0.10.2).
TILED_MODEL = "indexing-cost-model"

_HEADER = re.compile(r"HloModule (?P<name>[^,\s]+)")
_PARTITIONS = re.compile(r"\bnum_partitions=(\d+)")
_REPLICAS = re.compile(r"\breplica_count=(\d+)")
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[^\s(]+) (?:\(.*)?\{\s*$")
_INSTRUCTION = re.compile(r"(?P<root>ROOT )?%?(?P<name>[^\s=]+) = ")
# Lines that go on with an instruction: the metadata of a Pallas kernel are written over several.
_CONTINUED = ('"', "}}")
_OPCODE = re.compile(r"\s*(?P<opcode>[a-z][\w-]*)\(")
_INDEX_NOTE = re.compile(r"/\*index=\d+\*/")
_BRACKETS = re.compile(r'\\.|["()]')
_CALLED = ("calls", "to_apply", "body", "condition", "true_computation", "false_computation")
# mesh['x'=4,'y'=2] {'x'}: groups along the named axes; between the two may stand the devices' order.
_MESH_GROUPS = re.compile(r"mesh\[(?P<axes>[^\]]*)\][^{]*\{(?P<over>[^}]*)\}")
_MESH_AXIS = re.compile(r"'([^']+)'(?:=(\d+))?")
# [2,4]<=[8]: two groups of four.
_COUNTED_GROUPS = re.compile(r"\[(\d+),(\d+)\]<=")
_LISTED_GROUP = re.compile(r"\{\s*([\d,\s]+)\}")


@dataclass(frozen=True)
class Instruction:
    """One operation.

    Attributes:
      shape: of the result; a tuple for several results.
      operands: names of the instructions whose results it takes; empty for a constant or a parameter.
      literal: what stands in the parentheses: a constant's value, a parameter's number, else the operands.
      rest: the attributes as text; `attributes` has them apart.
    """

    name: str
    opcode: str
    shape: Shape
    operands: tuple[str, ...]
    literal: str = field(repr=False)
    rest: str = field(repr=False)
    is_root: bool

    @functools.cached_property
    def attributes(self) -> Mapping[str, str]:
        pairs = (part.partition("=") for part in split_top_level(self.rest))
        return {key.strip(): value for key, _, value in pairs}

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it calls; those of a conditional are all of its branches."""
        names = [self.attributes[key] for key in _CALLED if key in self.attributes]
        branches = self.attributes.get("branch_computations", "{}")
        return tuple(name.lstrip("%") for name in (*names, *split_top_level(branches.strip("{}"))))

    @functools.cached_property
    def backend_config(self) -> Mapping[str, Any]:
        """What the compiler's back end wrote about it; empty where that is nothing, or no JSON."""
        text = self.attributes.get("backend_config", "")
        try:
            # Older programs have it as a quoted string.
            config = json.loads(json.loads(text) if text.startswith('"') else text)
        except ValueError:
            return {}
        return config if isinstance(config, dict) else {}

    @property
    def estimated_cycles(self) -> int | None:
        """The compiler's own estimate of core clock cycles; None where it has none."""
        # Only fused loops carry one, most operations don't: that spares reading the JSON of the others.
        if "estimated_cycles" not in self.rest:
            return None
        window = self.backend_config.get("window_config") or {}
        cycles = int(window.get("estimated_cycles", -1))
        return cycles if 0 <= cycles < UNKNOWN_CYCLES else None

    @property
    def estimated_s(self) -> float | None:
        """The estimate of the compiler for GPUs in seconds, if it was asked for one; None where it has none.

        Both models that it is from count bytes over the bandwidth as caches and coalescing leave it, and
        scalar operations over the rate of the vector units, the two nearly hidden behind each other, and no
        time to launch a kernel. Products are scalar operations to them: no estimate to use.
        """
        if "reification_cost" not in self.rest:
            return None
        costs = self.backend_config.get("reification_cost") or []
        by_model = {cost.get("name", ""): cost["exec_time_us"] for cost in costs}
        microseconds = by_model.get(TILED_MODEL, by_model.get(""))
        return None if microseconds is None else float(microseconds) * 1e-6

    @property
    def target(self) -> str:
        """What a custom call calls; empty for other operations."""
        return self.attributes.get("custom_call_target", "").strip('"')

    @property
    def op_name(self) -> str:
        """Where in the traced program it comes from, such as `jit(step)/jvp(attention)/dot_general`."""
        found = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes.get("metadata", ""))
        return found[1].replace("\\'", "'") if found else ""

    def group_size(self, devices: int) -> int:
        """How many of the program's `devices` take part together in this collective."""
        groups = self.attributes.get("replica_groups", "")
        # A mesh whose devices are in another order has that after a comma, and only then its axes.
        return _group_size(groups + self.attributes.get("device_ids", ""), devices)


@dataclass(frozen=True)
class Computation:
    """A function: instructions in the order of the text, which is the schedule where the module has one."""

    name: str
    lines: tuple[str, ...] = field(repr=False)

    @functools.cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        return tuple(_instruction(line) for line in self.lines)

    @functools.cached_property
    def by_name(self) -> Mapping[str, Instruction]:
        return {instruction.name: instruction for instruction in self.instructions}

    @functools.cached_property
    def parameters(self) -> tuple[Instruction, ...]:
        """In the order of their numbers."""
        found = (one for one in self.instructions if one.opcode == "parameter")
        return tuple(sorted(found, key=lambda parameter: int(parameter.literal)))

    @functools.cached_property
    def users(self) -> Mapping[str, tuple[Instruction, ...]]:
        """By name, the instructions that take its result."""
        found: dict[str, list[Instruction]] = {}
        for instruction in self.instructions:
            for operand in dict.fromkeys(instruction.operands):
                found.setdefault(operand, []).append(instruction)
        return {name: tuple(users) for name, users in found.items()}

    @property
    def root(self) -> Instruction:
        return next(one for one in self.instructions if one.is_root)


@dataclass(frozen=True)
class Module:
    """A compiled program for one device of `devices` that run it together.

    `is_scheduled` tells that the order of the instructions is the order in which they start.
    """

    name: str
    computations: Mapping[str, Computation] = field(repr=False)
    entry: Computation
    is_scheduled: bool
    devices: int


def parse(text: str) -> Module:
    """The program that `text` describes.

    Raises:
      ValueError: it is no XLA program, or has no entry.
    """
    header = _HEADER.match(text)
    if header is None:
        raise ValueError(f"not a compiled XLA program: {text[:80]!r}")
    first_line = text[: text.find("\n")]
    computations, entry = {}, None
    for computation, is_entry in _computations(text):
        computations[computation.name] = computation
        entry = computation if is_entry else entry
    if entry is None:
        raise ValueError(f"the XLA program {header['name']} has no entry: was its text cut off?")
    partitions, replicas = _PARTITIONS.search(first_line), _REPLICAS.search(first_line)
    devices = int(partitions[1] if partitions else 1) * int(replicas[1] if replicas else 1)
    return Module(header["name"], computations, entry, "is_scheduled=true" in first_line, devices)


def _computations(text: str) -> Iterator[tuple[Computation, bool]]:
    """Each computation, and whether it is the entry."""
    head: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if head is None:
            head, lines = _COMPUTATION.match(line), []
        elif lines and line.startswith(_CONTINUED):
            lines[-1] += line
        elif line.startswith("}"):
            yield Computation(head["name"], tuple(lines)), head["entry"] is not None
            head = None
        elif line.strip():
            lines.append(line)


def _instruction(line: str) -> Instruction:
    text = _INDEX_NOTE.sub("", line).strip() if "/*" in line else line.strip()
    start = _INSTRUCTION.match(text)
    if start is None:
        raise ValueError(f"not an XLA instruction: {text[:200]!r}")
    shape_end = _closing(text, start.end()) if text[start.end()] == "(" else text.index(" ", start.end())
    opcode = _OPCODE.match(text, shape_end)
    if opcode is None:
        raise ValueError(f"an XLA instruction without an opcode: {text[:200]!r}")
    end = _closing(text, opcode.end() - 1)
    literal = text[opcode.end() : end - 1]
    # Operands may be written with their shapes in front.
    named = opcode["opcode"] not in ("constant", "parameter")
    operands = tuple(part.split()[-1].lstrip("%") for part in split_top_level(literal)) if named else ()
    return Instruction(
        name=start["name"],
        opcode=opcode["opcode"],
        shape=parse_shape(text[start.end() : shape_end]),
        operands=operands,
        literal=literal,
        rest=text[end:].lstrip(", "),
        is_root=start["root"] is not None,
    )


def _closing(text: str, start: int) -> int:
    """Where the bracket at `start` has been closed: the place after it."""
    depth, quoted = 0, False
    for mark in _BRACKETS.finditer(text, start):
        if mark[0] == '"':
            quoted = not quoted
        elif mark[0] == "(" and not quoted:
            depth += 1
        elif mark[0] == ")" and not quoted:
            depth -= 1
            if depth == 0:
                return mark.end()
    raise ValueError(f"an unclosed bracket in an XLA instruction: {text[:200]!r}")


def _group_size(groups: str, devices: int) -> int:
    mesh = _MESH_GROUPS.search(groups)
    if mesh:
        sizes = {name: int(size) for name, size in _MESH_AXIS.findall(mesh["axes"])}
        product = 1
        for name, _ in _MESH_AXIS.findall(mesh["over"]):
            product *= sizes.get(name, 1)
        return product
    counted = _COUNTED_GROUPS.search(groups)
    if counted:
        return int(counted[2])
    listed = _LISTED_GROUP.search(groups)
    # No groups, or an empty list, means all.
    return len(listed[1].split(",")) if listed else devices
