import pytest

from tests.tuning.trials import trial
from trainbench.tuning import effects

FAST, SLOW, SAME = ((("remat", value),) for value in ("dots", "full", "none"))
BATCH = (("batch_size", 16),)
STEPS = {(): 0.1, FAST: 0.08, SLOW: 0.12, SAME: 0.1, BATCH: 0.1}


def turns(points, count=6):
    return [
        {
            point: trial(point, STEPS[point], seed=10 * turn + place)
            for place, point in enumerate([(), *points])
        }
        for turn in range(count)
    ]


def test_a_gain_that_is_measured_in_turn_is_proven_and_a_loss_is_none():
    found = effects.of_rounds([FAST, SLOW, SAME], turns([FAST, SLOW, SAME]), [])
    assert [one.proven for one in found] == [True, False, False]
    assert [one.speed.verdict for one in found] == ["improvement", "regression", "same"]
    assert found[0].speed.ratio == pytest.approx(1.25, rel=0.01)
    assert all(one.rounds == 6 for one in found)
    assert effects.winner([], found) is found[0]
    assert effects.winner([found[2]], found) is found[0]
    assert effects.winner([], found[1:]) is None


def test_of_two_that_are_as_fast_the_plainer_is_the_best():
    both = (*FAST, *BATCH)
    done = [
        {
            (): trial((), 0.1, seed=10 * turn),
            both: trial(both, 0.0795, seed=10 * turn + 1),
            FAST: trial(FAST, 0.08, seed=10 * turn + 2),
        }
        for turn in range(6)
    ]
    found = effects.of_rounds([both, FAST], done, [])
    assert found[0].speed.ratio > found[1].speed.ratio
    assert effects.winner(found, []) is found[1]


def test_what_the_search_alone_has_seen_is_no_proof():
    trials = [trial((), 0.1), trial(FAST, 0.05, seed=1)]
    (found,) = effects.of_rounds([FAST], [], trials)
    assert found.rounds == 0
    assert found.speed.ratio == pytest.approx(2.0, rel=0.01)
    assert not found.proven


def test_a_single_round_is_no_proof_either():
    (found,) = effects.of_rounds([FAST], turns([FAST], 1), [])
    assert found.rounds == 1
    assert not found.proven


def test_rounds_in_which_a_point_broke_are_left_out_and_told():
    done = turns([FAST, SLOW])
    done[3][FAST] = trial(FAST, problem="oom: too large")
    done[4].pop(FAST)
    found = effects.of_rounds([FAST, SLOW], done, [])
    assert (found[0].rounds, found[0].problem) == (4, "oom: too large")
    assert (found[1].rounds, found[1].problem) == (6, "")


def test_what_was_never_measured_says_why():
    trials = [trial(()), trial(FAST, problem="oom: too large")]
    found = effects.of_rounds([FAST, SLOW], [], trials)
    assert [(one.compared, one.problem) for one in found] == [
        (None, "oom: too large"),
        (None, "the time was up"),
    ]


def test_the_loss_is_set_beside_the_defaults_except_with_another_batch():
    found = effects.of_rounds([FAST, BATCH], turns([FAST, BATCH]), [])
    assert found[0].loss == 1.0
    assert found[1].loss is None
    assert found[0].memory == 1.0
