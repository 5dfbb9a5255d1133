"""Which runs of two collections are the same benchmark, and may be set side by side."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from trainbench.results.collect import Loaded
from trainbench.results.record import Result

# Words in the configuration that leave the value to the program; it stands in `autos` then.
LEFT_OPEN = ("default", "auto", "best")

# Settings in which the repeats of one benchmark may differ: how long, from which random numbers, from where.
_OF_THE_REPEAT = re.compile(
    r"seed|trace|steps|warmup|measure\..*|reproduce|price_per_hour|reference\..*"
    r"|data\.(dir|manual_dir|download)|model\.optimizer_reason"
)
# Settings that `Work` says better, as it has what became of them.
_OF_THE_WORK = re.compile(
    r"input|steps_per_call|gradient_accumulation|precision\..*|(model\.)?(batch_size|image_size|sequence_length)"
    r"|(model|optimizer|data)\.name|model\.family"
)


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
            if ours[name] != theirs[name] and name != "architecture"
        ]


@dataclass(frozen=True)
class Side:
    """The runs of one side of a pair; `lost` says of those without a record why they have none."""

    runs: tuple[Loaded, ...]
    lost: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(run.result for run in self.runs)

    @property
    def measured(self) -> tuple[Result, ...]:
        """The runs whose numbers may be believed: one that was interrupted if it has complete blocks."""
        return tuple(
            result
            for result in self.results
            if result.status == "ok"
            or (result.status == "interrupted" and result.timing and result.timing.block_s)
        )


@dataclass(frozen=True)
class Pair:
    """Two sides to compare.

    Attributes:
      in_turn: run i of one side was measured next to run i of the other.
      settings: what tells it from other pairs of the same work, as "optimizer.b1 0.9".
    """

    base: Side
    new: Side
    across_chips: bool = False
    in_turn: bool = False
    settings: tuple[str, ...] = ()

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


def written(value: Any) -> str:
    """A setting as text: itself, or JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def chip(result: Result) -> str | None:
    """The chip's name, or the device kind of one that is in no table; None where it is not known."""
    return (result.hardware.chip or result.hardware.device_kind) if result.hardware else None


def pair(base: Sequence[Loaded], new: Sequence[Loaded]) -> Pairing:
    """Runs of the same work on the same chip; several of them on a side are repeats.

    Where the runs of a side differ in a setting, as in a sweep over it, they are no repeats: those of the
    same setting pair. Across chips only if nothing pairs within one. A run that ended before its work was
    known belongs to those of the same configuration.
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
    leaves = {key: value for key, value in flattened(result.config) if not _OF_THE_REPEAT.fullmatch(key)}
    return json.dumps([result.kind, leaves], sort_keys=True)


def _matched(
    base: Sequence[_Placed], new: Sequence[_Placed], *, across_chips: bool = False
) -> Iterator[Pair]:
    bases, news = _grouped(base), _grouped(new)
    alike: dict[Work | str, list[Place]] = defaultdict(list)
    for place in news:
        alike[place[0]].append(place)
    for place, runs in bases.items():
        others = alike[place[0]] if across_chips else [place] if place in news else []
        for there in others:
            yield from _by_settings(runs, news[there], across_chips)


def _by_settings(base: Sequence[Loaded], new: Sequence[Loaded], across_chips: bool) -> Iterator[Pair]:
    """The pairs of two sides of the same work: one, unless a setting differs within a side."""
    told = [[_settings(run.result) for run in side] for side in (base, new)]
    varying = sorted({key for side in told for key in _varying(side)})
    bases, news = (
        _grouped_by(side, settings, varying) for side, settings in zip((base, new), told, strict=True)
    )
    for values, runs in bases.items():
        if values in news:
            words = tuple(f"{key} {value}" for key, value in zip(varying, values, strict=True))
            yield Pair(Side(tuple(runs)), Side(tuple(news[values])), across_chips, settings=words)


def _settings(result: Result) -> dict[str, str]:
    """What was asked for beyond what `Work` has, by dotted key."""
    return {
        key: written(value)
        for key, value in settled(result).items()
        if not (_OF_THE_REPEAT.fullmatch(key) or _OF_THE_WORK.fullmatch(key))
    }


def _varying(side: Sequence[Mapping[str, str]]) -> set[str]:
    """Keys that runs of one side have with different values; a key that an older run lacks tells nothing."""
    values: dict[str, set[str]] = defaultdict(set)
    for settings in side:
        for key, value in settings.items():
            values[key].add(value)
    return {key for key, found in values.items() if len(found) > 1}


def _grouped_by(
    runs: Sequence[Loaded], settings: Sequence[Mapping[str, str]], keys: Sequence[str]
) -> dict[tuple[str, ...], list[Loaded]]:
    groups: dict[tuple[str, ...], list[Loaded]] = defaultdict(list)
    for run, found in zip(runs, settings, strict=True):
        groups[tuple(found.get(key, "unknown") for key in keys)].append(run)
    return groups


def _grouped(placed: Sequence[_Placed]) -> dict[Place, list[Loaded]]:
    groups: dict[Place, list[Loaded]] = defaultdict(list)
    for one in placed:
        if one.place is not None:
            groups[one.place].append(one.run)
    return groups
