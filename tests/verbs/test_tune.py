"""`tune` through the command line's main, on a machine whose runs are faked."""

import csv
import json

import pytest
from filelock import FileLock

from tests.tuning.fakes import POSSIBLE, Machine
from trainbench import cli
from trainbench.processes import child, sweep
from trainbench.tuning import folder, possible

RUN = ("tune", "model=vit_tiny", "levers=remat,first_moment", "--dir", "there")


@pytest.fixture
def tuned(tmp_path, monkeypatch, capsys):
    """Runs the command line on a machine: exit code, what was printed, what was said on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(possible, "ask", lambda overrides: POSSIBLE)

    def run(machine, *arguments):
        monkeypatch.setattr(child, "run", machine)
        monkeypatch.setattr(sweep, "time", machine.time)
        code = cli.main([*RUN, *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


FASTER = {"remat=dots": 1.3, "first_moment=bf16": 1.2, "remat=full": 0.8}


def test_the_best_combination_is_proven_in_turn_and_written_to_be_reused(tuned, tmp_path):
    code, printed, said = tuned(Machine(FASTER), "batch_size=8", "minutes=20")
    assert code == 0
    assert "best: remat=dots first_moment=bf16, 56.0 % faster than the default" in printed
    assert "to run it: python -m trainbench --config-dir there +tuned=best" in printed
    text = (tmp_path / "there" / "tuned" / "best.yaml").read_text()
    assert "first_moment: bf16\n" in text
    assert "override /model: vit_tiny" in text
    assert "override /measure" not in text
    assert "trial 2, 19 min 50 s left" in said
    assert "round 1 of at most 10, " in said


def test_each_levers_own_effect_is_a_table_here_and_in_files(tuned, tmp_path):
    code, printed, _ = tuned(Machine(FASTER), "batch_size=8", "minutes=20", "--markdown", "levers.md")
    assert code == 0
    rows = {line.split("  ")[0].strip(): line for line in printed.splitlines()}
    assert "% faster" in rows["remat=dots"]
    assert "20.0 % slower" in rows["remat=full"]
    assert "remat=dots: remat is seen" in printed
    page = (tmp_path / "levers.md").read_text()
    assert page == (tmp_path / "there" / "levers.md").read_text()
    assert "    python -m trainbench tune model=vit_tiny" in page
    assert "| remat=dots | 1.3" in page
    assert "jax" in page
    found = list(csv.DictReader((tmp_path / "there" / "levers.csv").read_text().splitlines()))
    assert float(found[0]["speed_ratio"]) == pytest.approx(1.3, rel=0.01)
    assert float(found[0]["ratio_low"]) > 1.25


def test_noise_alone_wins_nothing(tuned):
    code, printed, _ = tuned(Machine(noise=0.01), "batch_size=8", "minutes=20")
    assert code == 0
    assert "best: the default; nothing is proven to be faster" in printed


def test_runs_that_were_not_steady_are_counted(tuned):
    _, printed, _ = tuned(Machine(restless=(1, 2, 5, 6)), "--table-only", "minutes=4")
    # The first four are trials, which nothing rests on once there are rounds.
    assert "4 trials, 4 with a rate; 2 of the 20 runs behind the ratios were not steady" in printed


def test_a_machine_that_slows_down_all_the_time_favours_nothing(tuned):
    _, printed, _ = tuned(Machine(drift=0.01), "batch_size=8", "minutes=20")
    assert "best: the default; nothing is proven to be faster" in printed


def test_the_processes_stay_within_the_time(tuned):
    machine = Machine(FASTER)
    tuned(machine, "batch_size=4,8,16", "minutes=8")
    assert 0.8 * 480 < machine.now_s <= 480


def test_the_table_alone_takes_every_lever_and_no_combination(tuned):
    machine = Machine(FASTER)
    code, printed, _ = tuned(machine, "--table-only", "minutes=10")
    assert code == 0
    assert set(machine.labels()) == {"", "remat=dots", "remat=full", "first_moment=bf16"}
    assert len(machine.asked) == 4 * 11
    assert "the fastest of the search" not in printed
    assert "best: remat=dots, 30." in printed


def test_the_same_command_goes_on_and_runs_nothing_twice(tuned, tmp_path):
    first, second, whole = Machine(FASTER, {20: "interrupted"}), Machine(FASTER), Machine(FASTER)
    code, printed, said = tuned(first, "batch_size=8", "minutes=10")
    assert code == 130
    assert "stopped by the user; the same command goes on" in said
    assert "remat=dots" in printed
    assert not json.loads((tmp_path / "there" / folder.NOTE).read_text())["finished"]
    code, _, _ = tuned(second, "batch_size=8", "minutes=10")
    assert code == 0
    (tmp_path / "there").rename(tmp_path / "before")
    tuned(whole, "batch_size=8", "minutes=10")
    # But for the round that was left after three of its five: what is measured later is not in turn.
    assert len(first.asked) - 1 - 3 + len(second.asked) == len(whole.asked)
    assert json.loads((tmp_path / "there" / folder.NOTE).read_text())["finished"]


def test_a_round_that_was_left_in_the_middle_is_not_filled_up_later(tuned, tmp_path):
    tuned(Machine(FASTER, {20: "interrupted"}), "batch_size=8", "minutes=10")
    tuned(Machine(FASTER), "batch_size=8", "minutes=10")
    counts = {path.name: len(list(path.glob("*/result.json"))) for path in tmp_path.glob("there/rounds/*")}
    assert (counts["1"], counts["2"], counts["3"], counts["3-2"]) == (5, 5, 3, 5)
    assert "4-2" not in counts


def test_a_session_that_asked_for_something_else_is_left_alone(tuned):
    assert tuned(Machine(), "batch_size=8", "minutes=10")[0] == 0
    code, _, said = tuned(Machine(), "batch_size=16", "minutes=10")
    assert code == 2
    assert "asked for something else: model=vit_tiny batch_size=8" in said


def test_without_a_directory_only_an_unfinished_session_goes_on(tuned, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.verbs.test_tune.RUN", RUN[:3])
    assert tuned(Machine(statuses={9: "interrupted"}), "batch_size=8")[0] == 130
    assert tuned(Machine(), "batch_size=8")[0] == 0
    assert len(list(tmp_path.glob("outputs/tune/*/*/tune.json"))) == 1
    assert tuned(Machine(), "batch_size=8")[0] == 0
    assert len(list(tmp_path.glob("outputs/tune/*/*/tune.json"))) == 2


def test_too_little_time_is_told_with_how_much_it_takes(tuned):
    code, _, said = tuned(Machine(), "batch_size=8", "minutes=1")
    assert code == 2
    assert "minutes=1 is too short: a run takes 10.0 s here" in said
    assert "minutes=2" in said


def test_a_default_that_does_not_run_is_no_ground_to_search_on(tuned):
    code, _, said = tuned(Machine(statuses={1: "oom"}), "batch_size=8")
    assert code == 3
    assert "the default configuration gives no rate: oom" in said
    assert tuned(Machine(statuses={1: "dies"}), "batch_size=8", "--seed", "1", "--dir", "other")[0] == 1


def test_what_cannot_be_had_is_a_line_and_no_failure(tuned):
    machine = Machine(FASTER, {"remat=dots": "oom", "first_moment=bf16": "dies"})
    code, printed, _ = tuned(machine, "batch_size=8", "minutes=10")
    assert code == 0
    assert "not measured: remat=dots: oom" in printed
    assert "not measured: first_moment=bf16: the process ended with code -9" in printed


def test_refused_values_are_named_with_the_reason_once(tuned):
    code, printed, _ = tuned(Machine(), "levers=compiler_flags", "batch_size=8", "minutes=10")
    assert code == 0
    assert "not measured: compiler_flags=vmem: not for this platform" in printed


def test_combinations_that_no_run_would_take_are_not_run(tuned):
    machine = Machine()
    code, printed, _ = tuned(machine, "gradient_accumulation=2", "batch_size=8,3", "minutes=10")
    assert code == 0
    assert "batch_size=3" not in " ".join(machine.labels())
    assert "not measured: batch_size=3: batch_size cannot be cut into" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["levers=remt"], "there is no such lever"),
        (["steps=ten"], "steps=ten"),
        (["framework=torch"], "tuning is not done with framework=torch"),
        (["--fast"], "--fast"),
        (["model=vit"], ""),
    ],
)
def test_mistakes_are_one_screen_run_nothing_and_leave_nothing(tuned, tmp_path, arguments, problem):
    machine = Machine(statuses={1: "oom"})
    code, _, said = tuned(machine, *arguments)
    assert code == (2 if problem else 3)
    assert problem in said
    assert len(machine.asked) == (0 if problem else 1)
    assert (tmp_path / "there").exists() == (not problem)


def test_two_sessions_do_not_share_a_directory(tuned, tmp_path):
    (tmp_path / "there").mkdir()
    with FileLock(tmp_path / "there" / folder.LOCK):
        code, _, said = tuned(Machine(), "batch_size=8")
    assert code == 2
    assert "another tune is writing into there" in said
