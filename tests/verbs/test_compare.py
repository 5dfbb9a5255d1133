"""`compare` and `compare --ab`, through the command line's main."""

import json
import subprocess
import sys

import pytest
from filelock import FileLock

from tests.results import forecasts
from tests.results.comparing import changed, timed, written
from trainbench import cli
from trainbench.errors import UserError
from trainbench.processes import ab
from trainbench.processes.child import Outcome

A, B = "model=vit_tiny", "model=vit_tiny precision=fp32"


def run(*arguments):
    return cli.main(["compare", *map(str, arguments)])


@pytest.fixture
def sides(tmp_path):
    """Directories with one run each: base, one as fast, one slower, one of another model."""
    runs = {
        "base": timed(0.1, seed=1),
        "same": timed(0.1, seed=2),
        "slow": timed(0.12, seed=3),
        "other": timed(0.1, seed=4, workload={"model": "resnet18"}),
    }
    return {name: written(tmp_path / name, [result]) for name, result in runs.items()}


def test_the_exit_code_is_1_for_a_regression_and_0_for_none(sides, capsys):
    assert run(sides["base"], sides["slow"]) == 1
    assert "exit code 1: a regression" in capsys.readouterr().out
    assert run(sides["base"], sides["same"]) == 0
    assert run(sides["slow"], sides["base"]) == 0


