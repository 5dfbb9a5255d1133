import pytest

from trainbench.errors import UserError
from trainbench.tuning.arguments import read


def test_tunes_own_keys_are_told_from_those_of_the_run():
    asked = read(
        ["model=vit_tiny", "levers=remat,first_moment", "batch_size=8,16", "minutes=2.5", "price=3"],
        "7",
        table_only=False,
    )
    assert asked.overrides == ("model=vit_tiny", "price_per_hour=3")
    assert asked.base == ("model=vit_tiny", "price_per_hour=3", "measure=quick")
    assert asked.levers == ("remat", "first_moment")
    assert asked.batches == (8, 16)
    assert (asked.minutes, asked.seed) == (2.5, 7)


def test_a_measure_of_the_users_own_is_kept():
    assert read(["measure=standard"], "0", table_only=False).base == ("measure=standard",)


@pytest.mark.parametrize(
    ("typed", "table_only", "overrides", "batches"),
    [
        ([], False, (), "auto"),
        ([], True, (), None),
        (["batch_size=auto"], True, (), "auto"),
        (["global_batch_size=64"], False, ("global_batch_size=64",), None),
        (["batch_size=32"], False, ("batch_size=32",), None),
        (["batch_size=[4,8,4]"], False, (), (4, 8)),
    ],
)
def test_one_batch_stays_and_several_are_searched(typed, table_only, overrides, batches):
    asked = read(typed, "0", table_only=table_only)
    assert (asked.overrides, asked.batches) == (overrides, batches)


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("batch_size=best", "batch_size=best is nothing to search"),
        ("batch_size=8,0", "batch_size=8,0 is nothing to search"),
        ("minutes=soon", "minutes=soon is no time"),
        ("minutes=-1", "minutes=-1 is no time"),
        ("minutes=inf", "minutes=inf is no time"),
    ],
)
def test_values_of_another_kind_are_refused(typed, problem):
    with pytest.raises(UserError) as error:
        read([typed], "0", table_only=False)
    assert error.value.problem == problem
    assert error.value.fix


def test_a_seed_is_a_number():
    with pytest.raises(UserError, match="--seed x is no seed"):
        read([], "x", table_only=False)
