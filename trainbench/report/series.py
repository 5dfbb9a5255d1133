"""Results in series: each holds those that differ in their batch size only, under a name of its own."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from trainbench.report import facts
from trainbench.report.numbers import clip
from trainbench.results.collect import Loaded, printable
from trainbench.results.knee import knee
from trainbench.results.outcome import steady
from trainbench.results.record import Result

# Settings that move no figure or that a series runs along; then those that the record has once resolved.
_NO_PART_OF_A_SERIES = frozenset(
    (
        *("batch_size", "global_batch_size", "steps", "warmup", "seed", "reproduce", "price_per_hour"),
        *("reference", "measure", "trace", "timeout_s", "distributed", "checkpoint"),
    )
)
_GROUPS = ("model", "precision", "optimizer", "data")
_IN_THE_RECORD = frozenset(
    (*_GROUPS, "parallel", "input", "image_size", "sequence_length", "gradient_accumulation")
)
_NO_PART_OF_A_GROUP = frozenset(("name", "batch_size", "optimizer_reason"))
_NO_MODEL = "no model"
_KIND, _MODEL, _DEVICE, _DEVICES = "kind", "model", "device", "devices"
_PARALLEL, _AXES = "parallel", "axes"
_OF_A_SIZE = frozenset((_DEVICES, _AXES))
_TOLD = frozenset(("precision", _DEVICE))
# What is left out of a name, being what one expects where nothing is said.
_USUAL = frozenset(
    ("1 device", "1 micro-batches", "input resident", "synthetic data", "measured", "parallel data")
)
_WIDTH = 90
_ROOM = 8  # for a number


@dataclass(frozen=True)
class Run:
    """One result with its names.

    Attributes:
      series: the name of its series, as short as it can be among the results at hand.
      name: the series with the batch size.
      label: the name, with the time or more where other results at hand have the same name.
      scaled: the series without the number of devices and the mesh, for what scales over them.
    """

    file: Path
    result: Result
    series: str
    name: str
    label: str
    scaled: str


@dataclass(frozen=True)
class Point:
    """The usable results of one series at one batch size: the steady ones where there are any.

    Attributes:
      rate: samples per second, the median where there are several.
      low, high: the ends of the 95 % interval of a single result; the lowest and the highest rate of several.
      steady: whether `runs` were.
      passed_over: how many results are not in `runs`, being not steady.
    """

    batch: int
    rate: float
    low: float
    high: float
    runs: tuple[Run, ...]
    steady: bool = True
    passed_over: int = 0


@dataclass(frozen=True)
class Series:
    """Points by ascending batch size, at least one, of one unit.

    Attributes:
      best, knee: batch sizes: of the highest rate, and the smallest that comes near it, among the points that
        are steady where any is.
      out_of_memory: batch sizes that were tried and did not fit.
      measured: False for a forecast.
    """

    name: str
    unit: str
    points: tuple[Point, ...]
    best: int
    knee: int
    out_of_memory: tuple[int, ...] = ()
    measured: bool = True

    def at(self, batch: int) -> Point:
        """The point of this batch size."""
        return next(point for point in self.points if point.batch == batch)


def runs(loaded: Iterable[Loaded]) -> tuple[Run, ...]:
    """The results with their names, the newest first."""
    newest = sorted(loaded, key=_age, reverse=True)
    parts = [_parts(one.result) for one in newest]
    telling = set(_telling(parts))
    words = [_words(one, telling) for one in parts]
    names = _lines(one.values() for one in words)
    scaled = _lines([word for key, word in one.items() if key not in _OF_A_SIZE] for one in words)
    found = list(map(_run, newest, names, scaled))
    return tuple(_labelled(found))


def series(found: Sequence[Run]) -> tuple[Series, ...]:
    """The series of all usable measurements and forecasts, those with the most batch sizes first."""
    by_name: dict[tuple[str, str], dict[int, list[Run]]] = defaultdict(lambda: defaultdict(list))
    refused: dict[str, set[int]] = defaultdict(set)
    for run in found:
        size = facts.batch(run.result)
        if size and facts.usable(run.result):
            by_name[run.series, facts.unit(run.result)][size].append(run)
        elif size and run.result.status == "oom":
            refused[run.series].add(size)
    made = [_series(*key, points, refused[key[0]]) for key, points in by_name.items()]
    return tuple(sorted(made, key=_length, reverse=True))


def steadiest(found: Sequence[Run]) -> tuple[Run, ...]:
    """Those that were steady where there are any, else all."""
    return tuple(run for run in found if steady(run.result)) or tuple(found)


def _labelled(found: Sequence[Run]) -> Iterator[Run]:
    """The runs with labels that tell those of one name apart: by their start, else by their directory."""
    names = Counter(run.name for run in found)
    times = Counter((run.name, _started(run)) for run in found)
    for run in found:
        if names[run.name] == 1:
            yield run
        elif times[run.name, _started(run)] == 1:
            yield replace(run, label=f"{run.name} · {_started(run)}")
        else:
            yield replace(run, label=f"{run.name} · {printable(run.file.absolute().parent.name)}")


def _started(run: Run) -> str:
    return f"{run.result.created_utc:%m-%d %H:%M:%S}"


def _age(one: Loaded) -> tuple[Any, str]:
    return one.result.created_utc, one.result.id


def _length(one: Series) -> int:
    return len(one.points)


def _parts(result: Result) -> dict[str, str]:
    """What a run is named after, the most telling first."""
    work, hardware, software = result.workload, result.hardware, result.software
    named: dict[str, Any] = {_KIND: result.kind}
    if work:
        size = f"{work.image_size} px" if work.image_size else f"{work.sequence_length} tokens"
        named |= {_MODEL: work.model, "size": size, "precision": work.precision}
    if hardware:
        many = "devices" if hardware.device_count != 1 else "device"
        named |= {_DEVICE: hardware.device_kind, _DEVICES: f"{hardware.device_count} {many}"}
    named |= {_PARALLEL: f"parallel {_mode(result.config)}", _AXES: _mesh(result)}
    if work:
        named |= {"optimizer": work.optimizer, "data": f"{work.data} data"}
        named |= {"accumulation": f"{work.gradient_accumulation} micro-batches"}
    named |= {"input": f"input {result.input.mode}" if result.input else None}
    named |= {"jax": f"JAX {software.jax}" if software else None}
    named |= {key: f"{key.rpartition(' ')[2]}={value}" for key, value in _settings(result.config)}
    return {key: str(value) for key, value in named.items() if value is not None}


def _mode(config: Mapping[str, Any]) -> str:
    """The way of splitting that was asked for; results from before there was a choice split the batch."""
    chosen = config.get(_PARALLEL)
    return str(chosen.get("name")) if isinstance(chosen, dict) else "data"


def _mesh(result: Result) -> str | None:
    """The sizes of the axes along which there are several devices; None where there is no such axis."""
    sizes = facts.axes(result).items()
    return " x ".join(f"{axis} {size}" for axis, size in sizes if size > 1) or None


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, value) of the settings that the record names nowhere else.

    What a group holds has the group's choice in its key: a ResNet's width is not compared with a ViT's.
    """
    for key, value in config.items():
        if key in _GROUPS and isinstance(value, dict):
            yield from _leaves(value, f"{key} {value.get('name')} ")
        elif key not in _NO_PART_OF_A_SERIES | _IN_THE_RECORD:
            yield key, json.dumps(value, ensure_ascii=False)


