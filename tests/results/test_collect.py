"""Which files below some paths are results, and what is said of the others, whatever they hold."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.results import examples
from trainbench.errors import UserError
from trainbench.results import decode, store
from trainbench.results.collect import collect
from trainbench.results.record import SCHEMA_VERSION, Result


def run(name: str, **changes: object) -> Result:
    """A whole record with its own id."""
    return Result.model_validate(dict(examples.ok_gpu()) | {"id": name} | changes)


def ids(*paths: Path) -> list[str]:
    return [one.result.id for one in collect(paths).loaded]


def text(name: str = "a") -> str:
    return run(name).model_dump_json()


def test_every_result_below_a_directory_is_found_in_the_order_of_the_names(tmp_path):
    store.write(run("deep"), tmp_path / "b" / "c" / "d")
    store.write(run("top"), tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "named.json").write_text(text("named"))
    assert ids(tmp_path) == ["top", "named", "deep"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path):
    (tmp_path / "kept.txt").write_text(text())
    found = collect([tmp_path / "kept.txt"])
    assert [one.file for one in found.loaded] == [tmp_path / "kept.txt"]
    assert not found.skipped


def test_other_programs_json_is_passed_over_below_a_directory_but_not_when_it_is_named(tmp_path):
    store.write(run("mine"), tmp_path)
    for name, content in {
        "package.json": '{"name": "x", "version": "1.0.0"}',
        "pod.json": '{"kind": "Pod", "status": {"phase": "Running"}}',
        "trace.json": '{"traceEvents": []}',
        "list.json": "[1, 2]",
        "other.json": '{"schema_version": "1.4.0", "id": "GHSA"}',
    }.items():
        (tmp_path / name).write_text(content)
    found = collect([tmp_path])
    assert len(found.loaded) == 1
    assert not found.skipped
    found = collect([tmp_path, tmp_path / "package.json"])
    assert [one.file.name for one in found.skipped] == ["package.json"]


def test_an_earlier_result_and_hidden_files_are_left_out(tmp_path):
    store.write(run("old"), tmp_path)
    store.set_aside(tmp_path)
    (tmp_path / ".result.json.123-abcd.tmp").write_text("half")
    (tmp_path / ".other.json").write_text("half")
    store.write(run("new"), tmp_path)
    found = collect([tmp_path])
    assert [one.result.id for one in found.loaded] == ["new"]
    assert not found.skipped


def test_of_a_hidden_directory_only_result_files_are_taken(tmp_path):
    store.write(run("kept"), tmp_path / ".runs" / "one")
    (tmp_path / ".runs" / "cache.json").write_text("{")
    found = collect([tmp_path])
    assert [one.result.id for one in found.loaded] == ["kept"]
    assert not found.skipped


def test_a_path_that_is_not_there_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"there is nothing at .*gone") as caught:
        collect([tmp_path, tmp_path / "gone"])
    assert caught.value.fix


def test_a_directory_without_a_result_is_named_once(tmp_path):
    (tmp_path / "package.json").write_text("{}")
    assert [(one.file, one.kind) for one in collect([tmp_path, tmp_path]).skipped] == [(tmp_path, "empty")]
    assert str(collect([tmp_path]).skipped[0]).endswith("holds no result file")


def test_one_file_under_several_names_counts_once(tmp_path):
    store.write(run("a"), tmp_path / "deep")
    (tmp_path / "link").symlink_to(tmp_path / "deep", target_is_directory=True)
    os.link(tmp_path / "deep" / "result.json", tmp_path / "hard.json")
    found = collect([tmp_path, tmp_path / "deep", tmp_path / "deep" / "result.json", tmp_path / "link"])
    assert len(found.loaded) == 1
    assert not found.skipped


def test_links_are_followed_and_a_ring_of_them_ends(tmp_path):
    store.write(run("far"), tmp_path / "elsewhere")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "far").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (inside / "ring").symlink_to(inside, target_is_directory=True)
    (inside / "up").symlink_to(tmp_path, target_is_directory=True)
    assert ids(inside) == ["far"]


def test_a_copy_of_a_run_counts_once_and_is_named(tmp_path):
    store.write(run("same"), tmp_path / "a")
    store.write(run("same"), tmp_path / "b")
    found = collect([tmp_path])
    assert [one.file.parent.name for one in found.loaded] == ["a"]
    (copy,) = found.skipped
    assert (copy.kind, copy.file.parent.name) == ("copy", "b")
    assert f"is a copy of {tmp_path / 'a'}" in copy.why


HUGE_INTEGER = "9" * 5000
HOSTILE = {
    "truncated": (text()[:700], "damaged"),
    "empty": ("", "damaged"),
    "deeply nested": ("[" * 100_000, "nested too deeply"),
    "deep inside": (
        text().replace('"config":{', '"config":{"x":' + "[" * 5000 + "]" * 5000 + ","),
        "valid|deep",
    ),
    "endless number": (text().replace("2791.4", "1e9999"), "finite"),
    "endless free number": (text().replace('"steps":30', '"steps":1e9999'), "finite"),
    "NaN": (text().replace("2791.4", "NaN"), "NaN"),
    "huge integer": (text().replace("25557032", HUGE_INTEGER), "damaged|valid"),
    "integer beyond 64 bits": (text().replace("25557032", str(2**63)), "workload.parameters"),
    "text for a number": (text().replace("2791.4", '"2791.4"'), "valid number"),
    "list for an object": (text().replace('"throughput":{', '"throughput":[{').replace("}", "}]"), "damaged"),
    "half a character": (text().replace("synthetic", "\\ud800"), "damaged|valid"),
    "newer": (
        text().replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":999'),
        "newer trainbench",
    ),
    "a byte order mark": ("\ufeff" + text(), "damaged"),
}


@pytest.mark.parametrize(("content", "says"), HOSTILE.values(), ids=HOSTILE)
def test_damaged_and_hostile_files_are_named_and_the_rest_is_read(tmp_path, content, says):
    store.write(run("fine"), tmp_path / "fine")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "result.json").write_text(content)
    found = collect([tmp_path])
    assert [one.result.id for one in found.loaded] == ["fine"]
    (skipped,) = found.skipped
    assert skipped.file == tmp_path / "bad" / "result.json"
    assert skipped.kind == "damaged"
    assert re.search(says, skipped.why)
    assert len(str(skipped)) < 1000


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "result.json").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in collect([tmp_path]).skipped[0].why


def test_a_torn_file_is_named_under_any_json_name(tmp_path):
    (tmp_path / "torn.json").write_text(text()[:400])
    assert [one.file.name for one in collect([tmp_path]).skipped] == ["torn.json"]


def test_a_directory_called_like_a_result_is_named_and_looked_into(tmp_path):
    store.write(run("inner"), tmp_path / "result.json" / "deeper")
    found = collect([tmp_path])
    assert [one.result.id for one in found.loaded] == ["inner"]
    assert [one.why for one in found.skipped] == ["is a directory"]


def test_a_pipe_in_the_place_of_a_result_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "result.json")
    with pytest.raises(UserError, match="not an ordinary file"):
        store.read(tmp_path)
    assert [one.why for one in collect([tmp_path]).skipped] == ["is not an ordinary file"]


def test_a_file_too_large_for_a_result_is_not_read(tmp_path, monkeypatch):
    store.write(run("a"), tmp_path)
    monkeypatch.setattr(store, "LARGEST", 1000)
    assert "too large for a result" in collect([tmp_path]).skipped[0].why


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "result.json").symlink_to(tmp_path / "gone")
    assert "link to nothing" in collect([tmp_path]).skipped[0].why


def test_a_directory_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    store.write(run("open"), tmp_path / "open")
    store.write(run("closed"), tmp_path / "closed")
    scandir = os.scandir

    def refusing(path: object) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = collect([tmp_path])
    assert [one.result.id for one in found.loaded] == ["open"]
    assert [str(one) for one in found.skipped] == [f"{tmp_path}/closed cannot be read: Permission denied"]


def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    store.write(run("a"), tmp_path)

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(store, "_without_waiting", refuse)
    assert collect([tmp_path]).skipped[0].why == "cannot be read: Permission denied"


def test_control_characters_reach_no_terminal_but_stay_in_the_record(tmp_path):
    named = tmp_path / "\x1b[31mred\nline"
    store.write(run("\x1b]0;title\x07"), named)
    (named / "torn.json").write_text("{")
    found = collect([tmp_path])
    assert found.loaded[0].result.id == "\x1b]0;title\x07"
    assert str(found.skipped[0]).isprintable()
    assert "?[31mred?line" in str(found.skipped[0])


def test_ten_thousand_results_are_parsed_once_each(tmp_path, monkeypatch):
    count = 10_000
    content = examples.failed_early().model_dump_json()
    name = examples.failed_early().id
    for number in range(count):
        (tmp_path / f"{number:05}.json").write_text(content.replace(name, f"run-{number}"))
    opened, parsed = [], []
    read, validate = store.content, Result.model_validate_json
    monkeypatch.setattr(store, "content", lambda file: (opened.append(file), read(file))[1])
    monkeypatch.setattr(
        Result, "model_validate_json", lambda *a, **k: (parsed.append(1), validate(*a, **k))[1]
    )
    monkeypatch.setattr(decode.json, "loads", lambda *_: pytest.fail("a sound file was parsed a second time"))
    found = collect([tmp_path])
    assert len(found.loaded) == len(opened) == len(parsed) == count
    assert not found.skipped


def test_reading_results_starts_no_jax_and_no_tables():
    program = "import sys; from trainbench.results.collect import collect; collect([]); "
    program += "print({'jax', 'polars'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_json_escapes_are_read_as_the_text_they_mean(tmp_path):
    content = json.loads(text())
    content["workload"]["model"] = "=cmd|' /C calc'!A0"
    (tmp_path / "result.json").write_text(json.dumps(content))
    (one,) = collect([tmp_path]).loaded
    assert one.result.workload is not None
    assert one.result.workload.model == "=cmd|' /C calc'!A0"


def test_a_name_that_no_file_can_have_is_nothing():
    with pytest.raises(UserError, match="nothing at"):
        collect([Path("a" * 5000)])
