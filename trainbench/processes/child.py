"""One benchmark in a process of its own.

Its out-of-memory, crash or leak cannot touch another's numbers, and the allocator's peak, which a process
cannot reset, belongs to it alone. The parent never starts a JAX backend, which would take the device's
memory.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout
from hydra.core.override_parser.types import Quote, QuotedString

from trainbench.errors import ExitCode, UserError
from trainbench.results import store
from trainbench.results.record import Result

OUTPUT_FILE = "output.txt"
# What a parent tells its child: that standard input ends with the parent, and which lock to hold while it
# runs.
LIFELINE = "TRAINBENCH_LIFELINE"
LOCK = "TRAINBENCH_LOCK"
# A device that hangs holds its process in native code, where no signal but this is heeded.
WISHES_TO_KILL = 3


@dataclass(frozen=True)
class Outcome:
    """How a benchmark's process ended: its exit code, its record if it left one, else a word on why not."""

    code: int
    result: Result | None
    note: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return self.code == ExitCode.INTERRUPTED


def run(arguments: Sequence[str], directory: Path, lock: Path | None = None) -> Outcome:
    """How `python -m trainbench` with `arguments` ended, which wrote into `directory`.

    What it prints is in `output.txt` there; its progress and its errors stay visible on stderr. The result of
    an earlier run in `directory` is set aside. Where this process is killed, the child notices, saves what it
    has measured, and ends.

    Args:
      lock: a file that the child holds locked while it runs; it waits for one that is held.

    Raises:
      UserError: the directory cannot be written to.
    """
    store.check_writable(directory)
    store.set_aside(directory)
    with (directory / OUTPUT_FILE).open("wb") as output:
        process = start([*arguments, f"hydra.run.dir={quoted(str(directory))}"], output.fileno(), lock)
        code = wait(process)
    return Outcome(code, *_record(directory, code))


def start(
    arguments: Sequence[str],
    stdout: int,
    lock: Path | None = None,
    *,
    module: str = "trainbench",
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[bytes]:
    """The process of `python -m trainbench` with `arguments`, writing to the descriptor `stdout`.

    Args:
      module: another one to run, which has to call `begin`.
      environment: what is set beside, or instead of, this process's own.
    """
    environment = {
        **{key: value for key, value in os.environ.items() if key not in (LIFELINE, LOCK)},
        **environment,
        LIFELINE: "1",
    }
    if lock is not None:
        environment[LOCK] = str(lock)
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, env=environment)


def wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; a wish to stop is passed on to the child, which is given the time to save its result.

    A child that was still importing then dies of the signal itself; that is the same.
    """
    assert process.stdin is not None
    wishes = 0
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            wishes += 1
            process.stdin.close()
            if wishes == WISHES_TO_KILL - 1:
                _say("waiting for the run to end; once more kills it, and what it measured is lost")
            if wishes >= WISHES_TO_KILL:
                process.kill()
        else:
            process.stdin.close()
            stopped = wishes or code in (-signal.SIGINT, -signal.SIGTERM)
            return ExitCode.INTERRUPTED if stopped else code


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def begin() -> None:
    """What a process that `start` made does first; nothing in any other.

    From here on it ends, as with SIGTERM, when its parent does; and it has the parent's lock.
    """
    if os.environ.pop(LIFELINE, None):
        threading.Thread(target=_end_with_the_parent, name="lifeline", daemon=True).start()
    path = os.environ.pop(LOCK, None)
    if path:
        _hold(Path(path))


def _end_with_the_parent() -> None:
    # Nothing is ever written to this pipe: reading from it returns when the parent is gone.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


# Kept, as a lock that nothing refers to is given up.
_held: list[FileLock] = []


def _hold(path: Path) -> None:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _say("waiting for the run that is still going on here")
        lock.acquire()
    _held.append(lock)


def _record(directory: Path, code: int) -> tuple[Result | None, str]:
    try:
        return store.read(directory / store.RESULT_FILE), ""
    except UserError:
        if code == ExitCode.USER_ERROR:
            return None, "not run: see the message above"
        if code == ExitCode.INTERRUPTED:
            return None, "stopped by the user before there was anything to save"
        return None, f"the process ended with code {code} and left no result"


def quoted(text: str) -> str:
    """The text as a quoted Hydra override value, in which commas and spaces mean nothing."""
    return str(QuotedString(text, Quote.single).with_quotes())
