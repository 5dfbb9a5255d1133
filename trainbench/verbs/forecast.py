"""`python -m trainbench forecast`: what the compiler of an absent accelerator says of a training step."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbench.errors import EXIT_CODES, ExitCode, UserError
from trainbench.forecast import targets
from trainbench.forecast.targets import Target
from trainbench.pytorch import settings
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.verbs.options import Parser, path

if TYPE_CHECKING:
    from trainbench.forecast.result import Asked

_FIX = "python -m trainbench forecast target=v5e-1 model=resnet50"
_OPTIONS = "target=NAME[,NAME ...], reproduce=ID, beside=RESULT, KEY=VALUE, --dir DIR"
_DIRECTORY_KEY = "hydra.run.dir"

HELP = """\
python -m trainbench forecast target=NAME[,NAME ...] [KEY=VALUE ...] [--dir DIR]
python -m trainbench forecast reproduce=ID [target=NAME[,NAME ...]] [KEY=VALUE ...] [--dir DIR]
python -m trainbench forecast beside=RESULT [--dir DIR]

A training step compiled for a TPU or GPU that isn't here: whether it fits, how fast it is, what limits it. It
needs a compiler, libtpu for TPUs (the extra `forecast`) and JAX's plug-in for CUDA for GPUs (the extra
`forecast-gpu`), and neither a TPU nor a GPU. Nothing runs.

The expected rate, with its 95 % interval, is by a model of the compiled program's time that published figures
have calibrated; where there are none for the kind of accelerator, there is no expected rate. What stands as
"at most" is the FLOPs and bytes of that program at the chip's published rates. The compiler's own estimate
stands beside them.

Without the compiler, for GPUs too old for it, and for target=cpu there is a bound only, and the output says
why: the step is traced, and its products, its state and its batch are counted at the chip's published rates.
For a CPU the rate follows from its cores, instructions and clock.

  target=NAME        v2-8, v3-1, v4-8, v5e-4, v5p-8, v6e-1, tpu7x-8, ..., or a topology such as v6e:4x4;
                     h100-8, a100-1, ...; cpu, this machine's processor. The output says what the number
                     counts. Several give one table
  reproduce=ID       the conditions of a published figure (python -m trainbench references), on synthetic
                     data, and its target unless another is named; the figure is compared with first
  batch_size=auto    the largest batch that fits, by compiling a few; for one target it is also looked for
                     where the batch that is asked for doesn't fit
  beside=RESULT      in place of all others: what a run was, forecast for what it ran on, and by how much that
                     misses the run; RESULT is its result.json, or the directory that holds it
  KEY=VALUE          as for a run; python -m trainbench --help has them all
  --dir DIR          results go to DIR/TARGET (outputs/forecast/DATE/TIME/TARGET); also hydra.run.dir=DIR

