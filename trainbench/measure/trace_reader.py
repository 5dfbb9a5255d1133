"""What a recorded trace says, read with xprof's converters; a program of its own:

    python -m trainbench.measure.trace_reader SESSION < PROGRAM

prints a `Reading` as JSON. PROGRAM is the text of the program that ran, which a trace of a CPU lacks where
the program came out of the compilation cache. The converters are native code, which writes to stderr what it
likes and may end the process on a damaged file: a measurement must not be lost to that.

Operations come from xprof's table of HLO operations, which it makes of the device planes of a GPU or a TPU
(docs/hlo_op_stats.md of github.com/openxla/xprof). A trace of a CPU has no such plane and the table is empty
(xprof 2.24.2): there the operations are added up here, from XLA's events on the host's threads.
"""

import json
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainbench.compiled import hlo, traffic
from trainbench.measure.trace_events import Event, alone_ns, busy_ns, innermost, self_times_ns

MOST_OPERATIONS = 20
FILES = "*.xplane.pb"

# Planes of accelerators, and in them the lines that hold what ran: a TPU's operations, a GPU's streams.
# The other lines of a plane tell the same time again, by step, by program or by scope.
_DEVICE = re.compile(r"/device:(?:GPU|TPU):\d+")
_OPERATIONS = re.compile(r"XLA Ops|Stream #.*")
_HOST = "/host:CPU"
_NCCL = "nccl"
# An instruction in the text of a program: its name and what it does; then the kind of a fusion, the
# computation that it calls, and where it comes from.
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?(\S+) = .*? ([a-z][a-z0-9-]*)\(")
_FUSION = re.compile(r", kind=k(\w+)")
_CALLED = re.compile(r", calls=%?([^\s,]+)")
_ORIGIN = re.compile(r'op_name="([^"]*)"')


@dataclass(frozen=True)
class Operation:
    """An operation over the whole trace: `self_time_s` and `occurrences` add up all devices."""

    name: str
    category: str | None
    origin: str | None
    self_time_s: float
    occurrences: float


@dataclass(frozen=True)
class Reading:
    """A trace in short.

    Attributes:
      operations: the longest ones, longest first.
      self_time_s: of all operations, those not listed too.
      busy_s: for each device how long at least one operation was under way.
      communicating_s: for each device how long collectives were, and nothing else; empty where the trace
        holds no collective.
      source: what the operations were read with.
    """

    operations: tuple[Operation, ...]
    self_time_s: float
    busy_s: tuple[float, ...]
    source: str
    communicating_s: tuple[float, ...] = ()


@dataclass
class _Lines:
    """The events of a trace by device, and by the thread or stream that they ran on.

    `innermost` leaves those out inside which others ran: a loop is not at work beside its body.
    """

    by_device: defaultdict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    by_line: list[list[Event]] = field(default_factory=list)
    innermost: defaultdict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))

    def add(self, line: list[tuple[str, Event]]) -> None:
        events = [event for _, event in line]
        inner = {id(event) for event in innermost(events)}
        for device, event in line:
            self.by_device[device].append(event)
            if id(event) in inner:
                self.innermost[device].append(event)
        self.by_line.append(events)


def read(session: Path, program: str = "") -> Reading:
    """What the trace of a session says, a directory with a file for each host.

    Args:
      program: the text of what ran, as XLA compiled it.

    Raises:
      ValueError: it holds no trace, or one that xprof cannot read.
    """
    files = sorted(session.glob(FILES))
    if not files:
        raise ValueError(f"no trace was written into {session}")
    # xprof writes what it has found beside the files that it reads.
    with tempfile.TemporaryDirectory(prefix="trainbench-") as scratch:
        copies = [str(_linked(file, Path(scratch))) for file in files]
        lines = _lines(copies)
        operations, source = list(_table(copies)), f"hlo_stats of xprof {_version()}"
        if not operations:
            operations, source = list(_added_up(lines, program)), f"XLA's events, through xprof {_version()}"
    operations.sort(key=lambda operation: operation.self_time_s, reverse=True)
    return Reading(
        operations=tuple(operations[:MOST_OPERATIONS]),
        self_time_s=sum(operation.self_time_s for operation in operations),
        busy_s=tuple(busy_ns(events) / 1e9 for _, events in sorted(lines.by_device.items())),
        source=source,
        communicating_s=tuple(_communicating_s(lines, program)) if program else (),
    )


