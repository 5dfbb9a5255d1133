"""Parameter counts against the published ones; nothing is allocated."""

import jax
import pytest
from flax import nnx

from tests.models.building import abstract, count_parameters

# torchvision's model table for ResNet, timm's for ViT, transformers' BertForMaskedLM for BERT and
# GPT2LMHeadModel for GPT-2.
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
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_count(name):
    assert count_parameters(abstract(name)) == PUBLISHED[name]


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
