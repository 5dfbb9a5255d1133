"""`python -m trainbench rerun`: run again what a result file describes, and compare."""

import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.hardware import machine
from trainbench.results import compare_environment, store
from trainbench.results.collect import Loaded, collect, printable
from trainbench.results.compare_pairs import Pair, Side, settled
from trainbench.results.record import Result
from trainbench.verbs import compare
from trainbench.verbs.options import Parser, path

_FIX = "python -m trainbench rerun RESULT [KEY=VALUE ...]"
_OPTIONS = "RESULT, KEY=VALUE, --print, --threshold, --strict, --json, --markdown"
_SHOWN = 3
_DIRECTORY_KEY = "hydra.run.dir"

HELP = """\
python -m trainbench rerun RESULT [KEY=VALUE ...] [--print] [--threshold 2%] [--strict] [...]

Run again what a result file describes, and compare. What was left to the program then (batch size, steps,
input, ...) is fixed at what it chose. Exit code as of `compare`: 1 for a regression.

  RESULT             a result file, or the directory that holds result.json
  KEY=VALUE          changes something; hydra.run.dir=DIR says where the result goes (outputs/rerun/DATE/TIME)
  --print            print the command instead of running it
  --threshold, --strict, --json, --markdown: as of `compare`

  python -m trainbench rerun results/cpu-2-cores/vit_tiny.json
  python -m trainbench rerun outputs/2026-01-02/03-04-05-678901 precision=fp32"""


def show(arguments: list[str]) -> int:
    """Run, compare and print; the exit code.

    Raises:
      UserError: no result, one that describes no benchmark, or overrides that can't be run.
    """
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
    parser.add_argument("result", type=path, nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--print", action="store_true")
    compare.add_output(parser)
    options = parser.parse_intermixed_args(arguments)
    if options.result is None:
        raise UserError("rerun needs a result", allowed=_OPTIONS, fix=_FIX)
    asked = compare.output(options)
    loaded = _read(options.result)
    overrides = command(loaded.result, options.overrides)
    if options.print:
        print(shlex.join(["python", "-m", "trainbench", *overrides]))
        return ExitCode.OK
    _check(overrides)
    _tell(loaded, overrides)
    return _run(loaded, overrides, asked)


def command(result: Result, changes: Sequence[str] = ()) -> list[str]:
    """The overrides that repeat a run, with `changes` in place of what they name.

    Raises:
      UserError: this version's configurations don't have what the run was configured with.
    """
    # Imported late: Hydra takes a moment, and a damaged file should be answered at once.
    from trainbench import recompose

    changed = [override.lstrip("+~").partition("=")[0] for override in changes]
    changed = ["price_per_hour" if key == "price" else key for key in changed]
    kept = [override for override in recompose.overrides(settled(result)) if not _named(override, changed)]
    return [*kept, *changes]


def _check(overrides: Sequence[str]) -> None:
    """None, where they make up something that may be run.

    Raises:
      UserError: they don't.
    """
    from trainbench import config, recompose

    _, rest = _directory(overrides)
    config.parse(recompose.compose(rest))


def _named(override: str, changed: Sequence[str]) -> bool:
    """Whether a change is of this key, or of the group that it belongs to."""
    key = override.partition("=")[0]
    return any(key == name or key.startswith(f"{name}.") for name in changed)


def _read(file: Path) -> Loaded:
    _check_holds_one(file)
    result = store.read(file)
    if result.kind != "measured":
        raise UserError(
            f"{file} is a {result.kind}, which ran no benchmark here",
            allowed="the result of a measured run",
            fix=_FIX,
        )
    if not result.config:
        raise UserError(
            f"{file} does not say how it was configured",
            allowed="a result with its configuration",
            fix=f"repeat its command: {printable(result.command)}",
        )
    return Loaded(file / store.RESULT_FILE if file.is_dir() else file, result)


def _check_holds_one(directory: Path) -> None:
    """None; UserError for a directory that has no result itself, but others below it."""
    if not os.path.isdir(directory) or (directory / store.RESULT_FILE).exists():
        return
    found = [str(loaded.file) for loaded in collect([directory]).loaded]
    if found:
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UserError(
            printable(f"{directory} has no {store.RESULT_FILE} of its own"),
            allowed=printable(f"below it: {', '.join(found[:_SHOWN])}{more}"),
            fix=printable(f"python -m trainbench rerun {shlex.quote(found[0])}"),
        )


def _tell(loaded: Loaded, overrides: Sequence[str]) -> None:
    """None; says on stderr what will run, and what is different by now. The device shows when it has run."""
    print(printable(f"again: python -m trainbench {shlex.join(overrides)}"), file=sys.stderr)
    host = machine.host()
    changed = compare_environment.now(loaded.result, machine.software(), (host.cpu, host.cores))
    for line in changed or ["none in software and host"]:
        print(printable(f"difference: {line}"), file=sys.stderr)


def _run(loaded: Loaded, overrides: Sequence[str], asked: compare.Output) -> int:
    from trainbench.processes import child, interrupts

    directory, rest = _directory(overrides)
    with interrupts.one_wish():
        outcome = child.run(rest, directory)
    if outcome.code == ExitCode.USER_ERROR and outcome.result is None:
        return ExitCode.USER_ERROR
    if outcome.interrupted and outcome.result is None:
        return ExitCode.INTERRUPTED
    file = directory / store.RESULT_FILE
    new = Side((Loaded(file, outcome.result),)) if outcome.result else Side((), (outcome.note,))
    code = compare.deliver([Pair(Side((loaded,)), new)], asked)
    print(f"the new result is in {directory}", file=sys.stderr)
    return ExitCode.INTERRUPTED if outcome.interrupted else code


def _directory(overrides: Sequence[str]) -> tuple[Path, list[str]]:
    """Where the result goes, and the overrides without that."""
    named = [text.partition("=")[2] for text in overrides if text.startswith(f"{_DIRECTORY_KEY}=")]
    rest = [text for text in overrides if not text.startswith(f"{_DIRECTORY_KEY}=")]
    if named:
        return Path(named[-1].strip("'\"")), rest
    now = datetime.now()
    return Path("outputs", "rerun", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}"), rest
