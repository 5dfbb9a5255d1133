"""Checkpoints on the disk, by Orbax: one directory each, named by its step, there whole or not at all.

The only module that imports Orbax; to be imported late, and only where checkpoints are asked for.
"""

import contextlib
import logging
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from trainbench.checkpoints import files
from trainbench.checkpoints.notes import Notes, as_plain, from_plain
from trainbench.measure.clock import Clock, wall_clock
from trainbench.training.state import TrainState

# Orbax's name of a save that is not complete.
UNFINISHED = "*.orbax-checkpoint-tmp*"
# The two parts of a checkpoint.
STATE, NOTES = "state", "notes"


def _be_quiet() -> None:
    """Leave it to us to tell what fails: a read or a write brings others down, each with a traceback.

    Orbax and asyncio log them; TensorStore's threads print them, as they find their event loop closed.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = hook


_be_quiet()


class Saving:
    """A save that goes on in the background.

    Attributes:
      started_s, blocked_until_s: by the clock: when it began, and when the training could go on.
      ended_s: when the checkpoint was complete on the disk; None: it is not.
      error: why there is no checkpoint; None: there is one, or not yet.
    """

    def __init__(self, storage: "Storage", step: int, started_s: float, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self.step = step
        self.started_s = started_s
        self.blocked_until_s = clock()
        self.ended_s: float | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._finish, name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Return when it is over; Ctrl-C gets through."""
        while not self.over:
            self._thread.join(0.1)

    def _finish(self) -> None:
        try:
            self._storage.wait()
            self.ended_s = self._clock()
            # One process speaks of the files of all.
            if not jax.process_index():
                files.note_sizes(self._storage.directory, self.step)
        except Exception as error:
            self.error = error


class Storage:
    """The checkpoints of one directory, of which the `keep` newest are kept."""

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory = directory
        self._keep = keep
        self._manager = self._fresh(cleaned=True)

    def _fresh(self, *, cleaned: bool) -> ocp.CheckpointManager:
        """A manager; `cleaned`, of a directory without what unfinished saves left behind."""
        options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, cleanup_tmp_directories=cleaned)
        return ocp.CheckpointManager(self.directory, options=options)

    def recover(self) -> None:
        """To be called after a save has failed, in every process: Orbax would tell of it again and again."""
        self.close()
        # Threads of the failed save may still write: what can't be removed now is removed by the next run,
        # where Orbax would fail the next save over it.
        if not jax.process_index():
            for unfinished in self.directory.glob(UNFINISHED):
                shutil.rmtree(unfinished, ignore_errors=True)
        self._manager = self._fresh(cleaned=False)

    def begin(self, state: TrainState, notes: Notes, clock: Clock = wall_clock) -> Saving:
        """Start to save; the state may be donated afterwards.

        Raises:
          Exception: whatever the disk, or Orbax, has against it.
        """
        started_s = clock()
        # The copy to the host is meant, and may fall into the timed window.
        with jax.transfer_guard("allow"):
            self._manager.save(
                notes.step,
                args=ocp.args.Composite(
                    **{STATE: ocp.args.StandardSave(state), NOTES: ocp.args.JsonSave(as_plain(notes))}
                ),
                force=True,
            )
        return Saving(self, notes.step, started_s, clock)

    def wait(self) -> None:
        """Return when nothing is being saved.

        Raises:
          Exception: why the last save failed.
        """
        self._manager.wait_until_finished()

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, Notes]:
        """A checkpoint, its arrays on the devices and in the shardings of `abstract`.

        Raises:
          Exception: whatever Orbax finds wrong with it.
        """
        asked = ocp.args.Composite(
            **{STATE: ocp.args.StandardRestore(abstract), NOTES: ocp.args.JsonRestore()}
        )
        restored = self._manager.restore(step, args=asked)
        state: TrainState = jax.block_until_ready(restored[STATE])
        return state, from_plain(restored[NOTES])

    def close(self) -> None:
        # Whatever the last save failed of has been told.
        with contextlib.suppress(Exception):
            self._manager.close()
