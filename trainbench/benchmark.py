"""One benchmark from a composed configuration to its result file and its summary on the screen."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from trainbench import config
from trainbench.assemble import Ending, assemble
from trainbench.errors import ExitCode, OutOfMemory, UserError
from trainbench.report import console
from trainbench.report.progress import ProgressLine
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.run import Parts, run
from trainbench.training.compile import enable_compilation_cache

EXIT_CODES = {
    "ok": ExitCode.OK,
    "invalid": ExitCode.FAILED_CHECK,
    "failed": ExitCode.FAILED_CHECK,
    "oom": ExitCode.OUT_OF_MEMORY,
    "interrupted": ExitCode.INTERRUPTED,
}


def run_and_show(tree: Mapping[str, Any], directory: Path, command: str) -> ExitCode:
    """Run what `tree` describes, write `result.json` into `directory`, print the summary.

    Raises:
      UserError: the configuration is wrong, or the directory cannot be written to.
    """
    request = config.parse(tree)
    store.check_writable(directory)
    enable_compilation_cache()
    parts = Parts(request=request, tree=tree, command=command)
    with ProgressLine() as progress:
        ending = _attempt(parts, progress, directory)
    result = assemble(parts, ending)
    try:
        path = store.write(result, directory)
    except UserError:
        # The disk filled up while we measured: the numbers must not be lost with it.
        print(result.model_dump_json())
        raise
    _show(result, path)
    return EXIT_CODES[result.status]


def _attempt(parts: Parts, progress: ProgressLine, directory: Path) -> Ending:
    """Run, and turn whatever ends the run into a status."""
    try:
        run(parts, progress)
    except UserError:
        raise
    except KeyboardInterrupt:
        return Ending("interrupted", f"stopped by the user while {progress.text}")
    except OutOfMemory as error:
        return Ending("oom", str(error))
    except Exception as error:
        if _is_out_of_memory(error):
            return Ending("oom", f"while {progress.text}: {_first_line(error)}")
        trace = directory / "traceback.txt"
        trace.write_text(traceback.format_exc())
        return Ending(
            "failed", f"{type(error).__name__} while {progress.text}: {_first_line(error)} ({trace})"
        )
    assert parts.timing is not None
    if parts.timing.interrupted:
        return Ending("interrupted", "stopped by the user while measuring")
    return Ending("ok")


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def _show(result: Result, path: Path) -> None:
    for line in (*console.summary(result, path), *console.autos(result), *console.warnings(result)):
        print(line)
