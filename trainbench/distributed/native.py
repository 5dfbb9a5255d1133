"""What native code does to a process of several: it prints, and it aborts.

Where something is wrong between processes, XLA does not raise: it prints a stack trace and ends the process
with SIGABRT. Here the output goes into a file, and the thread that aborts is held, so that the others can
save what there is and say in words what happened.
"""

import ctypes
import os
import re
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import Any

# Time for the others to end the process, after a thread was held.
HELD_S = 60.0
_LOST = re.compile(r"(?:unhealthy[^\n]*|timed out task names):\s*\n((?:\s*\d+,?\s*\n?)+)")
_CAME = re.compile(r"# of tasks that reached the barrier: (\d+)/(\d+)")
_FATAL = re.compile(r"^F\d{4} \S+\s+\d+ (\S+\] .*)$", re.MULTILINE)
_MOST_BYTES = 2**20


@dataclass
class Native:
    """The native side of this process.

    Attributes:
      aborted: set as soon as native code gives up; the process then has `HELD_S` left.
    """

    aborted: threading.Event = field(default_factory=threading.Event)
    _file: Any = None

    def text(self) -> str:
        """What native code has printed, the end of it."""
        if self._file is None:
            return ""
        size = os.fstat(self._file.fileno()).st_size
        start = max(0, size - _MOST_BYTES)
        return os.pread(self._file.fileno(), size - start, start).decode(errors="replace")


def taken_over() -> Native:
    """The native side, whose output no longer mixes with this program's, and which cannot abort at once."""
    native = Native(_file=tempfile.TemporaryFile(prefix="trainbench-"))  # noqa: SIM115 - open to the end
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        stream.flush()
        setattr(sys, name, os.fdopen(os.dup(number), "w", buffering=1, errors="replace"))
        os.dup2(native._file.fileno(), number)
    _kept.extend((native, _hold_aborts(native.aborted)))
    return native


# Up to the end of the process: C may call the handler at any time.
_kept: list[Any] = []


def _hold_aborts(aborted: threading.Event) -> Any:
    """What has to be kept; from here on a thread that aborts sets `aborted` and stands still.

    Not a handler of Python's: those run in the main thread, after the one in C has returned and with it the
    process has ended.
    """

    def hold(number: int) -> None:
        del number
        aborted.set()
        if threading.current_thread() is not threading.main_thread():
            time.sleep(HELD_S)
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(hold)
    library = ctypes.CDLL(None)
    library.signal.restype = ctypes.c_void_p
    library.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    library.signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    return handler


def lost_processes(text: str) -> tuple[int, ...]:
    """The indices of the processes that JAX's service has missed, by what it printed."""
    found = _LOST.findall(text)
    return tuple(int(word) for word in re.findall(r"\d+", found[-1])) if found else ()


def arrivals(text: str) -> tuple[int, int] | None:
    """How many processes came together, and how many should have; None where the service does not say."""
    found = _CAME.findall(text)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def fatal(text: str) -> str:
    """The line with which native code gave up; "" without one."""
    found = _FATAL.findall(text)
    return found[-1] if found else ""
