"""The verb: what it writes where, what it says of what it left out, and mistakes."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import polars
import pytest

from tests.results import examples
from trainbench import extras
from trainbench.errors import UserError
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.verbs import export


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for number, example in enumerate(examples.ALL):
        one = Result.model_validate(dict(example()) | {"id": f"run-{number}"})
        store.write(one, tmp_path / "results" / example.__name__)
    return tmp_path / "results"


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def show(*arguments: object) -> int:
    return export.show([str(word) for word in arguments])


def test_several_forms_are_written_at_once(results, tmp_path, capsys):
    out = tmp_path / "out"
    forms = {name: out / f"x.{name}" for name in ("csv", "parquet", "jsonl", "mlperf", "dashboard")}
    options = [word for name, target in forms.items() for word in (f"--{name}", target)]
    assert show(results, *options, "--tensorboard", out / "tb") == 0
    assert files(out) == {*(target.name for target in forms.values()), "tb"}
    assert polars.read_csv(forms["csv"])["workload_model"].to_list() == (
        polars.read_parquet(forms["parquet"])["workload_model"].to_list()
    )
    assert forms["mlperf"].read_text().startswith(":::MLLOG ")
    assert json.loads(forms["dashboard"].read_text())[0]["unit"] == "samples/s"
    said = capsys.readouterr()
    assert said.out.startswith("9 results exported\n")
    assert all(str(target) in said.out for target in (*forms.values(), out / "tb"))
    assert said.err == "not on the dashboard: 1 not steady\n"


def test_json_lines_give_back_the_records_whole(results, tmp_path):
    show(results, "--jsonl", tmp_path / "all.jsonl")
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    read = [Result.model_validate_json(line, strict=True) for line in lines]
    assert {one.id for one in read} == {f"run-{number}" for number in range(len(examples.ALL))}
    assert next(one for one in read if one.id == "run-0") == (
        Result.model_validate(dict(examples.ok_gpu()) | {"id": "run-0"})
    )


@pytest.mark.parametrize("form", ["csv", "jsonl", "mlperf", "dashboard"])
def test_texts_go_to_standard_output_alone(results, capsysbinary, form):
    assert show(results, f"--{form}", "-") == 0
    said = capsysbinary.readouterr()
    assert b"results exported" in said.err
    assert b"results exported" not in said.out
    assert len(said.out) > 1000
    if form == "dashboard":
        json.loads(said.out)


def test_damaged_files_are_named_on_stderr_ten_at_most(results, tmp_path, capsys):
    for number in range(13):
        (results / f"torn-{number:02}.json").write_text("{")
    assert show(results, "--jsonl", tmp_path / "x.jsonl") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert "torn-00.json is damaged" in lines[0]
    assert lines[-1] == "left out: 3 more"


def test_where_nothing_was_loaded_nothing_is_written(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "result.json").write_text("{")
    with pytest.raises(UserError, match="there is no result to export in") as caught:
        show(tmp_path / "in", "--csv", tmp_path / "x.csv")
    assert caught.value.fix
    assert files(tmp_path) == {"in"}
    assert "result.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needs the results"),
        (["RESULTS"], "needs to be told what to write"),
        (["RESULTS", "--csv"], "expected one argument"),
        (["RESULTS", "--csv", ""], "names nothing"),
        (["RESULTS", "--xml", "x"], "--xml"),
        (["RESULTS", "--parquet", "-"], "no text"),
        (["RESULTS", "--csv", "-", "--jsonl", "-"], "two forms would go to -"),
        (["RESULTS", "--csv", "RESULTS/ok_gpu/result.json"], "is one of the results"),
        (["RESULTS", "--csv", "RESULTS"], "is a directory"),
        (["RESULTS/gone", "--csv", "x"], "there is nothing at"),
        (["RESULTS/oom", "--dashboard", "-"], "none of the results has a figure"),
        (["RESULTS", "--dashboard", "-", "--dashboard-format", "xml"], "github-smaller"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(results, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=says) as caught:
        show(*(word.replace("RESULTS", str(results)) for word in arguments))
    assert caught.value.allowed or caught.value.fix
    assert files(tmp_path) == {"results"}
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "mlperf", "dashboard", "tensorboard"])
def test_a_full_disk_is_named_and_leaves_the_old_file_whole(results, tmp_path, monkeypatch, form):
    target = tmp_path / "out" / "x"
    if form != "tensorboard":
        target.parent.mkdir()
        target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        show(results, f"--{form}", target)
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.read_text() for path in left] == ([] if form == "tensorboard" else ["old"])


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl", "mlperf", "dashboard", "tensorboard"])
def test_an_output_that_cannot_be_written_is_named(results, tmp_path, monkeypatch, form):
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(store, "_write_through", refuse)
    with pytest.raises(UserError, match=r"cannot write .*x.*: Read-only file system") as caught:
        show(results, f"--{form}", tmp_path / "x")
    assert "file that you may write" in caught.value.fix


def test_without_tensorboardx_the_line_to_install_it_is_told_before_anything_is_written(
    results, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match="not installed") as caught:
        show(results, "--csv", tmp_path / "x.csv", "--tensorboard", tmp_path / "tb")
    assert caught.value.fix == extras.install("tensorboard")
    assert caught.value.fix.lower().endswith(" tensorboardx")
    assert files(tmp_path) == {"results"}


def test_the_columns_are_explained_with_unit_and_scope(capsys):
    assert show("--columns") == 0
    lines = capsys.readouterr().out.splitlines()
    found = next(line for line in lines if line.startswith("throughput_samples_per_s "))
    assert "samples/s" in found
    assert "over all devices" in found
    assert lines[-1].startswith("config.KEY")


def test_the_help_names_every_option():
    for form in ("csv", "parquet", "jsonl", "mlperf", "dashboard"):
        assert f"\n  --{form} FILE" in export.HELP
    for option in ("PATH...", "--dashboard-format", "--tensorboard DIR", "--columns"):
        assert f"\n  {option}" in export.HELP
    assert "not an MLPerf submission" in export.HELP
    assert max(map(len, export.HELP.splitlines())) <= 110


def test_json_lines_need_neither_jax_nor_polars(results, tmp_path):
    program = "import sys; from trainbench.verbs import export; export.show(sys.argv[1:]); "
    program += "print({'jax', 'polars', 'tensorboardX'} & set(sys.modules))"
    command = [sys.executable, "-c", program, str(results), "--jsonl", str(tmp_path / "x.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_reader_that_stops_early_is_no_failure_of_ours(results, monkeypatch):
    class Closed(io.BytesIO):
        def write(self, content: object) -> int:
            raise BrokenPipeError

    class Stream(io.StringIO):
        buffer = Closed()

    monkeypatch.setattr(sys, "stdout", Stream())
    with pytest.raises(BrokenPipeError):
        show(results, "--csv", "-")
