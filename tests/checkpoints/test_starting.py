"""From where a run starts, and directories that it can't start in."""

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainbench.checkpoints import files, journal, starting
from trainbench.checkpoints.journal import Part
from trainbench.checkpoints.starting import Start, Wanted
from trainbench.distributed.team import Alone
from trainbench.errors import UserError

PART = Part(datetime(2026, 1, 2, tzinfo=UTC), 0, 8, 1)


@pytest.fixture
def wanted(tmp_path):
    return Wanted(tmp_path / "ck", "vit_tiny", {"seed": 0}, {"params/bias": "float32[4]"})


def decide(wanted: Wanted) -> Start:
    with ExitStack() as stack:
        return starting.decide(wanted, Alone(), stack)


def checkpoint(wanted: Wanted, *steps: int) -> None:
    """What a run leaves behind that saved at these steps and was killed."""
    wanted.directory.mkdir(exist_ok=True)
    starting.begun(wanted, PART, Alone())
    for step in steps:
        (wanted.directory / str(step) / "state").mkdir(parents=True)
        (wanted.directory / str(step) / "state" / "d").write_bytes(b"1234")
        files.note_sizes(wanted.directory, step)


def test_an_empty_place_is_a_start(wanted):
    assert decide(wanted) == Start()
    assert wanted.directory.is_dir()
    assert decide(wanted) == Start()


def test_an_unfinished_run_goes_on_from_its_newest_checkpoint_and_says_so(wanted):
    checkpoint(wanted, 9, 20)
    found = decide(wanted)
    assert found.step == 20
    assert "optimizer step 20" in found.words[0]
    assert "killed" in found.words[0]


def test_a_run_that_was_killed_is_told_from_one_that_was_interrupted(wanted):
    checkpoint(wanted, 9)
    book = starting.begun(wanted, PART, Alone())
    assert [part.ended for part in book.parts] == ["killed", None]
    journal.write(wanted.directory, book.ended("interrupted", finished=False))
    assert "interrupted" in decide(wanted).words[0]
    assert [part.ended for part in starting.begun(wanted, PART, Alone()).parts] == [
        "killed",
        "interrupted",
        None,
    ]


def test_a_finished_run_is_set_aside_and_never_deleted(wanted):
    for number in (1, 2):
        checkpoint(wanted, 20)
        book = journal.read(wanted.directory)
        assert book is not None
        journal.write(wanted.directory, book.ended("ok", finished=True))
        found = decide(wanted)
        aside = wanted.directory.with_name(f"ck.finished-{number}")
        assert found.step is None
        assert str(aside) in found.words[0]
        assert (aside / "20" / "state" / "d").read_bytes() == b"1234"
        assert files.steps_in(wanted.directory) == ()


def test_a_save_that_was_broken_off_is_no_checkpoint(wanted):
    checkpoint(wanted, 9)
    (wanted.directory / "20.orbax-checkpoint-tmp").mkdir()
    assert decide(wanted).step == 9


def test_another_model_that_came_to_no_checkpoint_is_no_obstacle(wanted):
    checkpoint(wanted, 9)
    shutil.rmtree(wanted.directory / "9")
    other = replace(wanted, model="bert_tiny", arrays={"params/bias": "float32[5]"})
    assert decide(other).step is None
    book = starting.begun(other, PART, Alone())
    assert (book.model, len(book.parts)) == ("bert_tiny", 1)


def test_another_model_is_refused_with_the_arrays_that_differ(wanted):
    checkpoint(wanted, 9)
    with pytest.raises(
        UserError, match=r"another model \(vit_tiny, not bert_tiny\).*params/bias is float32\[4\]"
    ):
        decide(replace(wanted, model="bert_tiny", arrays={"params/bias": "float32[5]"}))


def test_other_settings_are_refused_by_name(wanted):
    checkpoint(wanted, 9)
    with pytest.raises(UserError, match="other settings: seed is 0 there and 1 here") as error:
        decide(replace(wanted, settings={"seed": 1}))
    assert "checkpoint.dir=" in error.value.fix


