import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.results import examples
from trainbench.errors import UserError
from trainbench.results import store
from trainbench.results.record import SCHEMA_VERSION, Result, Throughput

VERSION = f'"schema_version": {SCHEMA_VERSION}'
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NOT_NEGATIVE = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("example", examples.ALL)
def test_what_is_written_is_read_back(tmp_path, example):
    path = store.write(example(), tmp_path)
    assert path == tmp_path / "result.json"
    assert store.read(path) == example()
    assert store.read(tmp_path) == example()


@given(rate=NOT_NEGATIVE, losses=st.lists(FINITE, min_size=1), config=st.dictionaries(st.text(), JSON_VALUES))
def test_every_finite_number_survives_the_file_exactly(tmp_path_factory, rate, losses, config):
    curve = tuple(enumerate(losses))
    loss = {"first": losses[0], "last": losses[-1], "finite": True, "curve": curve}
    changes = {"throughput": Throughput(samples_per_s=rate), "loss": loss, "config": config}
    result = Result.model_validate(dict(examples.ok_gpu()) | changes)
    assert store.read(store.write(result, tmp_path_factory.mktemp("trip"))) == result


def test_file_is_complete_json_with_every_field_and_a_final_newline(tmp_path):
    text = store.write(examples.oom(), tmp_path).read_text("utf-8")
    content = json.loads(text)
    assert text.endswith("}\n")
    assert set(content) == set(Result.model_fields)
    assert content["timing"] is None


def test_missing_directories_are_made(tmp_path):
    assert store.write(examples.ok_gpu(), tmp_path / "a" / "b").exists()


def test_file_has_the_permissions_of_any_other_file_of_the_user(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert store.write(examples.ok_gpu(), tmp_path).stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), SystemExit(1)])
def test_death_between_write_and_rename_leaves_the_old_file_whole(tmp_path, monkeypatch, interruption):
    store.write(examples.ok_gpu(), tmp_path)

    def die(*_: object) -> None:
        raise interruption

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(type(interruption)):
        store.write(examples.ok_cpu(), tmp_path)
    assert store.read(tmp_path) == examples.ok_gpu()
    assert os.listdir(tmp_path) == ["result.json"]


def test_rename_comes_after_the_bytes_are_on_the_disk(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    store.write(examples.ok_gpu(), tmp_path)
    assert calls == ["fsync", "replace"]


@pytest.mark.parametrize("save", [lambda path: store.write(examples.ok_gpu(), path), store.check_writable])
def test_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch, save):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as caught:
        save(tmp_path)
    assert str(tmp_path) in caught.value.problem
    assert "No space left" in caught.value.problem
    assert "free some space" in caught.value.fix
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("save", [lambda path: store.write(examples.ok_gpu(), path), store.check_writable])
@pytest.mark.parametrize("below", ["", "deeper"])
def test_file_in_the_place_of_the_directory_is_an_error_with_a_fix(tmp_path, save, below):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UserError) as caught:
        save(tmp_path / "taken" / below)
    assert str(tmp_path / "taken") in caught.value.problem
    assert "hydra.run.dir=" in caught.value.fix
    assert (tmp_path / "taken").read_text() == "mine"


def test_directory_without_permission_is_found_before_the_run(tmp_path, monkeypatch):
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match="Permission denied"):
        store.check_writable(tmp_path)


def test_writable_directory_is_made_and_left_empty(tmp_path):
    store.check_writable(tmp_path / "new")
    assert os.listdir(tmp_path / "new") == []


def test_record_that_could_not_be_read_back_is_not_written(tmp_path):
    unchecked = examples.ok_gpu().model_copy(update={"status": "failed"})
    with pytest.raises(ValidationError, match="status_reason"):
        store.write(unchecked, tmp_path)
    assert os.listdir(tmp_path) == []


def test_missing_result_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(UserError, match=r"there is no result at .*result\.json"):
        store.read(tmp_path)


def damage(tmp_path: Path, old: str, new: str) -> Path:
    path = store.write(examples.ok_gpu(), tmp_path)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (VERSION, '"schema_version": 999', r"newer trainbench \(schema 999\)"),
        (VERSION, '"schema_version": 0', "there is no schema 0"),
        (VERSION, '"schema_version": true', "no schema_version"),
        (f"{VERSION},", "", "no schema_version"),
        ('"samples_per_s": 2791.4', '"samples_per_s": "2791.4"', "throughput.samples_per_s: .*valid number"),
        ('"samples_per_s": 2791.4', '"samples_per_s": NaN', "NaN, which is not JSON"),
        ('"id":', '"identity":', "identity: Extra inputs"),
        (VERSION, "", "damaged or not a result"),
    ],
)
def test_damaged_file_says_what_is_wrong(tmp_path, old, new, says):
    with pytest.raises(UserError, match=says) as caught:
        store.read(damage(tmp_path, old, new))
    assert caught.value.fix


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'"text"', b"\xff\xfe\x00", b'{"schema_version": "1"}'])
def test_other_files_are_not_results(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged or not a result"):
        store.read(path)


def test_truncated_file_is_damaged(tmp_path):
    path = store.write(examples.ok_gpu(), tmp_path)
    path.write_text(path.read_text("utf-8")[:700], "utf-8")
    with pytest.raises(UserError, match="damaged"):
        store.read(path)


def test_what_the_user_named_is_written_into_where_it_is_no_ordinary_file(tmp_path):
    """A rename would put a file in the place of /dev/null."""
    reader, writer = os.pipe()
    try:
        store.write_asked_for(Path(f"/dev/fd/{writer}"), b"table")
        assert os.read(reader, 100) == b"table"
    finally:
        os.close(reader)
        os.close(writer)
    with pytest.raises(UserError, match="No space left"):
        store.write_asked_for(Path("/dev/full"), b"table")
    assert Path("/dev/full").is_char_device()


def test_a_link_that_the_user_named_stays_a_link(tmp_path):
    file, link = tmp_path / "table.csv", tmp_path / "link"
    link.symlink_to(file)
    assert store.write_asked_for(link, b"table") == link
    assert link.is_symlink()
    assert file.read_bytes() == b"table"


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        store.write_asked_for(tmp_path / ("a" * 5000), b"table")
    with pytest.raises(UserError):
        store.read(Path("a" * 5000))
