"""From the trace of a run to its section of the record."""

from collections.abc import Iterator

from trainbench.measure.trace import Recording, Trace
from trainbench.measure.trace_reader import Operation, Reading
from trainbench.results import record
from trainbench.run import TRACE_DIRECTORY, Parts

# The devices' clocks and the host's are not one: a device may seem busy for longer than the steps took.
CLOCK_TOLERANCE = 0.01


def trace_section(parts: Parts) -> record.Trace | None:
    """The section; None where no trace was recorded. One that could not be read has no operations."""
    trace = parts.trace
    if trace is None or trace.recording is None:
        return None
    recording, reading = trace.recording, trace.reading
    return record.Trace(
        steps=recording.steps,
        wall_s=recording.wall_s,
        device_busy_fraction=_busy_fraction(recording, reading)[0],
        operations=tuple(_operations(recording, reading)) if reading else (),
        source=reading.source if reading else None,
        path=TRACE_DIRECTORY,
        size_bytes=sum(file.stat().st_size for file in recording.session.glob("*")),
    )


def trace_doubts(parts: Parts) -> Iterator[str]:
    """Why there is no trace, or less than a whole one."""
    trace = parts.trace or Trace(problem="the run ended before it" if parts.request.trace else None)
    if trace.problem:
        yield f"tracing: {trace.problem}"
    if trace.recording is None:
        yield f"trace: {'see tracing' if trace.problem else 'recorded with trace=true only'}"
        return
    if trace.reading is None:
        yield "source: see tracing"
    fraction, reason = _busy_fraction(trace.recording, trace.reading)
    if fraction is None:
        yield f"device_busy_fraction: {reason}"


def _busy_fraction(recording: Recording, reading: Reading | None) -> tuple[float | None, str]:
    """(mean over the devices, "") or (None, why it is unknown)."""
    if reading is None:
        return None, "see tracing"
    if not reading.busy_s:
        return None, "the trace holds no operation of a device"
    fraction = sum(reading.busy_s) / len(reading.busy_s) / recording.wall_s
    if fraction > 1 + CLOCK_TOLERANCE:
        return None, f"busy for {fraction:.2f} times the duration of the steps cannot be"
    return min(1.0, fraction), ""


def communication_fraction(trace: Trace) -> tuple[float | None, str]:
    """(share of a step with a collective running and nothing else, mean over the devices; why unknown)."""
    recording, reading = trace.recording, trace.reading
    if recording is None or reading is None:
        return None, "see tracing"
    if not reading.communicating_s:
        return None, "the trace holds no collective (XLA:CPU records none)"
    return min(1.0, sum(reading.communicating_s) / len(reading.communicating_s) / recording.wall_s), ""


def _operations(recording: Recording, reading: Reading) -> Iterator[record.Operation]:
    steps = recording.steps * max(1, len(reading.busy_s))
    for operation in reading.operations:
        yield _operation(operation, steps, reading.self_time_s)


def _operation(operation: Operation, steps: int, all_s: float) -> record.Operation:
    return record.Operation(
        name=operation.name,
        category=operation.category,
        origin=operation.origin,
        self_time_s=operation.self_time_s / steps,
        share=min(1.0, operation.self_time_s / all_s) if all_s else 0.0,
        occurrences=operation.occurrences / steps,
    )
