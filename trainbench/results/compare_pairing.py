"""Which runs of two collections are paired: by their work, their chip and their settings."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from trainbench.results.collect import Loaded
from trainbench.results.compare_pairs import (
    Pair,
    Pairing,
    Side,
    Work,
    as_run,
    chip,
    flattened,
    work_of,
    written,
)
from trainbench.results.record import Result

# Settings in which the repeats of one benchmark may differ: how long, from which random numbers, from where.
_OF_THE_REPEAT = re.compile(
    r"seed|trace|steps|warmup|measure\..*|reproduce|price_per_hour|reference\..*"
    r"|data\.(dir|manual_dir|download)|model\.optimizer_reason|timeout_s|distributed\..*"
    r"|checkpoint\.(every|dir|keep)"
)
# Settings that `Work` says better, as it has what became of them.
_OF_THE_WORK = re.compile(
    r"input|steps_per_call|gradient_accumulation|precision\..*|(model\.)?(batch_size|image_size|sequence_length)"
    r"|global_batch_size|(model|optimizer|data)\.name|model\.family"
)


def pair(base: Sequence[Loaded], new: Sequence[Loaded]) -> Pairing:
    """Runs of the same work on the same chip; several of them on a side are repeats.

    Where the runs of a side differ in a setting, as in a sweep over it, they are no repeats: those of the
    same setting pair. Across chips only if nothing pairs within one; forecasts with measurements only if
    nothing pairs at all. A run that ended before its work was known belongs to those of the same
    configuration.
    """
    known = {_configuration(run.result): _place(run.result) for run in (*base, *new) if work_of(run.result)}
    sides = [(_Placed(run, _place(run.result, known)) for run in runs) for runs in (base, new)]
    bases, news = ([one for one in side if one.place is not None] for side in sides)
    pairs = _nearest(bases, news) or _nearest(*_forecasts_and_measurements(bases, news))
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


def _nearest(base: Sequence[_Placed], new: Sequence[_Placed]) -> list[Pair]:
    """The pairs on the same chip; where there are none, those across chips."""
    return list(_matched(base, new)) or list(_matched(base, new, across_chips=True))


def _forecasts_and_measurements(
    base: Sequence[_Placed], new: Sequence[_Placed]
) -> tuple[list[_Placed], list[_Placed]]:
    """Forecasts of one side with measurements of the other, placed by what both kinds know of their work.

    A forecast is of the step alone, with a batch of synthetic data on the device.
    """
    for kinds in (("forecast", "measured"), ("measured", "forecast")):
        found = tuple(
            [_Placed(one.run, _of_the_step(one.place)) for one in side if one.run.result.kind == kind]
            for side, kind in zip((base, new), kinds, strict=True)
        )
        if all(found):
            return found[0], found[1]
    return [], []


def _of_the_step(place: Place | None) -> Place | None:
    if place is None or isinstance(place[0], str):
        return place
    return replace(place[0], kind="", data="", input=None), place[1]


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
        for key, value in as_run(result).items()
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