def test_nothing_comparable_is_code_2_and_says_what_differs(sides, capsys):
    assert run(sides["base"], sides["other"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "nothing is comparable: 1 run in BASE, 1 run in NEW" in shown
    assert "model resnet50 → resnet18" in shown


def test_forecasts_give_a_ratio_with_its_interval_and_no_exit_code_but_a_strict_one(tmp_path, capsys):
    base = written(tmp_path / "old", [forecasts.compiled(rate=3000.0, share=0.1)])
    new = written(tmp_path / "new", [forecasts.compiled(rate=1500.0, share=0.1, id="new")])
    assert run(base, new, "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 0
    speed = found["pairs"][0]["metrics"]["speed"]
    assert speed["ratio"] == pytest.approx(0.5)
    assert (speed["verdict"], speed["reason"]) == ("shown", "not judged: forecast")
    assert speed["interval"] == pytest.approx([1350 / 3300, 1650 / 2700])
    assert run(base, new, "--strict") == 1


def test_damaged_files_are_named_and_the_rest_is_compared(sides, capsys):
    (sides["same"] / "result.json").write_text('{"schema_version": 1, "kind"')
    assert run(sides["base"], sides["same"]) == 0
    assert "left out:" in capsys.readouterr().out


def test_the_threshold_is_the_users(sides, tmp_path):
    assert run(sides["base"], sides["slow"], "--threshold", "30%") == 0
    assert run(sides["base"], sides["slow"], "--threshold", "0.05") == 1


@pytest.mark.parametrize("threshold", ["much", "-1%", "200%", "nan"])
def test_a_threshold_that_is_no_share_is_refused(sides, threshold, capsys):
    assert run(sides["base"], sides["same"], f"--threshold={threshold}") == 2
    assert "--threshold" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [(), ("a",), ("a", "b", "c"), ("a", "b", "--rounds", "3"), ("--fast",), ("nowhere", "neither")],
)
def test_mistakes_are_answered_with_code_2(arguments, capsys):
    assert run(*arguments) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_json_and_markdown_go_to_files_or_to_the_terminal(sides, tmp_path, capsys):
    page, data = tmp_path / "new" / "page.md", tmp_path / "data.json"
    assert run(sides["base"], sides["slow"], "--markdown", page, "--json", data) == 1
    assert page.read_text().startswith("| what | base | new |")
    assert json.loads(data.read_text())["exit_code"] == 1
    capsys.readouterr()
    assert run(sides["base"], sides["slow"], "--json", "-") == 1
    assert json.loads(capsys.readouterr().out)["pairs"][0]["metrics"]["speed"]["verdict"] == "regression"
    assert run(sides["base"], sides["slow"], "--json", "-", "--markdown", "-") == 2


def test_what_is_written_spares_the_results_and_one_another(sides, tmp_path, capsys):
    result = next(sides["base"].rglob("result.json"))
    before = result.read_bytes()
    both = tmp_path / "both"
    assert run(sides["base"], sides["slow"], "--json", result) == 2
    assert run(sides["base"], sides["slow"], "--json", both, "--markdown", both) == 2
    assert run(sides["base"], sides["slow"], "--markdown", tmp_path) == 2
    assert result.read_bytes() == before
    assert not both.exists()
    shown = " ".join(capsys.readouterr().err.split())
    assert "is one of the results" in shown
    assert "would both go to" in shown
    assert "is a directory" in shown


def test_runs_on_another_number_of_devices_are_said_to_be_so(sides, tmp_path, capsys):
    eight = timed(0.1, seed=2, hardware={"device_count": 8, "chip_count": 8})
    assert run(sides["base"], written(tmp_path / "eight", [eight])) == 2
    assert "the most alike differ in device count 1 → 8" in " ".join(capsys.readouterr().err.split())


def test_comparing_files_needs_no_jax():
    code = "import sys; from trainbench.verbs import compare; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class Runs:
    """Stands in for child.run: hands out steps of 100 ms for A and of `b_s` for B, and keeps the order."""

    def __init__(self, b_s=0.1, stop_at=None, broken=None, code=None):
        self.b_s, self.stop_at, self.broken, self.code = b_s, stop_at, broken, code
        self.order = []
        self.overrides = []

    def __call__(self, overrides, directory, lock=None):
        side = directory.parent.name
        self.order.append(side)
        self.overrides.append(list(overrides))
        if len(self.order) == self.stop_at:
            return Outcome(130, None, "stopped")
        if side == self.broken:
            return Outcome(self.code, None, f"the process ended with code {self.code} and left no result")
        seconds = self.b_s if side == "b" else 0.1
        precision = "fp32" if side == "b" else "bf16"
        seed = len(self.order)
        result = timed(seconds * (1 + seed % 3 / 1000), seed=seed, workload={"precision": precision})
        return Outcome(0, changed(result, id=f"{side}-{seed}"), "")


@pytest.fixture
def fake(monkeypatch):
    def install(**options):
        runs = Runs(**options)
        monkeypatch.setattr("trainbench.processes.child.run", runs)
        return runs

    return install


def test_ab_runs_the_sides_in_turn_and_compares_them_though_their_work_differs(fake, tmp_path, capsys):
    runs = fake(b_s=0.12)
    assert run("--ab", A, B, "--rounds", 4, "--dir", tmp_path / "ab") == 1
    assert runs.order == list("abbaabba")
    assert runs.overrides[1] == ["model=vit_tiny", "precision=fp32"]
    shown = capsys.readouterr()
    assert "slower" in shown.out
    assert "precision bf16 → fp32" in shown.out
    assert shown.out.startswith(f"A: {A}\nB: {B}\n")
    assert "\nresnet50 batch 256 " in shown.out
    assert "one run a side" not in shown.out
    assert "round 4/4, side A: run 8 of 8, about" in shown.err


def test_ab_without_a_difference_is_code_0(fake, tmp_path, capsys):
    fake()
    assert run("--ab", A, A, "--rounds", 4, "--dir", tmp_path / "ab") == 0


def test_stopping_compares_the_complete_rounds_and_returns_130(fake, tmp_path, capsys):
    runs = fake(b_s=0.12, stop_at=10)
    assert run("--ab", A, B, "--rounds", 10, "--dir", tmp_path / "ab") == 130
    assert len(runs.order) == 10
    assert "slower" in capsys.readouterr().out
    fake(stop_at=2)
    assert run("--ab", A, B, "--dir", tmp_path / "early") == 130
    assert capsys.readouterr().out == ""


def test_a_side_that_breaks_ends_it_after_its_round_as_a_regression(fake, tmp_path, capsys):
    runs = fake(broken="b", code=-9)
    assert run("--ab", A, B, "--rounds", 10, "--dir", tmp_path / "ab") == 1
    assert runs.order == ["a", "b"]
    assert "code -9" in capsys.readouterr().out


def test_a_side_that_the_child_refuses_is_the_users_mistake(fake, tmp_path, capsys):
    fake(broken="b", code=2)
    assert run("--ab", A, B, "--dir", tmp_path / "ab") == 2
    assert "side B cannot be run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("side", "words"),
    [
        ("model=vit_tny", "side B: model=vit_tny is not known"),
        ("batch_sise=4", "side B: batch_sise is not a known key"),
        ("batch_size=-4", "side B: batch_size=-4"),
        ("batch_size=4,8", "side B"),
        ("'model=vit_tiny", "cannot be split into words"),
        ("hydra.run.dir=x", "hydra.run.dir=x is not for one side"),
        ("model=bert_tiny", "one side trains on images, the other on text"),
    ],
)
def test_bad_overrides_are_refused_before_the_first_run(fake, tmp_path, side, words, capsys):
    runs = fake()
    assert run("--ab", A, side, "--dir", tmp_path / "ab") == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert runs.order == []


def test_ab_does_not_mix_its_runs_with_earlier_ones(fake, tmp_path, capsys):
    runs = fake()
    (tmp_path / "a").mkdir()
    assert run("--ab", A, B, "--dir", tmp_path) == 2
    assert runs.order == []


@pytest.mark.parametrize("rounds", ["0", "-2", "many", "1.5"])
def test_rounds_are_a_count(fake, tmp_path, rounds, capsys):
    fake()
    assert run("--ab", A, B, f"--rounds={rounds}") == 2
    assert "--rounds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        (1, "1 round cannot see how runs of one program differ"),
        (2, "2 rounds are too few to see any change"),
        (10, "10 rounds see a change of 2.8"),
    ],
)
def test_ab_says_before_it_runs_what_so_many_rounds_can_see(fake, tmp_path, rounds, words, capsys):
    fake(stop_at=1)
    assert run("--ab", A, B, "--rounds", rounds, "--dir", tmp_path / "ab") == 130
    assert capsys.readouterr().err.startswith(words)


