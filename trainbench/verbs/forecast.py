"""`python -m trainbench forecast`: what the compiler of an absent accelerator says of a training step."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainbench.errors import EXIT_CODES, ExitCode, UserError
from trainbench.forecast import targets
from trainbench.forecast.targets import Target
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.verbs.options import Parser, path

if TYPE_CHECKING:
    from trainbench.forecast.result import Asked

_FIX = "python -m trainbench forecast target=v6e-1 model=resnet50"
_OPTIONS = "target=NAME[,NAME ...], KEY=VALUE, --dir DIR"
_DIRECTORY_KEY = "hydra.run.dir"

HELP = """\
python -m trainbench forecast target=NAME[,NAME ...] [KEY=VALUE ...] [--dir DIR]

A training step compiled for a TPU that isn't here: whether it fits, how fast it is, what limits it. It needs
libtpu, the TPU compiler, from the extra `forecast`, and no TPU. Nothing runs.

Two rates are told apart. The bound is the FLOPs and bytes of the compiled program at the chip's published
rates. The estimate adds the compiler's own clock cycles; it is not calibrated against published figures yet,
so there is neither an expected rate nor an interval.

  target=NAME        v2-8, v3-1, v4-8, v5e-4, v5p-8, v6e-1, tpu7x-8, ..., or a topology such as v6e:4x4;
                     the output says what the number counts. Several give one table
  batch_size=auto    the largest batch that fits, by compiling a few
  KEY=VALUE          as for a run; python -m trainbench --help has them all
  --dir DIR          results go to DIR/TARGET (outputs/forecast/DATE/TIME/TARGET); also hydra.run.dir=DIR

Compiling takes seconds for a small model and minutes for a large one; what was compiled is kept in the cache.
Exit code 3 where one target was asked for and the step doesn't fit.

  python -m trainbench forecast target=v6e-1 model=resnet50 precision=bf16 batch_size=256
  python -m trainbench forecast target=v3-1,v4-1,v5e-1 model=bert_base"""


@dataclass(frozen=True)
class Done:
    """A forecast, and the file that it is in."""

    result: Result
    file: Path


def show(arguments: list[str]) -> int:
    """Forecast, print and keep; the exit code.

    Raises:
      UserError: no such target, one that can't be compiled for here, or overrides that make up no run.
      KeyboardInterrupt: the user stopped it; what was forecast before is printed and kept.
    """
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--dir", type=path)
    options = parser.parse_intermixed_args(arguments)
    wanted, named, overrides = _sorted(options.overrides)
    found = [targets.find(name) for name in wanted]

    # Imported late: Hydra and JAX take seconds, and a wrong target should be answered at once.
    from trainbench.forecast import build
    from trainbench.processes import interrupts

    for target in found:
        build.check(target)
    asked = _asked(overrides, shlex.join(["python", "-m", "trainbench", "forecast", *arguments]))
    directory = options.dir or named or _dated()
    store.check_writable(directory)
    with interrupts.one_wish():
        return _deliver(found, asked, directory)


def _sorted(given: Sequence[str]) -> tuple[list[str], Path | None, list[str]]:
    """The targets, the directory if one is named, and the other overrides.

    Raises:
      UserError: no target.
    """
    values: dict[str, str] = {}
    rest = []
    for override in given:
        key, equals, value = override.partition("=")
        if equals and key in ("target", _DIRECTORY_KEY):
            values[key] = value.strip("'\"")
        else:
            rest.append(override)
    wanted = [name.strip(" '\"") for name in values.get("target", "").strip("[]").split(",")]
    wanted = list(dict.fromkeys(filter(None, wanted)))
    if not wanted:
        raise UserError(
            "forecast needs a target, the accelerator to compile for",
            allowed=f"target={', '.join(targets.ONE_CHIP)}, or a slice such as v5e-16 or v6e:4x4",
            fix=_FIX,
        )
    named = values.get(_DIRECTORY_KEY)
    return wanted, Path(named) if named else None, rest


def _asked(overrides: Sequence[str], command: str) -> "Asked":
    """What these overrides make up.

    Raises:
      UserError: nothing that can be forecast.
    """
    from trainbench import config, recompose
    from trainbench.forecast.result import Asked
    from trainbench.processes import batch_search

    for override in overrides:
        if override.startswith("hydra."):
            raise UserError(
                f"{override} is not for a forecast", allowed=_OPTIONS, fix="--dir DIR sets where results go"
            )
    tree: dict[str, Any] = recompose.compose(overrides)
    # The search for a batch begins at the default one.
    searched = tree.get("batch_size") == batch_search.AUTO
    request = config.parse(tree | {"batch_size": "default"} if searched else tree)
    if request.reproduce is not None:
        raise UserError(
            f"reproduce={request.reproduce}: a published figure is reproduced by a run, not by a forecast",
            allowed="its conditions as overrides",
            fix=f"python -m trainbench references --explain {request.reproduce}",
        )
    return Asked(request, tree, command)


def _dated() -> Path:
    now = datetime.now()
    return Path("outputs", "forecast", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}")


def _deliver(found: Sequence[Target], asked: "Asked", directory: Path) -> int:
    """Forecast for each target, print, and return the exit code."""
    done: list[Done] = []
    try:
        for place, target in enumerate(found, 1):
            if len(found) > 1:
                print(f"target {place} of {len(found)}: {target.name}", file=sys.stderr, flush=True)
            done.append(_forecast(target, asked, directory / target.name.replace(":", "-")))
    finally:
        _print(done, several=len(found) > 1, directory=directory)
    codes = {EXIT_CODES[one.result.status] for one in done}
    if len(done) == 1:
        return codes.pop()
    # As in a sweep: what doesn't fit is a row of the table, not a failure of it.
    return ExitCode.FAILED_CHECK if codes - {ExitCode.OK, ExitCode.OUT_OF_MEMORY} else ExitCode.OK


def _forecast(target: Target, asked: "Asked", directory: Path) -> Done:
    from trainbench.forecast import build, result

    asked = replace(asked, started=datetime.now(UTC))
    try:
        found = result.assemble(build.built(asked.tree, target), asked)
    except build.CompilerFailed as error:
        found = result.failed(target, str(error), asked)
    store.set_aside(directory)
    return Done(found, store.write(found, directory))


def _print(done: Sequence[Done], *, several: bool, directory: Path) -> None:
    from trainbench.forecast import text

    if not done:
        store.remove_empty(directory)
    elif several:
        print(text.table([one.result for one in done]))
        print(f"results are in {directory}", file=sys.stderr)
    else:
        print("\n".join(text.summary(done[0].result, done[0].file)))
