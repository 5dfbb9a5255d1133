import dataclasses

import pytest

from tests.tuning.fakes import POSSIBLE
from trainbench.errors import UserError
from trainbench.levers import registry
from trainbench.tuning import space


def keys(found):
    return [axis.key for axis in found.axes]


def test_all_levers_that_are_not_set_and_the_batch_are_varied_each_from_its_default():
    found = space.build(POSSIBLE, ["first_moment", "model"], None, "auto")
    assert keys(found) == ["remat", "compiler_flags", "batch_size"]
    assert [axis.values[0] for axis in found.axes] == ["none", "none", 8]
    assert found.axes[-1].values == (8, 4, 16)
    assert found.size == 3 * 2 * 3
    assert (("compiler_flags", "onednn"),) in found.singles
    assert len(found.singles) == 2 + 1 + 2
    assert found.refused == {(("compiler_flags", "vmem"),): "not for this platform"}


def test_what_is_set_to_something_else_than_usual_is_where_the_search_starts():
    choice = dataclasses.replace(POSSIBLE.choices["remat"], default="dots")
    possible = dataclasses.replace(POSSIBLE, choices={"remat": choice})
    assert space.build(possible, [], None, None).axes[0].values == ("dots", "none", "full")


def test_an_accelerator_tries_larger_batches_than_a_cpu_and_none_is_below_one():
    elsewhere = dataclasses.replace(POSSIBLE, platform="gpu", batch_size=1)
    assert set(space.build(elsewhere, [], [], "auto").axes[0].values) == {1, 2, 4}


def test_where_the_default_batch_is_not_among_those_to_try_the_first_takes_its_place():
    assert space.build(POSSIBLE, [], [], (32, 64)).axes[0].values == (32, 64)
    assert space.build(POSSIBLE, [], [], (32, 8)).axes[0].values == (8, 32)


def test_points_say_only_what_differs_from_the_default():
    found = space.build(POSSIBLE, [], None, None)
    point = (("remat", "dots"),)
    assert found.point(found.values(point)) == point
    assert found.point(found.values(())) == ()
    assert space.label(()) == "default"


@pytest.mark.parametrize(
    ("levers", "fixed", "problem", "fix"),
    [
        (["remt"], [], "there is no such lever", "levers=remat"),
        (["steps_per_call"], [], "does not apply", "leave levers out"),
        (["remat"], ["remat"], "remat is set, and levers=remat would vary it", "leave remat=... out"),
        (None, list(POSSIBLE.choices), "there is nothing to vary", "batch_size=auto"),
    ],
)
def test_what_cannot_be_varied_is_refused(levers, fixed, problem, fix):
    with pytest.raises(UserError) as error:
        space.build(POSSIBLE, fixed, levers, None)
    assert problem in error.value.problem
    assert fix in error.value.fix


def test_a_lever_that_changes_what_is_computed_is_told(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Changing(type(registry.LEVERS["remat"])):
        unusual: bool = True

    lever = Changing(**vars(registry.LEVERS["first_moment"]) | {"unusual": True})
    monkeypatch.setattr(space, "LEVERS", {**registry.LEVERS, "first_moment": lever})
    assert space.unusual((("remat", "dots"), ("first_moment", "bf16"), ("batch_size", 4))) == ["first_moment"]
