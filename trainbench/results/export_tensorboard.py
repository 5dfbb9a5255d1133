"""Runs as TensorBoard scalars: one directory for each run, which TensorBoard shows under the run's name."""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from trainbench import extras
from trainbench.errors import UserError
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.results.timed_blocks import timed_blocks

Scalar = tuple[str, int, float]
_LONGEST_NAME = 120
_LAST_STEP = 2**63 - 1  # what an event can hold


def write(results: Iterable[Result], directory: Path) -> list[Path]:
    """The event files written below `directory`, one for each run that has a figure.

    The same runs make the same files: a second export replaces the first, and shows no run twice. Every event
    bears the time of the run's start, as the record knows no other; the axis to look at is the step.

    Raises:
      UserError: tensorboardX is not installed, or the directory can't be written to.
    """
    contents = [(result, _events(result)) for result in results if any(scalars(result))]
    return [
        store.write_asked_for(directory / _name(result.id) / _file(result), content)
        for result, content in contents
    ]


def check_installed() -> None:
    """None.

    Raises:
      UserError: tensorboardX, which is optional, is not installed.
    """
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise UserError(
            "TensorBoard's event files need tensorboardX, which is not installed",
            fix=extras.install("tensorboard"),
        ) from error


def scalars(result: Result) -> Iterator[Scalar]:
    """Tag, step and value of everything that is plotted; what is of the whole run stands at its last step."""
    blocks = list(timed_blocks(result))
    curve = result.loss.curve if result.loss else ()
    for block in blocks:
        yield "throughput/samples_per_s_of_block", block.last_step, block.samples_per_s
    for step, loss in curve:
        if loss is not None:
            yield "loss/train", step, loss
    last = max([block.last_step for block in blocks] + [step for step, _ in curve], default=0)
    for tag, value in _of_the_run(result):
        if value is not None:
            yield tag, last, value


def _of_the_run(result: Result) -> Iterator[tuple[str, float | None]]:
    if speed := result.throughput:
        # A chart of TensorBoard is of one tag: what was forecast is not drawn among what was measured.
        group = "throughput" if result.kind == "measured" else "expected_throughput"
        yield f"{group}/samples_per_s", speed.samples_per_s
        yield f"{group}/tokens_per_s", speed.tokens_per_s
    if about := result.forecast:
        yield "bound/samples_per_s", about.bound_samples_per_s
    if used := result.utilization:
        yield "utilization/mfu", used.mfu
        yield "utilization/hfu", used.hfu
    if memory := result.memory:
        yield "memory/peak_bytes_allocator", memory.peak_bytes_allocator
        yield "memory/peak_bytes_compiled", memory.peak_bytes_compiled
    if held_out := result.evaluation:
        yield f"evaluation/{held_out.metric}", held_out.value


def _name(run: str) -> str:
    """The run's id as the name of one directory, whatever it holds: a file may call its run ../../x."""
    name = re.sub(r"[^\w-]", "_", run)[:_LONGEST_NAME]
    return name if name and name == run else f"{name}_{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def _file(result: Result) -> str:
    """As TensorBoard wants event files to be called, but with no name of a machine and no time of writing."""
    return f"events.out.tfevents.{int(result.created_utc.timestamp())}.trainbench"


def _events(result: Result) -> bytes:
    """The content of an event file."""
    # Imported late: it is optional, and takes a while.
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter
    from tensorboardX.summary import scalar

    moment = result.created_utc.timestamp()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "events"
        writer = RecordWriter(str(path))
        writer.write(Event(wall_time=moment, file_version="brain.Event:2").SerializeToString())
        for tag, step, value in scalars(result):
            event = Event(wall_time=moment, step=min(step, _LAST_STEP), summary=scalar(tag, value))
            writer.write(event.SerializeToString())
        writer.close()
        return path.read_bytes()
