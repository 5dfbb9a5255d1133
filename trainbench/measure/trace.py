"""A trace of some steps, recorded with JAX's profiler and read with xprof.

To be recorded after everything that is timed, since the profiler slows the steps that it watches.
"""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
from pydantic import TypeAdapter, ValidationError

from trainbench.errors import first_line
from trainbench.measure.blocks import Program
from trainbench.measure.trace_reader import Reading

# Reading the trace of a CPU's 5 steps takes seconds; one that takes longer than this is too large to be read.
READ_LIMIT_S = 600.0


class TraceError(Exception):
    """No trace was recorded, or it cannot be read: a pity, but no reason to lose what was measured."""


@dataclass(frozen=True)
class Recording:
    """A trace on the disk: `steps` optimizer steps in `wall_s` seconds, in `session` a file for each host."""

    steps: int
    wall_s: float
    session: Path


def can_be_read() -> bool:
    """Whether xprof is installed."""
    return importlib.util.find_spec("xprof") is not None


def record(program: Program, steps: int, steps_per_call: int, directory: Path) -> Recording:
    """A trace of at least `steps` steps of `program`, in whole calls, written below `directory`.

    Each call is a step for xprof. The device is idle before the first call and after the last.

    Raises:
      TraceError: the profiler or the program failed.
    """
    options = jax.profiler.ProfileOptions()
    # Every Python call would be an event; the device is what the trace is for.
    options.python_tracer_level = 0
    options.raise_error_on_start_failure = True
    options.session_id = time.strftime("%Y_%m_%d_%H_%M_%S")
    try:
        # Here, since the profiler finds out at its end only, and then stays on.
        directory.mkdir(parents=True, exist_ok=True)
        jax.profiler.start_trace(directory, profiler_options=options)
        try:
            calls, wall_s = run_calls(program, steps, steps_per_call)
        finally:
            jax.profiler.stop_trace()
    except Exception as error:
        raise TraceError(f"no trace was recorded: {first_line(error)}") from error
    return Recording(calls * steps_per_call, wall_s, directory / "plugins" / "profile" / options.session_id)


def run_calls(program: Program, steps: int, steps_per_call: int) -> tuple[int, float]:
    """How many calls these steps were, and their seconds, from the first one to the fence."""
    calls = -(-steps // steps_per_call)
    started = time.perf_counter()
    for number in range(calls):
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            program.issue()
    program.fence()
    return calls, time.perf_counter() - started


def read(session: Path, program: str) -> Reading:
    """What the trace of a session says, in which this program ran (its text, as XLA compiled it).

    Raises:
      TraceError: it is damaged, too large, or xprof fails.
    """
    command = [sys.executable, "-m", "trainbench.measure.trace_reader", str(session)]
    try:
        done = subprocess.run(
            command, input=program, capture_output=True, text=True, timeout=READ_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise TraceError(f"the trace was not read: that took longer than {READ_LIMIT_S:g} s") from None
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"xprof ended with code {done.returncode}"]
        raise TraceError(f"the trace was not read: {last[0]}")
    try:
        return TypeAdapter(Reading).validate_json(done.stdout)
    except ValidationError as error:
        raise TraceError(f"the trace was not read: {first_line(error)}") from error


@dataclass(frozen=True)
class Trace:
    """What came of an attempt: a recording and what it says, or the problem that one of them had."""

    recording: Recording | None = None
    reading: Reading | None = None
    problem: str | None = None


def trace_steps(
    program: Program, steps: int, steps_per_call: int, directory: Path, text: Callable[[], str]
) -> Trace:
    """`record` and `read`, as far as they succeed; `text` gives that of the program, as XLA compiled it."""
    recording = None
    try:
        recording = record(program, steps, steps_per_call, directory)
        return Trace(recording, read(recording.session, text()))
    except TraceError as error:
        return Trace(recording, problem=str(error))
