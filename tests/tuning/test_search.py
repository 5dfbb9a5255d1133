import itertools
import sys

import pytest

from tests.tuning.fakes import SPACE
from tests.tuning.trials import trial
from trainbench.errors import UserError
from trainbench.tuning import search
from trainbench.tuning.search import finalists, neighbours

GAINS = {"batch_size": {16: 1.1}, "remat": {"dots": 0.7, "full": 0.5}, "steps_per_call": {10: 1.3}}


class Bench:
    """Measures points by `GAINS`; some cannot be had."""

    def __init__(self, impossible=lambda point: False):
        self.impossible = impossible
        self.asked = []

    def __call__(self, point):
        self.asked.append(point)
        if self.impossible(point):
            return trial(point, seconds=0.0, problem="no")
        speed = 1.0
        for key, value in point:
            speed *= GAINS.get(key, {}).get(value, 1.0)
        return trial(point, 0.1 / speed, seed=len(self.asked))


def affordable(count):
    left = itertools.chain(itertools.repeat(True, count), itertools.repeat(False))
    return lambda expected_s: next(left)


def always(expected_s):
    return True


def test_the_default_and_each_neighbour_come_first_and_no_point_twice():
    bench = Bench()
    found = search.search(SPACE, bench, affordable(25), seed=0)
    assert bench.asked[0] == ()
    assert set(bench.asked[1 : 1 + len(SPACE.singles)]) == set(SPACE.singles)
    assert len(set(bench.asked)) == len(bench.asked) == len(found) == 25


def test_the_best_combination_is_found_in_half_of_the_trials_that_there_are():
    found = search.search(SPACE, Bench(), affordable(SPACE.size // 2), seed=0)
    best_one = dict(finalists(found)[0])
    assert (best_one["batch_size"], best_one["steps_per_call"]) == (16, 10)
    assert "remat" not in best_one


def test_a_whole_space_ends_the_search():
    found = search.search(SPACE, Bench(), always, seed=0)
    assert SPACE.size - len(found) <= SPACE.size // 4
    assert len(found) <= SPACE.size


def test_what_cannot_be_had_does_not_end_the_search():
    def impossible(point):
        return dict(point).get("steps_per_call") == 4 or ("batch_size", 16) in point

    found = search.search(SPACE, Bench(impossible), affordable(30), seed=1)
    assert len(found) == 30
    assert dict(finalists(found)[0])["steps_per_call"] == 10
    assert all(not impossible(point) for point in finalists(found))


def test_the_same_seed_proposes_the_same_again_and_another_does_not():
    asked = []
    for seed in (0, 0, 1):
        bench = Bench()
        search.search(SPACE, bench, affordable(20), seed=seed)
        asked.append(bench.asked)
    assert asked[0] == asked[1] != asked[2]


def test_another_trial_is_expected_to_take_as_long_as_those_before():
    expected = []

    def note(seconds):
        expected.append(seconds)
        return len(expected) < 3

    assert len(search.search(SPACE, Bench(), note, seed=0)) == 2
    assert expected == [0.0, 10.0, 10.0]


def test_without_a_search_only_the_neighbours_are_measured():
    bench = Bench()
    neighbours(SPACE, bench, always)
    assert bench.asked == [(), *SPACE.singles]
    assert len(neighbours(SPACE, bench, affordable(3))) == 3


def test_only_points_that_are_faster_than_the_default_are_measured_again():
    found = [trial((), 0.1), trial((("a", 1),), 0.2), trial((("a", 2),), 0.09), trial((("a", 3),), 0.08)]
    assert finalists(found) == [(("a", 3),), (("a", 2),)]
    assert finalists(found[:2]) == []


def test_beside_the_fastest_the_plainest_of_those_nearly_as_fast_is_measured_again():
    fastest, second, plain = (("a", 1), ("b", 1), ("c", 1)), (("a", 1), ("b", 1)), (("a", 1),)
    found = [trial(()), trial(plain, 0.0810), trial(fastest, 0.08), trial(second, 0.0805)]
    assert finalists(found) == [fastest, plain]


def test_without_optuna_the_screen_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError) as error:
        search.optimizer()
    assert "optuna" in error.value.fix or "tune" in error.value.fix
    assert "--table-only" in error.value.allowed
