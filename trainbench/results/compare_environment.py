"""What differed around two sides of a comparison: versions, flags, machine, settings."""

import json
import re
from collections.abc import Callable, Iterable, Iterator

from trainbench.results.compare_pairs import Pair, as_run, chip, work_of, written
from trainbench.results.record import Result

_SOFTWARE = ("python", "jax", "jaxlib", "flax", "optax", "libtpu", "trainbench")
# Settings that do not change what ran, or that other lines say better.
_PASSED_OVER = re.compile(
    r"reproduce|price_per_hour|reference\.extra|batch_size|gradient_accumulation|input|steps_per_call|image_size"
    r"|global_batch_size|timeout_s|distributed\..*|checkpoint\.(dir|keep)"
    r"|sequence_length|(model|optimizer|data)\.name|precision\..*|measure\.(steps|warmup_steps)"
    r"|model\.(family|batch_size|image_size|sequence_length|optimizer_reason)"
)
_SHORT_COMMIT = 10


def differences(pair: Pair) -> list[str]:
    """What differs between the sides, as "jax 0.10.2 → 0.12.0"; nothing for what is the same.

    A side whose own runs differ shows all their values.
    """
    base, new = pair.base.results, pair.new.results
    if not base or not new:
        return []
    lines = [f"{name} {ours} → {theirs}" for name, ours, theirs in _facts(base, new) if ours != theirs]
    return [*_work(base, new), *lines, *settings(base, new)]


def mixed(pair: Pair) -> list[str]:
    """Facts in which the runs of one side differ from each other, as "BASE mixes jax 0.10.2, 0.12.0"."""
    found = []
    for label, side in (("BASE", pair.base.results), ("NEW", pair.new.results)):
        for name, value in _FACTS.items():
            values = _values(side, value)
            # The first run of a program fills the compilation cache for the others.
            if len(values) > 1 and name != "compilation cache":
                found.append(f"{label} mixes {name} {', '.join(values)}")
    return found


def now(result: Result, software: dict[str, str | None], host: tuple[str, int]) -> list[str]:
    """What differs between a record and the software and host (processor, cores) here, by the same names."""
    then = {name: _FACTS[name](result) for name in (*_SOFTWARE, *_HERE)}
    commit = software["git_commit"]
    here = {name: software[name] for name in _SOFTWARE} | {
        "commit": _short(commit) if commit else None,
        "compiler flags": software["xla_flags"],
        "driver": software["driver"],
        "processor": host[0],
        "processor cores": str(host[1]),
    }
    return [
        f"{name} {_shown(value)} → {_shown(here[name])}"
        for name, value in then.items()
        if value != here[name]
    ]


_HERE = ("commit", "compiler flags", "driver", "processor", "processor cores")


def _software(name: str) -> Callable[[Result], str | None]:
    return lambda result: getattr(result.software, name) if result.software else None


def _hardware(name: str) -> Callable[[Result], str | None]:
    def read(result: Result) -> str | None:
        value = getattr(result.hardware, name) if result.hardware else None
        return None if value is None else str(value)

    return read


def _host(name: str) -> Callable[[Result], str | None]:
    def read(result: Result) -> str | None:
        value = getattr(result.hardware.host, name) if result.hardware else None
        return None if value is None else str(value)

    return read


def _commit(result: Result) -> str | None:
    commit = result.software.git_commit if result.software else None
    return _short(commit) if commit else None


def _short(commit: str) -> str:
    name, dirty, _ = commit.partition("-dirty")
    return f"{name[:_SHORT_COMMIT]}{dirty}"


def _host_memory(result: Result) -> str | None:
    memory = result.hardware.host.memory_bytes if result.hardware else None
    return f"{memory / 2**30:.1f} GiB" if memory else None


def _cache(result: Result) -> str | None:
    return result.compile.cache if result.compile else None


def _compiler_options(result: Result) -> str | None:
    options = result.autos.get("compiler_options")
    return json.dumps(options.value, sort_keys=True) if options else None


_FACTS: dict[str, Callable[[Result], str | None]] = {
    "chip": chip,
    "device kind": _hardware("device_kind"),
    "processes": _hardware("process_count"),
    **{name: _software(name) for name in _SOFTWARE},
    "commit": _commit,
    "compiler flags": _software("xla_flags"),
    "compiler options": _compiler_options,
    "driver": _software("driver"),
    "random numbers": _software("prng"),
    "compilation cache": _cache,
    "processor": _host("cpu"),
    "processor cores": _host("cores"),
    "host memory": _host_memory,
}


def _facts(base: Iterable[Result], new: Iterable[Result]) -> Iterator[tuple[str, str, str]]:
    for name, value in _FACTS.items():
        yield name, " and ".join(_values(base, value)), " and ".join(_values(new, value))


def _values(side: Iterable[Result], value: Callable[[Result], str | None]) -> list[str]:
    """The different values on a side; of runs that got nowhere, nothing is known."""
    return sorted({_shown(value(result)) for result in side if result.hardware})


def _shown(value: str | None) -> str:
    return "none" if value is None else value


def settings(base: Iterable[Result], new: Iterable[Result]) -> Iterator[str]:
    """Settings that differ, as far as both sides have them and nothing says it better."""
    ours, theirs = _all_settings(base), _all_settings(new)
    for key in ours:
        if key in theirs and ours[key] != theirs[key] and not _PASSED_OVER.fullmatch(key):
            yield f"{key} {' and '.join(ours[key])} → {' and '.join(theirs[key])}"


def _all_settings(side: Iterable[Result]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for result in side:
        for key, value in as_run(result).items():
            found.setdefault(key, set()).add(written(value))
    return {key: sorted(values) for key, values in found.items()}


def _work(base: Iterable[Result], new: Iterable[Result]) -> list[str]:
    """What else was run, for sides that were put together though they are not the same benchmark."""
    ours, theirs = (next(filter(None, map(work_of, side)), None) for side in (base, new))
    return ours.differences(theirs) if ours and theirs else []
