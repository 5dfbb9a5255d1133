"""What a run's summary says of its checkpoints."""

from trainbench.report.numbers import duration, number, size
from trainbench.results.record import Checkpoint, Result


def checkpoints(result: Result) -> list[str]:
    """One text: what a save costs, and the segments where there are several; nothing without checkpoints."""
    saved = result.checkpoint
    if saved is None:
        return []
    return [" · ".join([_saves(saved), *_cost(saved), *_segments(result)])]


def _saves(saved: Checkpoint) -> str:
    if not saved.saves:
        return "no save between timed steps"
    of = f" of {size(saved.size_bytes)}" if saved.size_bytes else ""
    return f"{saved.saves} saves{of}{' in the timed window' if saved.timed else ''}"


def _cost(saved: Checkpoint) -> list[str]:
    if saved.save_s is None or saved.blocking_s is None:
        return []
    rate = f" ({number(saved.bytes_per_s / 1e9)} GB/s)" if saved.bytes_per_s else ""
    parts = [f"{duration(saved.save_s)} each{rate}", f"training waits {duration(saved.blocking_s)} of it"]
    if saved.slowdown is not None:
        parts.append(f"a step beside it takes {number(saved.slowdown)} times as long")
    return parts


def _segments(result: Result) -> list[str]:
    """For example "2 segments (3 + 9 blocks; earlier: killed)"."""
    if len(result.segments) < 2:
        return []
    blocks = " + ".join(str(segment.blocks) for segment in result.segments)
    ended = ", ".join(dict.fromkeys(one.ended for one in result.segments[:-1]))
    return [f"{len(result.segments)} segments ({blocks} blocks; earlier: {ended})"]
