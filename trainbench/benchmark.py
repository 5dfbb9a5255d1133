"""One benchmark from a composed configuration to its result file and its summary on the screen."""

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainbench import config, fits, published
from trainbench.assemble import Ending, assemble
from trainbench.distributed.pulse import Pulse
from trainbench.distributed.supervised import supervised
from trainbench.distributed.team import ProcessLost
from trainbench.distributed.watchdog import OwnWatchdog, Told
from trainbench.errors import EXIT_CODES, ExitCode, OutOfMemory, UserError, first_line
from trainbench.measure.errors import MeasurementError
from trainbench.model_flops import flops_per_sample
from trainbench.processes import interrupts
from trainbench.reference import figures
from trainbench.report import console
from trainbench.report.progress import ProgressLine
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.run import Parts, run
from trainbench.training.compile import enable_compilation_cache


def run_and_show(tree: Mapping[str, Any], directory: Path, command: str) -> ExitCode:
    """Run what `tree` describes, write `result.json` into `directory`, print the summary, draw the chart.

    Raises:
      UserError: the configuration is wrong, or the directory cannot be written to.
    """
    request = config.parse(tree)
    prepare(request, directory)
    parts = Parts(request=request, tree=tree, command=command, directory=directory)
    try:
        with ProgressLine() as progress:
            ending = attempt(parts, progress, _way_of(request))
        return EXIT_CODES[conclude(parts, ending, directory).status]
    finally:
        if parts.checkpoints is not None:
            parts.checkpoints.close()


def _way_of(request: config.Request) -> Callable[[Parts, ProgressLine], None]:
    """What carries the request out, alone in its process."""
    if request.framework == "torch":
        # Imported here: it is an extra, and takes seconds to import.
        from trainbench.pytorch.run import run as run_in_torch

        return run_in_torch
    return run if request.timeout_s == "default" else _watched


def _watched(parts: Parts, progress: ProgressLine) -> None:
    """Carry the request out as `run` does, and give it up when no step ends for `timeout_s`.

    Raises:
      Told: it was given up, at which step.
    """
    limit_s = parts.request.timeout_s
    if not isinstance(limit_s, float):
        run(parts, progress)
        return
    pulse = parts.pulse = Pulse(progress)
    with interrupts.one_wish(pulse.wish):
        supervised(lambda: run(parts, progress), OwnWatchdog(pulse, limit_s), pulse)


def prepare(request: config.Request, directory: Path) -> None:
    """None; what is needed to save a result is there, before it takes long.

    Raises:
      UserError: the directory cannot be written to, or the user's own figures cannot be read.
    """
    figures.load(request.extra_figures, flops_per_sample)
    store.check_writable(directory)
    store.set_aside(directory)
    published.remove_chart(directory)
    enable_compilation_cache()


def conclude(parts: Parts, ending: Ending, directory: Path) -> Result:
    """The record of a run, which is in `directory` now; its summary is printed, its chart drawn."""
    with _uninterrupted():
        result = assemble(parts, ending)
        path = _save(result, directory)
        if parts.checkpoints is not None:
            parts.checkpoints.end(result.status)
    for line in console.closing(result, path):
        print(line)
    chart = published.draw(parts, result, directory)
    if chart:
        print(chart)
    return result


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C does nothing in here: a second one must not lose what the first one saves."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(result: Result, directory: Path) -> Path:
    try:
        return store.write(result, directory)
    except UserError:
        # The disk filled up while we measured: the numbers must not be lost with it. Where the output goes
        # into a file, that is often on the same disk.
        print(result.model_dump_json(), file=sys.stderr)
        raise


def attempt(parts: Parts, progress: ProgressLine, carry_out: Callable[[Parts, ProgressLine], None]) -> Ending:
    """Run, and turn whatever ends the run into a status.

    Raises:
      UserError: before anything was compiled.
    """
    try:
        carry_out(parts, progress)
    except UserError as error:
        if parts.executable is None:
            raise
        # The data turned out damaged, or a reader was killed: what was measured before is kept.
        return Ending("failed", f"{error.problem}; allowed: {error.allowed}; fix: {error.fix}")
    except KeyboardInterrupt:
        return Ending("interrupted", f"stopped by the user during: {progress.text}{_way_on(parts)}")
    except OutOfMemory as error:
        return Ending("oom", str(error))
    except MeasurementError as error:
        return Ending("invalid", str(error))
    except ProcessLost as error:
        return Ending("failed", str(error))
    except Told as told:
        status = told.said.status
        return Ending("failed" if status == "user_error" else status, told.said.reason)
    except Exception as error:
        if fits.is_out_of_memory(error):
            return Ending("oom", f"while {progress.text}: {first_line(error)}")
        where = _keep_traceback(parts.directory)
        return Ending("failed", f"{type(error).__name__} while {progress.text}: {first_line(error)}{where}")
    assert parts.timing is not None
    if parts.timing.interrupted:
        return Ending("interrupted", f"stopped by the user while measuring{_way_on(parts)}")
    if parts.timing.error:
        return Ending("invalid", parts.timing.error)
    return Ending("ok")


def _keep_traceback(directory: Path | None) -> str:
    """Where the traceback of the error at hand is now, as a remark; without a directory: on the screen."""
    if directory is None:
        traceback.print_exc()
        return ""
    file = directory / store.TRACEBACK_FILE
    file.write_text(traceback.format_exc())
    return f" ({file})"


def _way_on(parts: Parts) -> str:
    return f"; {parts.checkpoints.way_on()}" if parts.checkpoints else ""
