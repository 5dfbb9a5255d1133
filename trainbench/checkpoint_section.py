"""The record's sections on checkpoints: what saving costs, and what the timed window is made of."""

import statistics
from collections import Counter
from collections.abc import Iterator

from trainbench.checkpoints.notes import Save
from trainbench.checkpoints.session import ENDED, Session
from trainbench.results import record
from trainbench.run import Parts


def checkpoint_section(parts: Parts, step_s: float | None) -> record.Checkpoint | None:
    """What saving cost, beside timed steps of `step_s` seconds; None without checkpoints."""
    session = parts.checkpoints
    if session is None or session.config.every is None:
        return None
    saves = session.saver.saves if session.saver else []
    save_s = _median(save.save_s for save in saves)
    beside_s = _beside_s(saves, parts.timing.steps_per_block if parts.timing else 1)
    return record.Checkpoint(
        every=session.config.every,
        directory=str(session.directory),
        saves=len(saves),
        size_bytes=session.state_bytes,
        save_s=save_s,
        blocking_s=_median(save.blocking_s for save in saves),
        bytes_per_s=session.state_bytes / save_s if save_s else None,
        step_time_while_saving_s=beside_s,
        slowdown=beside_s / step_s if beside_s is not None and step_s else None,
        timed=session.config.timed,
        restored_step=session.restored.step if session.restored else None,
        restore_s=session.restore_s,
    )


def _beside_s(saves: list[Save], steps_per_block: int) -> float | None:
    """Median seconds of a step beside a save; None where no block ran wholly beside one."""
    return _median(block_s / steps_per_block for save in saves for block_s in save.beside_s)


def _median(values: Iterator[float]) -> float | None:
    listed = list(values)
    return statistics.median(listed) if listed else None


def segments_section(parts: Parts, status: str) -> tuple[record.Segment, ...]:
    """The processes that the run is made of, in order; the present one ends with this status."""
    session = parts.checkpoints
    if session is None:
        return ()
    blocks = Counter(session.blocks_of(len(parts.timing.block_s) if parts.timing else 0))
    return tuple(
        record.Segment(
            started_utc=part.started_utc,
            first_step=part.first_step,
            blocks=blocks[place],
            ended=part.ended or ENDED.get(status, "failed"),
            device_count=part.device_count,
            process_count=part.process_count,
        )
        for place, part in enumerate(session.journal.parts)
    )


def checkpoint_doubts(parts: Parts) -> Iterator[str]:
    """Why a field of the sections is unknown, and what went wrong with saving or going on."""
    session = parts.checkpoints
    if session is None:
        return
    yield from session.all_warnings()
    yield from _unknown(session)


def _unknown(session: Session) -> Iterator[str]:
    saves = session.saver.saves if session.saver else []
    if not saves:
        for name in ("save_s", "blocking_s", "bytes_per_s"):
            yield f"{name}: nothing was saved between timed steps"
    if not any(save.beside_s for save in saves):
        why = (
            "saves count in the timed window" if session.config.timed else "no block ran wholly beside a save"
        )
        for name in ("step_time_while_saving_s", "slowdown"):
            yield f"{name}: {why}"
    if session.restored is None:
        for name in ("restored_step", "restore_s"):
            yield f"{name}: the run did not go on from a checkpoint"