Compiling takes seconds for a small model and minutes for a large one; what was compiled is kept in the cache.
Exit code 3 where one target was asked for and the step doesn't fit; 1 where a forecast failed, also that of
one target among several that can't have what was asked for.

  python -m trainbench forecast target=v5e-1 model=resnet50 precision=bf16 batch_size=256
  python -m trainbench forecast target=v3-1,v4-1,v5e-1 model=bert_base
  python -m trainbench forecast reproduce=resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2
  python -m trainbench forecast beside=outputs/2026-01-02/03-04-05-678901"""


@dataclass(frozen=True)
class Done:
    """A forecast, and the file that it is in."""

    result: Result
    file: Path


def show(arguments: list[str]) -> int:
    """Forecast, print and keep; the exit code.

    Raises:
      UserError: no such target, or overrides that make up nothing that can be forecast for it.
      KeyboardInterrupt: the user stopped it; what was forecast before is printed and kept.
    """
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--dir", type=path)
    options = parser.parse_intermixed_args(arguments)
    run, typed = _beside(options.overrides)
    wanted, named, overrides = _sorted(typed)
    found = [targets.find(name) for name in wanted]

    # Imported late: Hydra and JAX take seconds, and a wrong target should be answered at once.
    from trainbench.processes import interrupts

    command = shlex.join(["python", "-m", "trainbench", "forecast", *arguments])
    found = found or [_target_of_figure(overrides)]
    jobs = [(target, _asked(overrides, target, command)) for target in found]
    directory = options.dir or named or _dated()
    store.check_writable(directory)
    with interrupts.one_wish():
        return _deliver(jobs, directory, run)


def _beside(given: Sequence[str]) -> tuple[Result | None, list[str]]:
    """The run that `beside=` names, and what is to be forecast for it; without, None and what was given.

    Raises:
      UserError: it is no run to set a forecast beside, or something else is given that would change it.
    """
    named = [override.partition("=")[2].strip("'\"") for override in given if override.startswith("beside=")]
    if not named:
        return None, list(given)
    others = [one for one in given if not one.startswith(("beside=", f"{_DIRECTORY_KEY}="))]
    if others or len(named) > 1 or not named[0]:
        unclear = " ".join(others or named) or "beside="
        raise UserError(
            f"beside=RESULT says all that is to be forecast; what is {unclear}?",
            allowed="one result, and --dir DIR",
            fix=f"python -m trainbench forecast beside={shlex.quote(named[0] or 'RESULT')}",
        )
    from trainbench.forecast import beside

    found = beside.wanted(Path(named[0]))
    kept = [one for one in given if one.startswith(f"{_DIRECTORY_KEY}=")]
    return found.run.result, [f"target={found.target.name}", *found.overrides, *kept]


def _sorted(given: Sequence[str]) -> tuple[list[str], Path | None, list[str]]:
    """The targets, the directory if one is named, and the other overrides.

    Raises:
      UserError: no target, nor a figure to reproduce, which has one.
    """
    values: dict[str, str] = {}
    rest = []
    if len(twice := [one for one in given if one.startswith("target=")]) > 1:
        joined = ",".join(one.partition("=")[2].strip("[]") for one in twice)
        raise UserError(
            f"{' '.join(twice)}: which?",
            allowed="one target=, with several names in it for a table",
            fix=f"python -m trainbench forecast target={joined} ...",
        )
    for override in given:
        key, equals, value = override.partition("=")
        if equals and key in ("target", _DIRECTORY_KEY):
            values[key] = value.strip("'\"")
        else:
            rest.append(override)
    wanted = [name.strip(" '\"") for name in values.get("target", "").strip("[]").split(",")]
    wanted = list(dict.fromkeys(filter(None, wanted)))
    if not wanted and _reproduced(rest) is None:
        raise UserError(
            "forecast needs a target, the accelerator to compile for",
            allowed=f"target={', '.join(targets.ONE_CHIP)}, a slice such as v5e-16 or v6e:4x4, "
            f"{', '.join(f'{gpu}-1' for gpu in targets.GPUS)}, h100-8, ... or cpu",
            fix=_FIX,
        )
    named = values.get(_DIRECTORY_KEY)
    return wanted, Path(named) if named else None, rest


def _reproduced(overrides: Sequence[str]) -> str | None:
    """The id of the published figure whose conditions are asked for; None for none."""
    values = [one.partition("=")[2] for one in overrides if one.lstrip("+").startswith("reproduce=")]
    value = values[-1].strip("'\"") if values else ""
    return None if value in ("", "null") else value


def _target_of_figure(overrides: Sequence[str]) -> Target:
    """What the figure to reproduce was measured on.

    Raises:
      UserError: that has no name as a target.
    """
    from trainbench.forecast import reference
    from trainbench.reference import figures

    extra = [one.partition("=")[2].strip("'\"") for one in overrides if one.startswith("reference.extra=")]
    figure = figures.find(_reproduced(overrides) or "", extra[-1] if extra else None)
    name = reference.target(figure)
    if name is None:
        raise UserError(
            f"reproduce={figure.id}: {reference.why_no_target(figure)}",
            allowed="a target besides: reproduce=ID target=NAME",
            fix=f"python -m trainbench forecast reproduce={figure.id} target=v6e-1",
        )
    return targets.find(name)


def _asked(given: Sequence[str], target: Target, command: str) -> "Asked":
    """What these overrides make up on a target.

    Raises:
      UserError: nothing that can be forecast.
    """
    from trainbench import config, recompose
    from trainbench.forecast import reference
    from trainbench.forecast.result import Asked
    from trainbench.processes import batch_search

    for override in given:
        if override.startswith("hydra."):
            raise UserError(
                f"{override} is not for a forecast", allowed=_OPTIONS, fix="--dir DIR sets where results go"
            )
    tree: dict[str, Any] = recompose.compose(reference.expand(given, target))
    # The search for a batch begins at the default one.
    searched = tree.get("batch_size") == batch_search.AUTO
    request = config.parse(tree | {"batch_size": "default"} if searched else tree)
    settings.refuse(request.framework, "a forecast")
    return Asked(request, tree, command)


def _dated() -> Path:
    now = datetime.now()
    return Path("outputs", "forecast", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}")


def _deliver(jobs: Sequence[tuple[Target, "Asked"]], directory: Path, run: Result | None) -> int:
    """Forecast for each target, print, and return the exit code; `run` is set beside each."""
    done: list[Done] = []
    several = len(jobs) > 1
    try:
        for place, (target, asked) in enumerate(jobs, 1):
            if several:
                print(f"target {place} of {len(jobs)}: {target.name}", file=sys.stderr, flush=True)
            done.append(
                _forecast(target, asked, directory / target.name.replace(":", "-"), run, several=several)
            )
    finally:
        _print(done, several=several, directory=directory)
    codes = {EXIT_CODES[one.result.status] for one in done}
    if len(done) == 1:
        return codes.pop()
    # As in a sweep: what doesn't fit is a row of the table, not a failure of it.
    return ExitCode.FAILED_CHECK if codes - {ExitCode.OK, ExitCode.OUT_OF_MEMORY} else ExitCode.OK


def _forecast(target: Target, asked: "Asked", directory: Path, run: Result | None, *, several: bool) -> Done:
    """The forecast for a target, kept in `directory`.

    Args:
      several: whether there are other targets: what is wrong with this one is then a row of the table.

    Raises:
      UserError: there is no other, and for this one the step can't be made.
    """
    from trainbench.forecast import beside, result
    from trainbench.forecast.compiler import build
    from trainbench.report import console

    asked = replace(asked, started=datetime.now(UTC))
    try:
        made = build.built(asked.tree, target)
        found = result.assemble(made, asked)
        if not several and isinstance(made, build.Build) and made.program is None:
            found = result.with_largest(found, _largest(asked.tree, target))
    except build.CompilerFailed as error:
        found = result.failed(target, str(error), asked)
    except UserError as error:
        if not several:
            raise
        print(console.error_screen(error), file=sys.stderr)
        found = result.failed(target, error.problem, asked)
    if run is not None:
        found = beside.with_run(found, run)
    store.set_aside(directory)
    return Done(found, store.write(found, directory))


def _largest(tree: Mapping[str, Any], target: Target) -> int | None:
    """The largest batch that fits, by compiling; None where none does, or the user stopped the search."""
    from trainbench.forecast.compiler import build
    from trainbench.processes import batch_search

    if tree["batch_size"] == batch_search.AUTO:
        return None
    print(
        "it does not fit; looking for the largest batch that does (Ctrl-C stops only this search)",
        file=sys.stderr,
        flush=True,
    )
    try:
        found = build.largest(tree, target)
    except (KeyboardInterrupt, build.CompilerFailed):
        return None
    return found.facts.workload.batch_size if found.program else None


def _print(done: Sequence[Done], *, several: bool, directory: Path) -> None:
    from trainbench.forecast import text

    if not done:
        store.remove_empty(directory)
    elif several:
        print(text.table([one.result for one in done]))
        print(f"results are in {directory}", file=sys.stderr)
    else:
        print("\n".join(text.summary(done[0].result, done[0].file)))
