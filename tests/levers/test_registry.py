import dataclasses

import pytest

from tests.building import request, tree
from trainbench import config, usage
from trainbench.errors import UserError
from trainbench.levers import registry
from trainbench.levers.lever import Situation
from trainbench.levers.registry import LEVERS, RESOLVED, Use
from trainbench.levers.values import PLAIN, Levers


def test_each_lever_is_a_configuration_key_with_help_and_each_resolved_one_a_value():
    shipped, helped = tree(), usage.keys()
    for key in LEVERS:
        assert key in shipped
        assert key in helped
        assert key in config.KEYS
    assert {one.name for one in dataclasses.fields(Levers)} == set(RESOLVED)


@pytest.mark.parametrize("key", LEVERS)
def test_what_is_plain_is_one_of_the_values_and_the_plain_levers_have_it(key):
    lever = LEVERS[key]
    assert lever.plain in lever.values
    assert lever.of_request or getattr(PLAIN, key) == lever.plain


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu", "metal"])
@pytest.mark.parametrize("model", ["resnet50", "vit_b16", "bert_base", "gpt2_124m"])
def test_every_lever_that_applies_has_a_default_with_a_reason(platform, model):
    asked = request(f"model={model}")
    levers, autos = registry.resolve(Situation(asked, platform, 9.0 if platform == "gpu" else None))
    for key in RESOLVED:
        if LEVERS[key].applies(asked):
            assert autos[key].reason
            assert getattr(levers, key) == autos[key].value
        else:
            assert key not in autos
            assert getattr(levers, key) == LEVERS[key].plain


@pytest.mark.parametrize("key", RESOLVED)
def test_a_value_that_a_lever_lacks_is_refused_with_those_it_has(key):
    wrong = "-1" if LEVERS[key].number else "sideways"
    with pytest.raises(UserError) as error:
        request(f"{key}={wrong}")
    assert f"{key}={wrong}" in error.value.problem
    assert "default" in error.value.allowed


def test_what_was_asked_for_has_no_reason_and_what_was_chosen_has_one():
    asked = request("first_moment=bf16")
    levers, autos = registry.resolve(Situation(asked, "cpu"))
    assert registry.uses(levers, autos, asked)["first_moment"] == Use("bf16")
    asked = request()
    levers, autos = registry.resolve(Situation(asked, "cpu"))
    assert "published" in str(registry.uses(levers, autos, asked)["first_moment"].reason)


def test_a_lever_that_the_model_has_nothing_for_is_refused():
    asked = request("precision=bf16_full", "first_moment=bf16")
    with pytest.raises(
        UserError, match="first_moment=bf16 does not apply to model=resnet50 precision=bf16"
    ) as error:
        registry.resolve(Situation(asked, "cpu"))
    assert error.value.allowed == f"first_moment=default ({LEVERS['first_moment'].summary})"
