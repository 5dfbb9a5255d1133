"""The shipped model YAML files, and the sizes that each model refuses."""

import pytest

from tests.models.building import ALIASES, MODEL_DIR, NAMES, family_and_config, read_yaml
from trainbench.errors import UserError
from trainbench.models import bert, gpt2, llama, resnet, t5, vit

OPTIMIZERS = {"resnet": "sgd", "bert": "lamb"} | dict.fromkeys(("vit", "gpt2", "llama", "t5"), "adamw")


def test_every_promised_model_is_there():
    resnets = {f"resnet{size}" for size in ("18", "34", "50", "101", "152", "_tiny")}
    vits = {f"vit_{size}" for size in ("ti16", "s16", "b16", "l16", "tiny")}
    berts = {f"bert_{size}" for size in ("base", "large", "tiny")}
    shipped = {path.stem for path in MODEL_DIR.glob("*.yaml")}
    gpts = {f"gpt2_{size}" for size in ("124m", "345m", "774m", "1558m", "tiny")}
    gpts |= {f"gpt3_{size}" for size in ("125m", "350m", "760m", "1_3b", "2_7b", "6_7b", "13b", "175b")}
    llamas = {f"llama_{size}" for size in ("1b", "8b", "70b", "405b", "2_7b", "2_70b", "tiny")}
    llamas |= {f"maxtext_{size}b" for size in (16, 32, 64, 128, 512)}
    t5s = {f"t5_{size}" for size in ("small", "base", "large", "xl", "xxl", "tiny")}
    assert shipped == resnets | vits | berts | gpts | llamas | t5s | set(ALIASES)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_builds_a_config_of_its_own_size(name):
    settings = read_yaml(name)
    family, config = family_and_config(name)
    size_key = "image_size" if family in (resnet, vit) else "sequence_length"
    family.validate(config, settings[size_key])
    hash(config)
    assert settings["name"] == name
    assert settings["batch_size"] > 0
    assert settings["optimizer_reason"]
    expected = {"name", "family", "architecture", size_key, "batch_size", "optimizer_reason", "defaults"}
    assert set(settings) == expected


@pytest.mark.parametrize("name", NAMES)
def test_yaml_states_every_field_of_its_config(name):
    stated = set(read_yaml(name)["architecture"])
    _, config = family_and_config(name)
    # The image size stands once, beside the architecture.
    assert stated == set(type(config).__dataclass_fields__) - {"image_size"}


@pytest.mark.parametrize("name", NAMES)
def test_yaml_chooses_the_published_optimizer(name):
    settings = read_yaml(name)
    # Nothing is published of bert_tiny, which is there to learn within minutes.
    optimizer = "adamw" if name == "bert_tiny" else OPTIMIZERS[settings["family"]]
    chosen = {"override /optimizer@_global_.optimizer": optimizer}
    assert settings["defaults"] == [chosen]


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases(alias, name):
    assert read_yaml(alias) == {"defaults": [name]}


@pytest.mark.parametrize(
    ("family", "config", "size", "fragments"),
    [
        (resnet, resnet.Config(), 31, ["image_size=31", ">= 32", "image_size=32"]),
        (vit, vit.Config(), 225, ["image_size=225", "multiples of 16", "image_size=224"]),
        (vit, vit.Config(), 7, ["image_size=7", "image_size=16"]),
        (bert, bert.Config(), 513, ["sequence_length=513", "1 to 512", "sequence_length=512"]),
        (bert, bert.Config(), 0, ["sequence_length=0", "1 to 512"]),
        (gpt2, gpt2.Config(), 1025, ["sequence_length=1025", "1 to 1024", "sequence_length=1024"]),
        (gpt2, gpt2.Config(), 0, ["sequence_length=0", "1 to 1024"]),
        (llama, llama.Config(), 8193, ["sequence_length=8193", "1 to 8192", "sequence_length=8192"]),
        (llama, llama.Config(), 0, ["sequence_length=0", "1 to 8192"]),
        (t5, t5.Config(), 2, ["sequence_length=2", "at least 3", "sequence_length=512"]),
    ],
)
def test_impossible_sizes_are_refused_with_a_fix(family, config, size, fragments):
    with pytest.raises(UserError) as refused:
        family.validate(config, size)
    for fragment in fragments:
        assert fragment in str(refused.value)


@pytest.mark.parametrize(
    ("family", "config", "size"),
    [
        (resnet, resnet.Config(), 32),
        (resnet, resnet.Config(), 97),
        (vit, vit.Config(), 384),
        (bert, bert.Config(), 512),
        (bert, bert.Config(), 1),
        (gpt2, gpt2.Config(), 1024),
        (gpt2, gpt2.Config(), 1),
        (llama, llama.Config(), 8192),
        (llama, llama.Config(), 1),
        (t5, t5.Config(), 3),
        (t5, t5.Config(), 4096),
    ],
)
def test_possible_sizes_are_accepted(family, config, size):
    family.validate(config, size)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        (resnet, {"block": "dense"}),
        (resnet, {"stem": "huge"}),
        (vit, {"width": 100, "heads": 3}),
        (bert, {"width": 100, "heads": 3}),
        (gpt2, {"width": 100, "heads": 3}),
        (llama, {"heads": 6, "key_heads": 4}),
        (llama, {"head_width": 33}),
    ],
)
def test_impossible_architectures_are_refused(family, settings):
    with pytest.raises(UserError):
        family.Config(**settings)
