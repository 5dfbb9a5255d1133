"""Which runs of two collections are the same benchmark, and may be set side by side."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from trainbench.results.collect import Loaded
from trainbench.results.record import Result

# Words in the configuration that leave the value to the program; it stands in `autos` then.
LEFT_OPEN = ("default", "auto", "best")


@dataclass(frozen=True)
class Work:
    """What was run, as far as it decides whether two results may be compared. None: not known.

    `architecture` is that of a modified model, whose name says only which of its fields differ.
    """

    kind: str
    model: str
    architecture: str | None
    task: str
    precision: str
    batch_size: int
    global_batch_size: int
    gradient_accumulation: int
    image_size: int | None
    sequence_length: int | None
    optimizer: str
    data: str
    input: str | None
    steps_per_call: int | None
    device_count: int | None

    def differences(self, other: "Work") -> list[str]:
        """What differs, as "batch size 32 → 64"; architectures are among the settings, one by one."""
        ours, theirs = vars(self), vars(other)
        return [
            f"{name.replace('_', ' ')} {_word(ours[name])} → {_word(theirs[name])}"
            for name in ours
            if ours[name] != theirs[name] and name not in ("architecture", "device_count")
        ]


@dataclass(frozen=True)
class Side:
    """The runs of one side of a pair; `lost` says of those without a record why they have none."""

    runs: tuple[Loaded, ...]
    lost: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(run.result for run in self.runs)


@dataclass(frozen=True)
class Pair:
    """Two sides to compare. `in_turn`: run i of one side was measured next to run i of the other."""

    base: Side
    new: Side
    across_chips: bool = False
    in_turn: bool = False

    @property
    def work(self) -> Work | None:
        """What was run, as far as BASE's record says."""
        return next(filter(None, map(work_of, (*self.base.results, *self.new.results))), None)


@dataclass(frozen=True)
class Pairing:
    """The pairs, and the runs that nothing on the other side is like."""

    pairs: tuple[Pair, ...]
    only_base: tuple[Loaded, ...]
    only_new: tuple[Loaded, ...]


def work_of(result: Result) -> Work | None:
    """What a result ran; None for a probe, or a run that ended before that was known."""
    work, hardware = result.workload, result.hardware
    if work is None:
        return None
    return Work(
        kind=result.kind,
        architecture=_architecture(result) if "(modified" in work.model else None,
        input=result.input.mode if result.input else _text(settled(result).get("input")),
        steps_per_call=_steps_per_call(result),
        device_count=hardware.device_count if hardware else None,
        **{name: getattr(work, name) for name in _OF_WORKLOAD},
    )


_OF_WORKLOAD = tuple(
    field.name
    for field in fields(Work)
    if field.name not in ("kind", "architecture", "input", "steps_per_call", "device_count")
)


def _architecture(result: Result) -> str | None:
    model = result.config.get("model")
    return json.dumps(model.get("architecture"), sort_keys=True) if isinstance(model, dict) else None


def _steps_per_call(result: Result) -> int | None:
    if result.timing:
        return result.timing.steps_per_call
    asked = result.config.get("steps_per_call")
    return asked if isinstance(asked, int) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _word(value: Any) -> str:
    return "unknown" if value is None else str(value)


def settled(result: Result) -> dict[str, Any]:
    """The configuration's leaves by dotted key, with what the program chose in the place of "default"."""
    leaves = dict(flattened(result.config))
    chosen = {name: auto.value for name, auto in result.autos.items()}
    if result.workload:
        chosen.setdefault("batch_size", result.workload.batch_size)
    for key, value in leaves.items():
        if isinstance(value, str) and value in LEFT_OPEN and key in chosen:
            leaves[key] = chosen[key]
    return leaves


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in the tree that is no section; lists are values.

    >>> list(flattened({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def chip(result: Result) -> str | None:
    """The chip's name, or the device kind of one that is in no table; None where it is not known."""
    return (result.hardware.chip or result.hardware.device_kind) if result.hardware else None


def pair(base: Sequence[Loaded], new: Sequence[Loaded]) -> Pairing:
    """Runs of the same work on the same chip; several of them on a side are repeats.

    Across chips only if nothing pairs within one. A run that ended before its work was known belongs to those
    of the same configuration.
    """
    known = {_configuration(run.result): _place(run.result) for run in (*base, *new) if work_of(run.result)}
    sides = [(_Placed(run, _place(run.result, known)) for run in runs) for runs in (base, new)]
    bases, news = ([one for one in side if one.place is not None] for side in sides)
    pairs = list(_matched(bases, news)) or list(_matched(bases, news, across_chips=True))
    taken = {id(run) for one in pairs for run in (*one.base.runs, *one.new.runs)}
    left_base, left_new = (tuple(run for run in runs if id(run) not in taken) for runs in (base, new))
    return Pairing(tuple(pairs), left_base, left_new)


# What was run (its configuration, where no run of it came to know more), and the chip.
Place = tuple[Work | str, str | None]


@dataclass(frozen=True)
class _Placed:
    run: Loaded
    place: Place | None


def _place(result: Result, known: Mapping[str, Place | None] | None = None) -> Place | None:
    """Where a result belongs; None for a probe and for one that says nothing of what it ran."""
    work, configuration = work_of(result), _configuration(result)
    if work is not None:
        return work, chip(result)
    if result.kind == "probe" or not result.config:
        return None
    return (known or {}).get(configuration) or (configuration, chip(result))


def _configuration(result: Result) -> str:
    return json.dumps([result.kind, result.config], sort_keys=True)


def _matched(
    base: Sequence[_Placed], new: Sequence[_Placed], *, across_chips: bool = False
) -> Iterator[Pair]:
    bases, news = _grouped(base), _grouped(new)
    for place, runs in bases.items():
        others = [there for there in news if there[0] == place[0] and (across_chips or there == place)]
        for there in others:
            yield Pair(Side(tuple(runs)), Side(tuple(news[there])), across_chips)


def _grouped(placed: Sequence[_Placed]) -> dict[Place, list[Loaded]]:
    groups: dict[Place, list[Loaded]] = defaultdict(list)
    for one in placed:
        if one.place is not None:
            groups[one.place].append(one.run)
    return groups
