import pytest

from trainbench.errors import UserError
from trainbench.measure.plan import Plan

GOOD = {"calls": 100, "calls_per_block": 10, "warmup_min_calls": 0, "warmup_max_calls": 200, "window": 5}


def test_derived_counts():
    plan = Plan(**GOOD, steps_per_call=4)
    assert (plan.blocks, plan.steps_per_block, plan.warmup_max_blocks, plan.warmup_min_blocks) == (
        10,
        40,
        20,
        5,
    )
    assert Plan(**{**GOOD, "warmup_min_calls": 51}).warmup_min_blocks == 6


@pytest.mark.parametrize(
    ("change", "problem", "allowed"),
    [
        ({"calls": 0}, "calls=0", "from 1"),
        ({"calls_per_block": -1}, "calls_per_block=-1", "from 1"),
        ({"steps_per_call": 0}, "steps_per_call=0", "from 1"),
        ({"window": 2}, "window=2", "from 3"),
        ({"warmup_min_calls": -1}, "warmup_min_calls=-1", "from 0"),
        ({"calls": 105}, "105 timed calls", "multiple of 10"),
        ({"calls": 5}, "5 timed calls", "multiple of 10"),
        ({"warmup_max_calls": 49}, "at most 49", "50 warm-up calls"),
        ({"warmup_min_calls": 195, "warmup_max_calls": 199}, "at most 199", "200 warm-up calls"),
        ({"warmup_limit_s": 0.0}, "0.0 s leaves no time", "positive"),
    ],
)
def test_a_plan_that_cannot_work_names_the_value_and_the_limit(change, problem, allowed):
    with pytest.raises(UserError) as caught:
        Plan(**{**GOOD, **change})
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed


def test_the_suggested_number_of_steps_is_accepted():
    with pytest.raises(UserError) as caught:
        Plan(**{**GOOD, "calls": 105})
    assert caught.value.fix.startswith("110 steps")
    Plan(**{**GOOD, "calls": 110})
