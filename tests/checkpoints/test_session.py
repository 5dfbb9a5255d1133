"""How a run that saves comes to its end."""

from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from trainbench import train
from trainbench.checkpoints import journal, starting
from trainbench.checkpoints import session as sessions
from trainbench.checkpoints.journal import Part
from trainbench.checkpoints.session import Session
from trainbench.checkpoints.settings import CheckpointConfig
from trainbench.checkpoints.starting import Wanted
from trainbench.distributed.team import Alone
from trainbench.errors import OutOfMemory


@pytest.fixture
def session(tmp_path):
    tmp_path = tmp_path / "ck"
    tmp_path.mkdir()
    book = starting.begun(Wanted(tmp_path, "m", {}, {}), Part(datetime.now(UTC), 0, 1, 1), Alone())
    storage: Any = SimpleNamespace()
    return Session(CheckpointConfig(5), tmp_path, storage, book, Alone(), {}, 8, ExitStack())


def insists() -> None:
    raise KeyboardInterrupt


def test_a_user_who_insists_gives_up_the_last_save_and_keeps_the_result(session):
    session.saver = SimpleNamespace(stop=insists, failures=[])
    session.stop(SimpleNamespace(said=True, insisted=False))
    assert any("given up" in line for line in session.all_warnings())


def test_nothing_is_saved_of_a_block_that_was_broken_off(session):
    session.saver = SimpleNamespace(stop=lambda: pytest.fail("the state may be half a block further"))
    session.stop(SimpleNamespace(said=True, insisted=True))


@pytest.mark.parametrize(
    ("status", "ended", "finished"),
    [
        ("ok", "ok", True),
        ("invalid", "ok", True),
        ("interrupted", "interrupted", False),
        ("failed", "failed", False),
        ("oom", "failed", False),
    ],
)
def test_only_a_run_that_came_to_its_end_is_finished(session, status, ended, finished):
    session.end(status)
    book = journal.read(session.directory)
    assert book is not None
    assert (book.parts[-1].ended, book.finished) == (ended, finished)


def test_a_run_that_ends_without_a_record_has_failed(session):
    session.close()
    book = journal.read(session.directory)
    assert book is not None
    assert book.parts[-1].ended == "failed"


def test_how_to_go_on_is_told(session):
    assert session.way_on() == "no checkpoint was saved: the same command starts anew"
    (session.directory / "20").mkdir()
    assert session.way_on() == "the same command goes on from optimizer step 20"


def test_a_memory_that_is_too_small_is_no_damage_to_the_checkpoint(tmp_path):
    def restore(step, abstract):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes")

    storage: Any = SimpleNamespace(directory=tmp_path, restore=restore)
    with pytest.raises(OutOfMemory, match="restoring optimizer step 20: RESOURCE_EXHAUSTED"):
        sessions._restored(storage, 20, Any)


def test_a_process_whose_timed_window_is_disturbed_asks_the_others_nothing(monkeypatch):
    """They agree on the block meanwhile, and would take a question for the answer."""
    trained = SimpleNamespace(timing=SimpleNamespace(error="a transfer", interrupted=False))
    monkeypatch.setattr(train, "first_call", lambda program: True)
    monkeypatch.setattr(train, "_plan", lambda *of: (None, {}))
    monkeypatch.setattr(train, "_timed", lambda *of: trained)
    monkeypatch.setattr(train, "calls_ahead", lambda *of: 0)
    monkeypatch.setattr(train, "agreed_to_stop", lambda *of: pytest.fail("asked"))
    trainer: Any = SimpleNamespace(
        progress=SimpleNamespace(phase=lambda text: None),
        watched=lambda program: ExitStack(),
        source=None,
        config=SimpleNamespace(steps_per_call=1),
        team=None,
    )
    saver = SimpleNamespace(between=None, heed=None)
    session: Any = SimpleNamespace(earlier=None, watch=lambda *of: saver)
    nothing: Any = None
    assert train._train_and_save(trainer, session, nothing, nothing, "resident") is trained
