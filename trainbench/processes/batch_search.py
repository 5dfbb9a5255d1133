"""`batch_size=auto`, the largest batch that fits, and `batch_size=best`, the knee of throughput.

Both ask the compiler first, which needs a compilation and no memory; then the batch is proven by running.
Every compilation and every run is a process of its own, whose result stays in a directory of its own.
"""

import dataclasses
import functools
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.processes import child, sweep, sweep_plan
from trainbench.processes.fitting_batch import Fit, Probe, fitting_batch, rounded_down, spacing
from trainbench.processes.sweep_plan import Sweep
from trainbench.pytorch import settings
from trainbench.report import console
from trainbench.report.numbers import number, units
from trainbench.results import store
from trainbench.results.knee import WITHIN, knee
from trainbench.results.record import Auto

AUTO, BEST = "auto", "best"
_KEY = "batch_size="
OVERRIDES = tuple(f"{_KEY}{kind}" for kind in (AUTO, BEST))

# A CPU has the memory for batches that would take minutes a step: the search for the best one ends at steps
# that by the rate measured so far last this long.
CPU_LONGEST_STEP_S = 3.0
MOST_ATTEMPTS = 8
# The search for the knee goes no further up where two doublings have not gained this much.
GAIN = 0.02
# The search for the knee ends at a batch with less than this share of the best rate, or after two in a row
# that are below the knee: throughput falls with the batch from there on.
FAR_BELOW = 0.8

Attempt = Callable[[int], child.Outcome]


