import pytest

from tests.building import ALIASES, MODELS, request, tree
from trainbench import config
from trainbench.errors import UserError


@pytest.mark.parametrize("model", [*MODELS, *ALIASES])
def test_every_model_composes_and_validates(model):
    asked = request(f"model={model}")
    assert asked.model.batch_size > 0
    assert asked.model.optimizer_reason
    assert (asked.model.image_size is None) != (asked.model.sequence_length is None)


def test_aliases_name_the_model_they_stand_for():
    assert request("model=vit").model.name == "vit_b16"
    assert request("model=bert").model.name == "bert_base"


@pytest.mark.parametrize(
    ("model", "optimizer"), [("resnet50", "sgd"), ("vit_b16", "adamw"), ("bert_large", "lamb")]
)
def test_each_model_brings_the_optimizer_of_its_published_runs(model, optimizer):
    assert request(f"model={model}").optimizer.name == optimizer
    assert request(f"model={model}", "optimizer=lars").optimizer.name == "lars", "an override wins"


def test_defaults_are_those_of_the_readme():
    asked = request()
    assert (asked.model.name, asked.precision.name, asked.data) == ("resnet50", "bf16", "synthetic")
    assert (asked.batch_size, asked.steps, asked.warmup, asked.input) == (None, None, None, None)


def test_image_size_reaches_the_architecture():
    asked = request("model=vit_s16", "image_size=384")
    assert asked.model.image_size == 384
    assert asked.model.architecture.image_size == 384


MISTAKES = [
    (["batch_size=0"], "batch_size=0", "positive integer"),
    (["batch_size=-4"], "batch_size=-4", "positive integer"),
    (["batch_size=eight"], "batch_size=eight", "positive integer"),
    (["batch_size=2.5"], "batch_size=2.5", "positive integer"),
    (["steps=0"], "steps=0", "positive integer"),
    (["steps=5", "warmup=10"], "steps=5 is below warmup=10", "at least warmup"),
    (["steps=10", "steps_per_call=4"], "not a multiple of steps_per_call=4", "multiples of 4"),
    (["model=vit_b16", "image_size=225"], "225", "16"),
    (["model=vit_b16", "sequence_length=128"], "sequence_length=128 does not apply", ""),
    (["model=bert_base", "image_size=224"], "image_size=224 does not apply", ""),
    (["model=bert_base", "sequence_length=1024"], "1024", "512"),
    (["model=bert_tiny", "data=digits"], "data=digits holds images", "synthetic"),
    (["input=real"], "input=real needs a real data set", "digits"),
    (["input=hots"], "input=hots", "host"),
    (["seed=-1"], "seed=-1", "at least 0"),
    (["optimizer.learning_rate=fast"], "optimizer.learning_rate='fast'", "a number"),
    (["measure.blocks=0"], "measure.blocks=0", "positive integer"),
    (["measure.warmup_max_steps=1"], "measure.warmup_max_steps=1 is below", ""),
]


@pytest.mark.parametrize(("overrides", "problem", "allowed"), MISTAKES)
def test_mistakes_are_named_with_what_is_allowed_and_the_fix(overrides, problem, allowed):
    with pytest.raises(UserError) as caught:
        request(*overrides)
    assert problem in caught.value.problem
    assert allowed in caught.value.allowed
    assert caught.value.fix or caught.value.allowed


def test_a_key_that_was_forced_in_is_refused():
    with pytest.raises(UserError, match="bacth_size") as caught:
        request("+bacth_size=3")
    assert "batch_size" in caught.value.fix


def test_an_architecture_key_that_was_forced_in_is_refused():
    with pytest.raises(UserError, match=r"model\.architecture\.deth") as caught:
        request("model=vit_tiny", "+model.architecture.deth=3")
    assert "model.architecture.depth" in caught.value.fix


def test_the_tree_and_the_code_know_the_same_keys():
    assert set(tree()) == set(config.KEYS)