@pytest.mark.parametrize(("content", "what"), [(b"12", "has 2 bytes in place of 4"), (None, "is missing")])
def test_a_damaged_file_is_named_with_the_earlier_checkpoint_and_what_to_type(wanted, content, what):
    checkpoint(wanted, 9, 20)
    file = wanted.directory / "20" / "state" / "d"
    file.write_bytes(content) if content else file.unlink()
    with pytest.raises(UserError, match=f"20/state/d {what}") as error:
        decide(wanted)
    assert str(wanted.directory / "9") in error.value.allowed
    assert f"mv {wanted.directory / '20'} {wanted.directory / '20'}.damaged" in error.value.fix
    assert "from optimizer step 9" in error.value.fix
    (wanted.directory / "20").rename(wanted.directory / "20.damaged")
    assert decide(wanted).step == 9, "what was told to be typed helps"


def test_where_no_earlier_checkpoint_is_whole_the_run_starts_anew(wanted):
    checkpoint(wanted, 9)
    (wanted.directory / "9" / "state" / "d").unlink()
    with pytest.raises(UserError, match="9/state/d is missing") as error:
        decide(wanted)
    assert "starts anew" in error.value.fix


def test_sizes_of_a_checkpoint_that_is_gone_are_not_held_against_another_of_its_name(wanted):
    checkpoint(wanted, 9, 20)
    (wanted.directory / "20").rename(wanted.directory / "20.damaged")
    decide(wanted)
    (wanted.directory / "20" / "state").mkdir(parents=True)
    (wanted.directory / "20" / "state" / "d").write_bytes(b"longer than before")
    assert decide(wanted).step == 20


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"model": 3}'])
def test_a_damaged_journal_is_told(wanted, content):
    checkpoint(wanted, 9)
    (wanted.directory / journal.FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json cannot be read: damaged") as error:
        decide(wanted)
    assert "mv " in error.value.fix


def test_checkpoints_of_another_program_are_left_alone(wanted):
    (wanted.directory / "1000").mkdir(parents=True)
    with pytest.raises(UserError, match="another program wrote them"):
        decide(wanted)


def test_a_directory_that_cannot_be_made_is_told_by_its_key(wanted, tmp_path):
    (tmp_path / "ck").write_text("in the way")
    with pytest.raises(UserError, match="checkpoints cannot be written to") as error:
        decide(wanted)
    assert error.value.fix == "checkpoint.dir=DIRECTORY"


def test_two_runs_at_once_are_one_too_many(wanted):
    with ExitStack() as stack:
        starting.decide(wanted, Alone(), stack)
        with pytest.raises(UserError, match="another run is writing into"):
            decide(wanted)


@dataclass(frozen=True)
class Second:
    """Process 1 of two, which hears what process 0 says."""

    first: tuple[str, ...]
    index: int = 1
    names: tuple[str, ...] = ("process 0 (a)", "process 1 (b)")

    def exchange(self, words: str) -> tuple[str, ...]:
        return (self.first[0] if words == "{}" else self.first[1], words)


def test_other_processes_do_as_process_0_says(wanted):
    wanted.directory.mkdir()
    (wanted.directory / starting.LOCK).touch()
    said = json.dumps({"step": 20, "words": ["going on"]})
    found = starting.decide(wanted, Second((said, str(wanted.directory))), ExitStack())
    assert found == Start(20, ("going on",))
    said = json.dumps({"problem": "it is damaged", "allowed": "", "fix": "mv"})
    with pytest.raises(UserError, match="it is damaged"):
        starting.decide(wanted, Second((said, "")), ExitStack())


def test_a_process_that_does_not_see_the_directory_is_named(wanted):
    said = json.dumps({"step": None, "words": []})
    with pytest.raises(UserError, match=r"process 1 \(b\) does not see the checkpoints in /shared/ck"):
        starting.decide(wanted, Second((said, str(Path("/shared/ck")))), ExitStack())
