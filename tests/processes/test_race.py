"""The race's runs and its search for batches, with processes that are faked."""

import pytest

from tests.results import examples
from tests.results.comparing import changed
from tests.sweeping import Processes
from trainbench.errors import UserError
from trainbench.processes import ab, child, race
from trainbench.processes.race import Heat, Search

HEAT = Heat("vit_tiny", ("precision=fp32",), (("torch", ("torch.compile=eager",)), ("jax", ())))


def result(batch, rate, *, status="ok", kind="NVIDIA H100 80GB HBM3"):
    base = examples.ok_gpu() if status == "ok" else examples.oom()
    work = {"batch_size": batch, "global_batch_size": batch}
    found = changed(base, workload=work, hardware={"device_kind": kind})
    return changed(found, throughput={"samples_per_s": rate}) if status == "ok" else found


class Attempts:
    """Answers with the rate at a batch size; None there is out of memory."""

    def __init__(self, rates, default=32, kind="NVIDIA H100 80GB HBM3"):
        self.rates, self.default, self.kind = rates, default, kind
        self.asked = []

    def __call__(self, batch):
        batch = self.default if batch is None else batch
        self.asked.append(batch)
        rate = self.rates[batch]
        return result(batch, rate or 0.0, status="oom" if rate is None else "ok", kind=self.kind)


def test_a_side_has_the_shared_overrides_and_its_own():
    assert HEAT.overrides("jax") == ["model=vit_tiny", "framework=jax", "parallel.data=1", "precision=fp32"]
    assert HEAT.overrides("torch")[-1] == "torch.compile=eager"


def test_a_batch_of_one_side_replaces_its_own_and_leaves_the_other():
    found = HEAT.with_batch("jax", 8).with_batch("jax", 16)
    assert found.overrides("jax")[-1] == "batch_size=16"
    assert "batch_size" not in " ".join(found.overrides("torch"))


@pytest.mark.parametrize(
    ("rates", "tried", "best"),
    [
        ({32: 100.0, 64: 150.0, 128: 151.0}, [32, 64, 128], 128),
        ({32: 100.0, 64: 150.0, 128: None}, [32, 64, 128], 64),
        ({32: 100.0, 64: 90.0, 16: 120.0, 8: 80.0}, [32, 64, 16, 8], 16),
        ({32: None, 16: None, 8: 70.0, 4: 60.0}, [32, 16, 8, 4], 8),
    ],
)
def test_the_best_batch_is_followed_up_and_then_down(rates, tried, best):
    attempts = Attempts(rates)
    found = race.search(attempts, [])
    assert attempts.asked == tried
    assert Search(tuple(found.items())).best == best


def test_of_a_list_every_batch_is_tried_and_none_else():
    attempts = Attempts({8: 10.0, 16: None, 64: 9.0})
    assert race.search(attempts, [8, 16, 64]) == {8: 10.0, 16: None, 64: 9.0}


def test_on_a_cpu_no_batch_is_tried_whose_step_would_last_too_long():
    attempts = Attempts({2: 1.0, 1: 0.5}, default=2, kind="cpu")
    race.search(attempts, [])
    assert 4 not in attempts.asked


def test_pytorch_is_the_base_and_each_side_runs_at_its_own_batch(monkeypatch, tmp_path):
    runs = Processes(rate=lambda batch: 100.0 if batch == 8 else 90.0)
    monkeypatch.setattr(child, "run", runs)
    texts = []
    monkeypatch.setattr(ab, "run", lambda sides, rounds, directory: texts.extend(sides) or ab.Done(None))
    raced = race.race(HEAT, 2, tmp_path, [4, 8])
    assert [text.split()[1] for text in texts] == ["framework=torch", "framework=jax"]
    assert all(text.endswith("batch_size=8") for text in texts)
    assert dict(raced.searches)["jax"].rates == ((4, 90.0), (8, 100.0))
    assert all("measure=quick" in asked for asked in runs.asked)


def test_where_no_batch_runs_there_is_no_race(monkeypatch, tmp_path):
    monkeypatch.setattr(child, "run", Processes({"4": "oom"}))
    assert race.race(HEAT, 2, tmp_path, [4]).done is None


def test_a_side_that_is_refused_ends_the_search(monkeypatch, tmp_path):
    monkeypatch.setattr(child, "run", Processes({"4": "refused"}))
    with pytest.raises(UserError, match="torch cannot be run"):
        race.race(HEAT, 2, tmp_path, [4])