def _leaves(group: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in group.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        elif key not in _NO_PART_OF_A_GROUP:
            yield prefix + key, json.dumps(value, ensure_ascii=False)


def _telling(parts: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """The keys that tell runs apart which those before do not; one that follows from others is none.

    Precision and device are told wherever they vary. Runs without a workload don't count: they never came to
    have most keys.
    """
    known = [one for one in parts if _MODEL in one]
    groups = [0] * len(known)
    count = len(set(groups))
    for key in dict.fromkeys(key for one in known for key in one):
        numbers: dict[tuple[int, str | None], int] = {}
        finer = [
            numbers.setdefault((group, one.get(key)), len(numbers))
            for group, one in zip(groups, known, strict=True)
        ]
        if len(numbers) > count or (key in _TOLD and len({one.get(key) for one in known}) > 1):
            groups, count = finer, len(numbers)
            yield key


def _words(parts: Mapping[str, str], telling: set[str]) -> dict[str, str]:
    """The words of a name. What was not measured always says so, and first, where nothing cuts it off."""
    words = {_KIND: parts[_KIND], _MODEL: parts.get(_MODEL, _NO_MODEL)}
    words |= {key: word for key, word in parts.items() if key in telling}
    if _DEVICE in words:
        words[_DEVICE] = words.pop(_DEVICE)  # last, being long: a narrow place cuts the end off
    return {key: word for key, word in words.items() if word not in _USUAL}


def _lines(names: Iterable[Iterable[str]]) -> list[str]:
    """The names on a short line each; a number keeps apart what is the same as far as it is shown."""
    lines: dict[str, str] = {}
    taken: set[str] = set()
    whole = [" · ".join(words) for words in names]
    for name in dict.fromkeys(whole):
        line = clip(printable(name), _WIDTH)
        if line in taken:
            line = f"{clip(line, _WIDTH - _ROOM)} ({len(taken) + 1})"
        lines[name] = line
        taken.add(line)
    return [lines[name] for name in whole]


def _run(one: Loaded, name: str, scaled: str) -> Run:
    size = facts.batch(one.result)
    batch = f" · batch {size:,}" if size else ""
    return Run(one.file, one.result, name, name + batch, name + batch, scaled)


def _series(name: str, unit: str, by_batch: Mapping[int, Sequence[Run]], refused: set[int]) -> Series:
    points = tuple(_point(size, by_batch[size]) for size in sorted(by_batch))
    sure = [point for point in points if point.steady] or points
    rates = {point.batch: point.rate for point in sure}
    sizes = {point.batch for point in points}
    best = max(rates, key=rates.__getitem__)
    measured = all(facts.measured(run.result) for point in points for run in point.runs)
    return Series(name, unit, points, best, knee(rates), tuple(sorted(refused - sizes)), measured)


def _point(size: int, found: Sequence[Run]) -> Point:
    chosen = steadiest(found)
    rates = [value for run in chosen if (value := facts.rate(run.result)) is not None]
    low, high = facts.ends(chosen[0].result) if len(chosen) == 1 else (min(rates), max(rates))
    is_steady = all(steady(run.result) for run in chosen)
    return Point(size, median(rates), low, high, chosen, is_steady, len(found) - len(chosen))