class Stopped(Exception):
    """A process of the search ended in a way that ends the search; the exit code is that of the search."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = ExitCode(code) if code in tuple(ExitCode) else ExitCode.FAILED_CHECK


def is_asked_for(overrides: Sequence[str]) -> bool:
    """Whether the batch size is to be searched for; as with every key, the last word counts."""
    given = [override for override in overrides if override.startswith(_KEY)]
    return bool(given) and given[-1] in OVERRIDES


def check_one_batch_size(kind: str, global_batch_size: object) -> None:
    """Nothing where no batch of all devices is asked for beside the search for that of each.

    Raises:
      UserError: one is.
    """
    if global_batch_size not in (None, "null"):
        raise UserError(
            f"batch_size={kind} and global_batch_size={global_batch_size}: which?",
            allowed="batch_size, per device, to be searched for, or a global_batch_size",
            fix=f"{_KEY}{kind}, without global_batch_size",
        )


def search_and_show(
    asked: Sequence[str], config_dir: str | None, kind: str, directory: Path, command: str
) -> ExitCode:
    """Search, write the result of the batch that was found into `directory`, and print its summary.

    Args:
      asked: the overrides, `batch_size=auto` or `batch_size=best` among them.
      config_dir: where the user's own configurations are.
      kind: "auto" or "best".

    Raises:
      UserError: the device does not say how much memory it has, `directory` cannot be written to, or a batch
        of all devices is asked for as well.
    """
    given = dict(override.partition("=")[::2] for override in asked)
    check_one_batch_size(kind, given.get("global_batch_size"))
    settings.refuse(given.get("framework"), f"{_KEY}{kind}, which asks XLA's compiler,")
    own = [f"--config-dir={config_dir}"] if config_dir else []
    others = [
        override for override in asked if not override.startswith(_KEY) and "hydra.run.dir=" not in override
    ]
    folder = Sweep(
        asked=tuple(asked),
        varied=frozenset({"batch_size"}),
        directory=directory,
        points=None,
        here=True,
        goes_on=False,
        configurations=sweep_plan.digest(config_dir),
    )
    tried: list[tuple[str, ...]] = []

    @functools.cache
    def probe(batch: int | None) -> Fit:
        _say(f"batch_size={kind}: compiling {'the default batch' if batch is None else f'batch {batch}'}")
        return _fit([*others, *own, f"batch_size={'default' if batch is None else batch}"])

    def attempt(batch: int) -> child.Outcome:
        tried.append((*others, f"batch_size={batch}"))
        return _run(folder, tried[-1], own)

    def show_runs() -> None:
        in_order = sorted(set(tried), key=_batch_of)
        if in_order and (kind == BEST or len(in_order) > 1):
            print(sweep.summary(dataclasses.replace(folder, points=tuple(in_order))))

    with sweep.alone(folder):
        store.set_aside(directory)
        try:
            outcome, reason = (_largest if kind == AUTO else _best)(probe, attempt)
        except (Stopped, KeyboardInterrupt) as stopped:
            show_runs()
            _say(f"batch_size={kind} was not found: {str(stopped) or 'stopped by the user'}")
            _say(f"with hydra.run.dir={directory} the same command goes on")
            return stopped.code if isinstance(stopped, Stopped) else ExitCode.INTERRUPTED
        sweep_plan.note(folder, finished=True)
        show_runs()
        return _finish(outcome, reason, kind, directory, command)


def _batch_of(overrides: Sequence[str]) -> int:
    return int(overrides[-1].partition("=")[2])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _fit(arguments: Sequence[str]) -> Fit:
    process = child.start(["fits", "--json", *arguments], subprocess.PIPE)
    assert process.stdout is not None
    text = process.stdout.read()
    code = child.wait(process)
    if code not in (ExitCode.OK, ExitCode.OUT_OF_MEMORY):
        raise Stopped(code, f"the compilation ended with code {code}")
    fit: Fit = json.loads(text.splitlines()[-1])
    if fit["available_bytes"] is None:
        raise UserError(
            "batch_size=auto and best need to know the memory of the device, which does not say it",
            allowed="a batch size in samples per device",
            fix="a sweep instead: -m batch_size=32,64,128,256",
        )
    return fit


def _run(folder: Sweep, overrides: Sequence[str], own: Sequence[str]) -> child.Outcome:
    outcome = sweep.run_point(folder, overrides, own)
    if outcome.result is None or outcome.interrupted:
        raise Stopped(outcome.code, f"{folder.label(overrides)}: {outcome.note or 'stopped by the user'}")
    return outcome


def _largest(probe: Probe, attempt: Attempt) -> tuple[child.Outcome, str]:
    """The run of the largest batch that fits, and why it is that."""
    batch, reason = fitting_batch(probe)
    refuted: list[int] = []
    for _ in range(MOST_ATTEMPTS):
        outcome = attempt(batch)
        assert outcome.result is not None
        if outcome.result.status != "oom":
            proven = "; proven by running" if outcome.result.status == "ok" else ""
            tried = f"; out of memory at {', '.join(map(str, refuted))}" if refuted else ""
            return outcome, f"{reason}{proven}{tried}"
        refuted.append(batch)
        parts = outcome.result.workload.gradient_accumulation if outcome.result.workload else 1
        smaller = rounded_down(batch - spacing(batch, parts), parts)
        if smaller == 0:
            break
        batch = smaller
    return outcome, f"out of memory at {', '.join(map(str, refuted))}"


def _best(probe: Probe, attempt: Attempt) -> tuple[child.Outcome, str]:
    """The run of the knee among powers of two, and why it is that.

    From the default batch upwards while throughput still grows and the batch fits, then downwards until
    throughput has fallen: large batches, whose steps take long, are run only where they may gain something.
    """
    first = probe(None)
    parts = int(first["gradient_accumulation"])
    start = parts * 2 ** math.floor(math.log2(max(1, int(first["batch_size"]) // parts)))
    if not first["fits"]:
        while start > parts and not probe(start)["fits"]:
            start //= 2
    found: dict[int, child.Outcome] = {}
    rates: dict[int, float] = {}

    def runs(batch: int) -> bool:
        """Whether this batch has a rate; one that runs out of memory has none."""
        outcome = found[batch] = attempt(batch)
        assert outcome.result is not None
        if outcome.result.status == "ok" and outcome.result.throughput is not None:
            rates[batch] = outcome.result.throughput.samples_per_s
            return True
        if outcome.result.status != "oom":
            raise _Broken(outcome)
        return False

    try:
        batch = start
        while (
            runs(batch) and not _has_levelled(rates) and _bearable(2 * batch, rates[batch], first["platform"])
        ):
            batch *= 2
            if not probe(batch)["fits"]:
                break
        batch = start // 2
        while batch >= parts and not _has_fallen(rates):
            runs(batch)
            batch //= 2
    except _Broken as broken:
        return broken.outcome, "the search ended here, where the run did not end well"
    if not rates:
        return found[min(found)], f"out of memory at {', '.join(map(str, found))}"
    chosen = knee(rates)
    return found[chosen], _knee_reason(chosen, rates, found[chosen])


class _Broken(Exception):
    """A run of the search failed, and so would the next."""

    def __init__(self, outcome: child.Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def _bearable(batch: int, samples_per_s: float, platform: str) -> bool:
    """Whether a step will not last too long, where that may be: a CPU has the memory for steps of minutes."""
    return platform != "cpu" or batch <= CPU_LONGEST_STEP_S * samples_per_s


def _has_levelled(rates: Mapping[int, float]) -> bool:
    """Whether the two largest batches have gained next to nothing over smaller ones."""
    *smaller, one, other = [rates[batch] for batch in sorted(rates)] if len(rates) > 2 else (0.0, 1.0, 1.0)
    return max(one, other) < (1 + GAIN) * max(smaller)


def _has_fallen(rates: Mapping[int, float]) -> bool:
    """Whether the smallest batches are clearly below the knee."""
    if not rates:
        return False
    best = max(rates.values())
    smallest = [rates[batch] for batch in sorted(rates)[:2]]
    below = [rate < (1 - WITHIN) * best for rate in smallest]
    return smallest[0] < FAR_BELOW * best or (len(below) == 2 and all(below))


def _knee_reason(chosen: int, rates: Mapping[int, float], outcome: child.Outcome) -> str:
    assert outcome.result is not None
    work = outcome.result.workload
    unit = units(work.sample_unit) if work else "samples"
    best = max(rates, key=rates.__getitem__)
    others = ", ".join(str(batch) for batch in sorted(rates))
    return (
        f"the smallest within {100 * WITHIN:g} % of the best, "
        f"{number(rates[best])} {unit}/s at {best}; tried {others}"
    )


def _finish(outcome: child.Outcome, reason: str, kind: str, directory: Path, command: str) -> ExitCode:
    """Write the chosen run's record as that of the search, which names the choice and its reason."""
    found = outcome.result
    assert found is not None
    batch = found.workload.batch_size if found.workload else None
    config = dict(found.config) | {"batch_size": kind}
    autos = {"batch_size": Auto(value=batch, reason=reason)}
    autos |= {name: auto for name, auto in found.autos.items() if name not in autos}
    result = found.model_copy(update={"autos": autos, "config": config, "command": command})
    path = store.write(result, directory)
    for line in console.closing(result, path):
        print(line)
    return ExitCode(outcome.code)
