"""`python -m trainbench rerun`: run again what a result file describes, and compare."""

import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.hardware import machine
from trainbench.results import compare_environment, single, store
from trainbench.results.collect import Loaded, collect, printable
from trainbench.results.compare_pairs import Pair, Side, settled
from trainbench.results.record import Result
from trainbench.verbs import compare
from trainbench.verbs.options import Parser, path

_COMMAND = "python -m trainbench rerun "
_FIX = f"{_COMMAND}RESULT [KEY=VALUE ...]"
_OPTIONS = "RESULT, KEY=VALUE, --print, --threshold, --strict, --json, --markdown"
_DIRECTORY_KEY = "hydra.run.dir"
_VERB = ("forecast",)
# Where the processes of the run were, and what it saved: neither is there again.
_OF_THAT_TIME = re.compile(r"timeout_s|distributed\..*|checkpoint\.(dir|keep)")
# Saves count only where they were timed.
_UNTIMED = re.compile(r"timeout_s|distributed\..*|checkpoint\..*")

HELP = """\
python -m trainbench rerun RESULT [KEY=VALUE ...] [--print] [--threshold 2%] [--strict] [...]

Run again what a result file describes, and compare. What was left to the program then (batch size, steps,
input, ...) is fixed at what it chose. Exit code as of `compare`: 1 for a regression. What was forecast is
forecast again; two forecasts are shown side by side and never judged.

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
    is_forecast = loaded.result.kind == "forecast"
    if options.print:
        print(shlex.join(["python", "-m", "trainbench", *_VERB * is_forecast, *overrides]))
        return ExitCode.OK
    if is_forecast:
        return _forecast(loaded, overrides, asked)
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
    target = [f"target={result.forecast.target}"] if result.forecast else []
    leaves = settled(result)
    left_out = _OF_THAT_TIME if leaves.get("checkpoint.timed") else _UNTIMED
    leaves = {key: value for key, value in leaves.items() if not left_out.fullmatch(key)}
    kept = [*target, *recompose.overrides(leaves)]
    return [*(override for override in kept if not _named(override, changed)), *changes]


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
    """The measured run, or the forecast, that is to be repeated.

    Raises:
      UserError: it is neither, or does not say how it was configured.
    """
    loaded = single.read(file, _COMMAND)
    about = loaded.result.forecast
    return loaded if about and loaded.result.config else single.read_run(file, _COMMAND)


def _tell(loaded: Loaded, overrides: Sequence[str]) -> None:
    """None; says on stderr what will run, and what is different by now. The device shows when it has run."""
    print(printable(f"again: python -m trainbench {shlex.join(overrides)}"), file=sys.stderr)
    host = machine.host()
    changed = compare_environment.now(loaded.result, machine.software(), (host.cpu, host.cores))
    for line in changed or ["none in software and host"]:
        print(printable(f"difference: {line}"), file=sys.stderr)
    before = loaded.result.hardware.process_count if loaded.result.hardware else 1
    if before > 1:
        more = "on as many, start what --print shows as it was started then"
        print(f"difference: processes {before} → 1; {more}", file=sys.stderr)


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


def _forecast(loaded: Loaded, overrides: Sequence[str], asked: compare.Output) -> int:
    """The exit code of the comparison of a forecast with itself, made again."""
    from trainbench.verbs import forecast

    _tell(loaded, [*_VERB, *overrides])
    directory, rest = _directory(overrides)
    started = datetime.now(UTC)
    # What is asked for is the comparison.
    with redirect_stdout(sys.stderr):
        forecast.show([*rest, "--dir", str(directory)])
    # Where the user names the directory, there may be earlier results.
    new = [one for one in collect([directory]).loaded if one.result.created_utc >= started]
    return compare.deliver([Pair(Side((loaded,)), Side((one,))) for one in new], asked)


def _directory(overrides: Sequence[str]) -> tuple[Path, list[str]]:
    """Where the result goes, and the overrides without that."""
    named = [text.partition("=")[2] for text in overrides if text.startswith(f"{_DIRECTORY_KEY}=")]
    rest = [text for text in overrides if not text.startswith(f"{_DIRECTORY_KEY}=")]
    if named:
        return Path(named[-1].strip("'\"")), rest
    now = datetime.now()
    return Path("outputs", "rerun", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}"), rest