def _communicating_s(lines: _Lines, program: str) -> Iterator[float]:
    """For each device the seconds in which collectives ran, and nothing else; nothing where none is recorded.

    XLA:CPU records that threads met for one, but not which device waited for it.
    """
    try:
        names = traffic.names(hlo.parse(program))
    except Exception:
        # A text that is not understood costs this figure, and no other of the trace.
        return
    found = False
    seconds = []
    for _, events in sorted(lines.innermost.items()):
        collectives = [event for event in events if _communicates(event, names)]
        others = [event for event in events if not _communicates(event, names)]
        seconds.append(alone_ns(collectives, others) / 1e9)
        found = found or bool(collectives)
    yield from seconds if found else ()


def _communicates(event: Event, names: Set[str]) -> bool:
    """A GPU's collectives are kernels of NCCL (RCCL names them alike), not of an operation."""
    return event.name in names or event.name.startswith(_NCCL)


def _linked(file: Path, scratch: Path) -> Path:
    link = scratch / file.name
    link.symlink_to(file.resolve())
    return link


def _version() -> str:
    from xprof import version

    return str(version.__version__)


def _table(files: list[str]) -> Iterator[Operation]:
    """The operations as xprof's table of them has it; nothing for a trace of a CPU.

    Raises:
      ValueError: xprof cannot read the files.
    """
    from xprof.convert import raw_to_tool_data

    converted, _ = raw_to_tool_data.xspace_to_tool_data(files, "hlo_stats", {"use_saved_result": False})
    if converted is None:
        raise ValueError(f"xprof cannot read {', '.join(Path(file).name for file in files)}")
    table = json.loads(converted)
    names = [column["id"] for column in table["cols"]]
    for cells in table["rows"]:
        row: dict[str, Any] = dict(zip(names, (cell["v"] for cell in cells["c"]), strict=True))
        # What runs inside another row's operation, on a SparseCore, is in the time of that row already.
        if row["category"] == "IDLE" or row["parent_op_name"]:
            continue
        yield Operation(
            name=row["hlo_op_name"],
            category=row["category"] or None,
            origin=row["tf_op_name"].rstrip(":") or None,
            self_time_s=row["total_self_time"] / 1e6,
            occurrences=row["occurrences"],
        )


def _lines(files: list[str]) -> _Lines:
    """The events of the accelerators; where there are none, those of XLA on the host's threads."""
    from xprof.profile_data import ProfileData

    found = _Lines()
    planes = [plane for file in files for plane in ProfileData.from_file(file).planes]
    for plane in planes:
        for line in plane.lines if _DEVICE.fullmatch(plane.name) else ():
            if _OPERATIONS.fullmatch(line.name):
                found.add([(plane.name, _event(event)) for event in line.events])
    if found.by_device:
        return found
    for plane in planes:
        for line in plane.lines if plane.name == _HOST else ():
            found.add(list(_of_xla(line.events)))
    return found


def _of_xla(events: Any) -> Iterator[tuple[str, Event]]:
    """(device, event) of each that runs an operation."""
    for event in events:
        facts = dict(event.stats)
        if "hlo_op" in facts:
            yield facts.get("device_ordinal", "0"), _event(event)


def _event(event: Any) -> Event:
    # A TPU's operation is told with its whole text.
    name = event.name.partition(" = ")[0].lstrip("%")
    return Event(name, event.start_ns, event.start_ns + event.duration_ns)


def _added_up(lines: _Lines, program: str) -> Iterator[Operation]:
    times_ns: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines.by_line:
        for event, own_ns in self_times_ns(line):
            times_ns[event.name].append(own_ns)
    instructions = _instructions(program)
    for name, each_ns in times_ns.items():
        category, origin = instructions.get(name, (None, None))
        yield Operation(name, category, origin, sum(each_ns) / 1e9, len(each_ns))


def _instructions(text: str) -> dict[str, tuple[str, str | None]]:
    """(category, origin) of each instruction of a program, by its name.

    A fusion that has no origin of its own has that of the last instruction in it.
    """
    found: dict[str, tuple[str, str | None]] = {}
    last: dict[str, str] = {}
    computation = ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            computation = line.split()[0].lstrip("%")
        if match := _INSTRUCTION.match(line):
            origin, called = _ORIGIN.search(line), _CALLED.search(line)
            if origin:
                last[computation] = origin[1]
            inner = last.get(called[1]) if called else None
            found[match[1]] = _category(match[2], line), origin[1] if origin else inner
    return found


def _category(opcode: str, line: str) -> str:
    fusion = _FUSION.search(line) if opcode == "fusion" else None
    return f"{fusion[1].lower()} fusion" if fusion else opcode


if __name__ == "__main__":
    print(json.dumps(asdict(read(Path(sys.argv[1]), program=sys.stdin.read()))))