def test_a_run_that_is_refused_later_leaves_the_complete_rounds(fake, tmp_path, capsys, monkeypatch):
    runs = fake(b_s=0.12)

    def full(overrides, directory, lock=None):
        if directory.name == "4":
            raise UserError("the disk is full")
        return runs(overrides, directory)

    monkeypatch.setattr("trainbench.processes.child.run", full)
    assert run("--ab", A, B, "--rounds", 6, "--dir", tmp_path / "ab") == 2
    shown = capsys.readouterr()
    assert "slower" in shown.out
    assert "the disk is full" in shown.err
    assert len(runs.order) == 6


def test_two_ab_do_not_run_into_one_directory(fake, tmp_path, capsys):
    runs = fake()
    with FileLock(tmp_path / ab.LOCK_FILE):
        assert run("--ab", A, B, "--dir", tmp_path) == 2
    assert runs.order == []
    assert "another compare --ab is writing into" in capsys.readouterr().err


def test_strict_does_not_pass_a_damaged_file_of_new(sides, tmp_path, capsys):
    (sides["same"] / "cut").mkdir()
    (sides["same"] / "cut" / "result.json").write_text("{")
    assert run(sides["base"], sides["same"]) == 0
    assert run(sides["base"], sides["same"], "--strict") == 1
    assert "1 damaged file in NEW" in " ".join(capsys.readouterr().out.split())
    assert run(sides["same"], sides["base"], "--strict") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--threshold", "3"), "--threshold 3%"),
        (("--ab", "X"), "compare --ab 'OVERRIDES A' 'OVERRIDES B'"),
    ],
)
def test_the_fix_names_what_was_meant(sides, arguments, words, capsys):
    assert run(sides["base"], sides["same"], *arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split("fix:")[1].split())


def test_a_file_of_a_newer_trainbench_is_named_first(sides, tmp_path, capsys):
    newer = tmp_path / "newer.json"
    content = json.loads(next(sides["base"].rglob("result.json")).read_text())
    newer.write_text(json.dumps(content | {"schema_version": 99}))
    assert run(newer, sides["base"]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.startswith(f"trainbench: nothing is comparable: {newer} was written by a newer trainbench")
