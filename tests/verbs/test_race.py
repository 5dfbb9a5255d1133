"""`race` through the command line's main, with processes that are faked."""

import json

import pytest

from tests.results import examples
from tests.results.comparing import changed
from tests.results.test_race import TORCH, of_rate
from trainbench import cli
from trainbench.errors import UserError
from trainbench.processes import ab, child
from trainbench.processes.child import Outcome
from trainbench.pytorch import settings
from trainbench.results import store
from trainbench.verbs import race

RATES = {"jax": 110.0, "torch": 100.0}


class Runs:
    """Stands for `child.run`: each framework at its rate, a little faster each time."""

    def __init__(self, rates=None, broken=()):
        self.rates, self.broken = rates or RATES, broken
        self.asked = []

    def __call__(self, arguments, directory, lock=None):
        self.asked.append(list(arguments))
        framework = next(one for one in arguments if one.startswith("framework="))[10:]
        if framework in self.broken:
            result = changed(examples.oom(), framework=TORCH if framework == "torch" else None)
            store.write(result, directory)
            return Outcome(3, result)
        count = len(self.asked)
        result = of_rate(self.rates[framework] * (1 + 0.0001 * count), count, torch=framework == "torch")
        store.write(result, directory)
        return Outcome(0, result)


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.setattr(settings.importlib.util, "find_spec", lambda name: object())

    def install(**how):
        fake = Runs(**how)
        monkeypatch.setattr(child, "run", fake)
        monkeypatch.setattr(ab.child, "run", fake)
        return fake

    return install


def run(directory, *arguments):
    return cli.main(["race", *arguments, "--dir", str(directory)])


def test_both_frameworks_run_in_turn_and_the_table_and_files_say_how_they_stand(runs, tmp_path, capsys):
    fake = runs()
    page = tmp_path / "page.md"
    asked = ("model=vit_tiny,gpt2_tiny", "precision=fp32", "--rounds", "2", "--markdown", str(page))
    assert run(tmp_path / "race", *asked) == 0
    order = [next(one for one in arguments if one.startswith("framework"))[10:] for arguments in fake.asked]
    assert order == ["torch", "jax", "jax", "torch"] * 2
    shown = capsys.readouterr().out
    assert shown.count("faster") == 2
    assert (tmp_path / "race" / "race.md").read_text() == page.read_text()
    heats = json.loads((tmp_path / "race" / "race.json").read_text())["heats"]
    assert [heat["model"] for heat in heats] == ["vit_tiny", "gpt2_tiny"]
    assert heats[0]["ratio"] == pytest.approx(1.1, rel=0.01)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"rates": {"jax": 90.0, "torch": 100.0}}, 1),
        ({"rates": {"jax": 100.0, "torch": 100.0}}, 0),
        ({"broken": ("torch",)}, 2),
    ],
)
def test_the_exit_code_is_1_where_jax_is_slower_and_2_where_nothing_is_decided(how, code, runs, tmp_path):
    runs(**how)
    assert run(tmp_path / "race", "model=vit_tiny", "--rounds", "3") == code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which model"),
        (("model=",), "which model"),
        (("model=vit_tiny", "framework=jax"), "a race has both"),
        (("model=vit_tiny", "batch_size=8,16"), "--best-batch"),
        (("model=vit_tiny", "precision=fp32,bf16"), "which?"),
        (("model=vit_tiny", "batch_size=8,many", "--best-batch"), "list of batch sizes"),
        (("model=vit_tiny", "--jax", "'open"), "close its quotes"),
        (("model=vit_tiny", "--rounds", "0"), "--rounds"),
        (("model=vit_tiny", "--fast"), "--best-batch"),
        (("model=vit_tiny", "hydra.run.dir=x"), "no override of a race"),
        (("model=vit_tiny", "parallel=fsdp"), "a race is of one device"),
        (("model=vit_tiny", "--jax", "parallel.data=8"), "a race is of one device"),
        (("model=vit_tiny", "--torch", "model=vit_b16"), "both sides of a race train the same"),
        (("model=vit_tiny", "--jax", "optimizer.b1=0.5"), "both sides of a race train the same"),
    ],
)
def test_mistakes_are_answered_with_code_2_before_anything_runs(arguments, words, runs, tmp_path, capsys):
    fake = runs()
    assert run(tmp_path / "race", *arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert fake.asked == []


def test_a_search_that_finds_no_batch_is_a_row_and_decides_nothing(runs, tmp_path, capsys):
    runs(broken=("torch",))
    assert run(tmp_path / "race", "model=vit_tiny", "batch_size=8,16", "--best-batch") == 2
    assert "PyTorch broke: none of 2 batches tried gave a rate" in capsys.readouterr().out
    heats = json.loads((tmp_path / "race" / "race.json").read_text())["heats"]
    assert heats[0]["verdict"] == "broken"
    assert heats[0]["searched"]["torch"] == {"8": None, "16": None}


def test_a_directory_with_a_race_is_refused_before_batches_are_searched(runs, tmp_path, capsys):
    fake = runs()
    assert run(tmp_path / "race", "model=vit_tiny", "--rounds", "2") == 0
    fake.asked.clear()
    assert run(tmp_path / "race", "model=vit_tiny", "--best-batch") == 2
    assert "there already" in " ".join(capsys.readouterr().err.split())
    assert fake.asked == []


def test_options_of_one_side_and_batches_to_choose_from():
    planned, batches = race.plan(
        ["model=a,b", "batch_size=8,16", "steps=6"], "remat=full", "torch.compile=eager", search=True
    )
    assert [heat.model for heat in planned] == ["a", "b"]
    assert batches == [8, 16]
    assert planned[0].overrides("jax") == [
        *("model=a", "framework=jax", "parallel.data=1", "steps=6", "remat=full")
    ]
    assert planned[0].overrides("torch")[-1] == "torch.compile=eager"


def test_without_pytorch_the_line_that_installs_it_is_given(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(settings.importlib.util, "find_spec", lambda name: None)
    assert run(tmp_path / "race", "model=vit_tiny") == 2
    assert "pip install" in capsys.readouterr().err


def test_a_model_that_is_refused_is_left_out_if_others_ran(runs, tmp_path, capsys, monkeypatch):
    runs()
    real = race.heats.race

    def refusing(heat, *others):
        if heat.model == "gpt2_tiny":
            raise UserError("no such model")
        return real(heat, *others)

    monkeypatch.setattr(race.heats, "race", refusing)
    assert run(tmp_path / "race", "model=vit_tiny,gpt2_tiny", "--rounds", "2") == 0
    assert "gpt2_tiny is left out: no such model" in capsys.readouterr().err
