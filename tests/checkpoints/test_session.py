"""How a run that saves comes to its end."""

from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from trainbench.checkpoints import journal, starting
from trainbench.checkpoints.journal import Part
from trainbench.checkpoints.session import Session
from trainbench.checkpoints.settings import CheckpointConfig
from trainbench.checkpoints.starting import Wanted
from trainbench.distributed.team import Alone
from trainbench.processes.interrupts import Wish


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
    session.stop(Wish(said=True))
    assert any("given up" in line for line in session.all_warnings())


def test_nothing_is_saved_of_a_block_that_was_broken_off(session):
    session.saver = SimpleNamespace(stop=lambda: pytest.fail("the state may be half a block further"))
    session.stop(Wish(said=True, insisted=True))


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
