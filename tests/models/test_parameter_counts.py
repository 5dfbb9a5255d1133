"""Parameter counts against the published ones; nothing is allocated."""

import jax
import pytest
from flax import nnx

from tests.models.building import abstract, count_parameters, family_and_config

# torchvision's model table for ResNet, timm's for ViT, transformers' BertForMaskedLM for BERT and
# GPT2LMHeadModel for GPT-2; for Llama and T5 the weights on the Hugging Face hub (meta-llama/Llama-3.2-1B,
# Llama-3.1-8B, -70B, -405B, Llama-2-7b, -70b; google/t5-v1_1-*), whose pages tell their number.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "vit_ti16": 5_717_416,
    "vit_s16": 22_050_664,
    "vit_b16": 86_567_656,
    "vit_l16": 304_326_632,
    "bert_base": 109_514_298,
    "bert_large": 335_174_458,
    "gpt2_124m": 124_439_808,
    "gpt2_345m": 354_823_168,
    "gpt2_774m": 774_030_080,
    "gpt2_1558m": 1_557_611_200,
    "llama_1b": 1_235_814_400,
    "llama_8b": 8_030_261_248,
    "llama_70b": 70_553_706_496,
    "llama_405b": 405_853_388_800,
    "llama_2_7b": 6_738_415_616,
    "llama_2_70b": 68_976_648_192,
    "t5_small": 76_961_152,
    "t5_base": 247_577_856,
    "t5_large": 783_150_080,
    "t5_xl": 2_849_757_184,
    "t5_xxl": 11_135_332_352,
}

# Published as rounded numbers alone. GPT-3: Brown et al. 2020, table 2.1, whose 2.7B and smaller round 2.65
# and the like up; MaxText: the names of its scripts.
ROUNDED = {
    "gpt3_125m": (125_226_240, 125e6),
    "gpt3_350m": (355_871_744, 350e6),
    "gpt3_760m": (760_300_032, 760e6),
    "gpt3_1_3b": (1_315_723_264, 1.3e9),
    "gpt3_2_7b": (2_651_553_280, 2.7e9),
    "gpt3_6_7b": (6_658_404_352, 6.7e9),
    "gpt3_13b": (12_853_386_240, 13e9),
    "gpt3_175b": (174_604_259_328, 175e9),
    "maxtext_16b": (15_831_666_688, 16e9),
    "maxtext_32b": (31_663_333_376, 32e9),
    "maxtext_64b": (62_802_370_560, 64e9),
    "maxtext_128b": (125_079_396_352, 128e9),
    "maxtext_512b": (499_268_993_024, 512e9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_count(name):
    assert parameters_of(name) == PUBLISHED[name]


def parameters_of(name):
    """All blocks of a transformer are alike, and hundreds of them take minutes to describe."""
    depth = getattr(family_and_config(name)[1], "depth", 0)
    if depth < 12:
        return count_parameters(abstract(name))
    one, two = (count_parameters(abstract(name, depth=blocks)) for blocks in (1, 2))
    return one + (depth - 1) * (two - one)


@pytest.mark.parametrize("name", ROUNDED)
def test_parameters_are_those_of_the_published_shape(name):
    exact, published = ROUNDED[name]
    assert parameters_of(name) == exact == pytest.approx(published, rel=0.03)


@pytest.mark.parametrize(("name", "encoder"), [("bert_base", 108_891_648), ("bert_large", 334_092_288)])
def test_bert_encoder_without_its_head(name, encoder):
    model = abstract(name)
    assert count_parameters(model) - count_parameters(model.head) == encoder


def test_running_statistics_are_not_parameters():
    model = abstract("resnet50")
    statistics = jax.tree.leaves(nnx.state(model, nnx.BatchStat))
    # torchvision's resnet50 has 53 BatchNorm layers over 26,560 channels.
    assert len(statistics) == 2 * 53
    assert sum(leaf.size for leaf in statistics) == 2 * 26_560


def test_no_random_state_lives_in_a_model():
    assert not jax.tree.leaves(nnx.state(abstract("bert_tiny"), nnx.RngState))
    assert not jax.tree.leaves(nnx.state(abstract("vit_tiny"), nnx.RngState))
    assert not jax.tree.leaves(nnx.state(abstract("gpt2_tiny"), nnx.RngState))


def test_paths_are_readable():
    paths = {"/".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(abstract("bert_tiny")))}
    assert "blocks/0/attention/query/kernel" in paths
    assert "embeddings/token" in paths
