"""The GPU goals: their plan, their answers, and the script that measures them, with a race that is faked."""

import importlib.util
import json
from pathlib import Path

import pytest

from tests.building import request
from trainbench import goals
from trainbench.goals import GOALS, Goal, affordable, answer
from trainbench.results.race import Figures, Standing

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_goals.py"


def standing(ratio=1.2, interval=(1.15, 1.25), mfu=0.6, rate=4000.0):
    return Standing("m", Figures(rate, 8, mfu), Figures(3000.0, 8), ratio, interval, "faster", "image")


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("gpu_goals", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("goal", GOALS, ids=[goal.name for goal in GOALS])
def test_every_goal_is_a_workload_that_there_is(goal):
    asked = request(f"model={goal.model}", *goal.overrides, f"batch_size={goal.batch_size}")
    assert asked.optimizer.name in ("sgd", "adamw")


def test_all_goals_are_planned_to_take_less_than_25_minutes():
    assert affordable(GOALS, 25 * 60) == (list(GOALS), [])
    taken, left = affordable(GOALS, 5 * 60)
    assert taken[0] is GOALS[0]
    assert left


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (standing(), "reached"),
        (standing(ratio=1.05, interval=(0.9, 1.2)), "unclear"),
        (standing(ratio=1.05, interval=(1.04, 1.06)), "missed"),
        (standing(mfu=0.5), "missed"),
        (standing(mfu=None), "unclear"),
        (standing(rate=2999.0), "missed"),
        (None, "not measured"),
    ],
)
def test_a_goal_is_reached_where_all_that_it_wants_is(found, expected):
    assert answer(Goal("g", "m", ratio=1.1, mfu=0.55, rate=3000), found) == expected


def test_the_plan_is_printed_without_a_gpu(script, capsys):
    assert script.main(["--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert all(goal.name in shown and goal.wanted in shown for goal in GOALS)
    assert "no time for it" not in shown


def test_without_a_gpu_nothing_is_measured(script, capsys, monkeypatch):
    monkeypatch.setattr(script.machine, "nvidia_gpus", lambda: None)
    assert script.main([]) == 2
    assert "no NVIDIA GPU" in capsys.readouterr().err


@pytest.fixture
def measuring(script, monkeypatch):
    """The script on a machine with a GPU, with measurements that are noted and take no time."""
    asked = []

    def measure(goal, options):
        asked.append(goal.name)
        if goal.name == "ViT-B/16":
            raise OSError("disk full")
        found = standing()
        return script.Measured(goal, found, answer(goal, found), 1.0)

    monkeypatch.setattr(script.machine, "nvidia_gpus", lambda: "NVIDIA H100")
    monkeypatch.setattr(script.settings, "check_installed", lambda *words: None)
    monkeypatch.setattr(script, "_measure", measure)
    return asked


def test_what_was_measured_is_kept_and_the_same_command_goes_on(script, measuring, tmp_path, capsys):
    arguments = ["--dir", str(tmp_path), "--only", "ResNet-50", "ViT-B/16", "ViT-S/16"]
    assert script.main(arguments) == 1
    assert measuring == ["ResNet-50", "ViT-B/16", "ViT-S/16"]
    kept = json.loads((tmp_path / "goals.json").read_text())["goals"]
    assert {name: one["answer"] for name, one in kept.items()} == {
        "ResNet-50": "reached",
        "ViT-B/16": "not measured",
        "ViT-S/16": "reached",
    }
    assert "OSError: disk full" in (tmp_path / "goals.md").read_text()
    measuring.clear()
    assert script.main(arguments) == 1
    assert measuring == ["ViT-B/16"]
    assert "| ResNet-50 | 1.10 x PyTorch and 3,000 samples/s | reached |" in capsys.readouterr().out


def test_what_was_measured_is_not_lost_where_a_later_command_names_others(script, measuring, tmp_path):
    directory = ["--dir", str(tmp_path)]
    script.main([*directory, "--only", "ResNet-50", "ViT-S/16"])
    script.main([*directory, "--only", "BERT-Base 128"])
    kept = json.loads((tmp_path / "goals.json").read_text())["goals"]
    assert list(kept) == ["ResNet-50", "ViT-S/16", "BERT-Base 128"]


def test_other_options_are_not_mixed_into_a_table(script, measuring, tmp_path, capsys):
    arguments = ["--dir", str(tmp_path), "--only", "ResNet-50"]
    script.main(arguments)
    assert script.main([*arguments, "--jax", "remat=full"]) == 2
    assert "measured with other --jax" in " ".join(capsys.readouterr().err.split())


def test_a_goal_without_that_name_is_a_mistake(script, measuring, capsys):
    assert script.main(["--only", "ResNet-50", "ResNet-5"]) == 2
    assert "no goal is called ResNet-5" in capsys.readouterr().err


def test_a_goal_that_does_not_fit_into_the_time_is_not_begun(script, measuring, tmp_path):
    assert script.main(["--dir", str(tmp_path), "--minutes", "1.5"]) == 1
    assert measuring == [goal.name for goal in GOALS if goal.seconds < 90]
    assert goals.GOALS[0].name in (tmp_path / "goals.md").read_text()


def test_each_goal_asks_for_its_own_workload_and_a_short_measurement(script, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(script, "_race", lambda heat, rounds, directory, batches: asked.append(heat))
    options = script._parser().parse_args(["--dir", str(tmp_path), "--jax", "remat=none"])
    assert script._measure(GOALS[0], options).answer == "not measured"
    assert asked[0].overrides("jax")[-2:] == ["measure=quick", "remat=none"]
    assert "batch_size=512" in asked[0].overrides("torch")
