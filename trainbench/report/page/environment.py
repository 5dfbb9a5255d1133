"""Software and hardware: what all results share, and what differs between them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from trainbench.report.numbers import size
from trainbench.report.page.content import Cell, Section, Table
from trainbench.report.series import Run
from trainbench.results.collect import printable
from trainbench.results.record import Result

_MOST_VALUES = 6
_UNKNOWN = "unknown"


def section(found: Sequence[Run]) -> Section | None:
    """A table of what differs, with how many results have each value, and one of what does not."""
    counted: dict[str, Counter[str]] = {}
    for run in found:
        for name, value in _facts(run.result):
            counted.setdefault(name, Counter())[value] += 1
    if not counted:
        return None
    known = {name: values for name, values in counted.items() if set(values) != {_UNKNOWN}}
    differing = [[Cell(name), Cell(_values(values))] for name, values in known.items() if len(values) > 1]
    shared = [[Cell(name), Cell(next(iter(values)))] for name, values in known.items() if len(values) == 1]
    tables = (
        [Table("Differs between results (number of results)", ("what", "values"), differing)]
        if differing
        else []
    )
    tables += [Table("The same in all results", ("what", "value"), shared)] if shared else []
    return Section("environment", "Environment", tables=tuple(tables))


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    for name, value in (result.software.model_dump() if result.software else {}).items():
        yield name.replace("_", " "), _text(value)
    hardware = result.hardware
    if hardware is None:
        return
    yield "device", _text(hardware.device_kind)
    yield "devices", _text(hardware.device_count)
    yield "processes", _text(hardware.process_count)
    yield "host CPU", _text(hardware.host.cpu)
    yield "host cores", _text(hardware.host.cores)
    memory = hardware.host.memory_bytes
    yield "host memory", _UNKNOWN if memory is None else size(memory)


def _text(value: object) -> str:
    return _UNKNOWN if value is None else printable(str(value))


def _values(values: Counter[str]) -> str:
    shown = "; ".join(f"{value} ({number:,})" for value, number in values.most_common(_MOST_VALUES))
    return shown + (f"; and {len(values) - _MOST_VALUES:,} more" if len(values) > _MOST_VALUES else "")
