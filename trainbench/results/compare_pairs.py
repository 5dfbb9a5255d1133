"""Which runs of two collections are the same benchmark, and may be set side by side."""

import json
from collections.abc import Iterator, Mapping
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

    @property
    def forecast(self) -> bool:
        """Whether a side is a forecast: then there is nothing to judge."""
        return any(result.kind == "forecast" for result in (*self.base.results, *self.new.results))


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
    # `autos` has only the levers that are not plain.
    chosen = {name: lever.value for name, lever in result.levers.items()}
    chosen |= {name: auto.value for name, auto in result.autos.items()}
    # That of all devices stands for both, and a run is asked for one of them.
    if result.workload and leaves.get("global_batch_size") is None:
        chosen.setdefault("batch_size", result.workload.batch_size)
    for key, value in leaves.items():
        if isinstance(value, str) and value in LEFT_OPEN and key in chosen:
            leaves[key] = chosen[key]
    return leaves


def as_run(result: Result) -> dict[str, Any]:
    """`settled`, with the devices along each axis of the mesh in place of "rest", where they are known."""
    leaves, mesh = settled(result), result.parallel
    alone = result.hardware is not None and result.hardware.device_count == 1
    for axis in ("data", "fsdp", "tensor"):
        key = f"parallel.{axis}"
        if leaves.get(key) == "rest" and (mesh or alone):
            leaves[key] = getattr(mesh, axis) if mesh else 1
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
