"""Analytic multiply-adds against published figures."""

import pytest

from tests.models.building import family_and_config
from tests.models.test_parameter_counts import PUBLISHED
from trainbench.models import bert, gpt2, llama, resnet, t5, vit

GIGA = 1e9

# torchvision's "GFLOPS" column, which counts multiply-adds; Ti and S as DeiT in Wang et al. 2021 (PVT).
PUBLISHED_GMAC = {
    "resnet18": (1.81, 0.005),
    "resnet34": (3.66, 0.005),
    "resnet50": (4.09, 0.005),
    "resnet101": (7.80, 0.005),
    "resnet152": (11.51, 0.006),
    "vit_ti16": (1.3, 0.05),
    "vit_s16": (4.6, 0.05),
    "vit_b16": (17.56, 0.005),
    "vit_l16": (61.55, 0.006),
}


@pytest.mark.parametrize("name", PUBLISHED_GMAC)
def test_forward_macs_round_to_the_published_figure(name):
    family, config = family_and_config(name)
    published, rounding = PUBLISHED_GMAC[name]
    macs = family.forward_macs(config, image_size=224) / GIGA
    assert macs == pytest.approx(published, abs=rounding)


@pytest.mark.parametrize(("name", "length"), [("bert_base", 128), ("bert_large", 128), ("bert_large", 512)])
def test_bert_agrees_with_narayanan(name, length):
    """Equation 3 of arXiv:2104.04473 divided by 4 passes (forward twice, backward) and 2 operations."""
    _, config = family_and_config(name)
    depth, width, vocabulary = config.depth, config.width, config.vocabulary
    blocks = 12 * length * depth * width**2 * (1 + length / (6 * width))
    decoder = length * width * vocabulary
    head_dense = length * width**2  # not in their language model
    macs = bert.forward_macs(config, sequence_length=length, predictions=length)
    assert macs == pytest.approx(blocks + decoder + head_dense, rel=1e-12)


@pytest.mark.parametrize(("name", "published_flops"), [("bert_base", 6.4e19), ("bert_large", 1.9e20)])
def test_bert_agrees_with_electra(name, published_flops):
    """Training FLOPs in ELECTRA's tables: 1e6 steps of 256 sequences of 512, backward counted like forward.

    They count the token look-up as a one-hot product, and element-wise work that adds about 1 %.
    """
    _, config = family_and_config(name)
    predictions = bert.predictions_per_sequence(512)
    look_up = 512 * config.vocabulary * config.width
    macs = bert.forward_macs(config, sequence_length=512, predictions=predictions) + look_up
    assert 2 * 2 * 256e6 * macs == pytest.approx(published_flops, rel=0.03)


@pytest.mark.parametrize("name", ["gpt2_124m", "gpt2_345m", "gpt2_774m", "gpt2_1558m"])
def test_gpt2_agrees_with_palm(name):
    """6 N + 12 L H Q T per token (arXiv:2204.02311, appendix B), N without the positions, which are added.

    N counts biases and norms too, which multiply nothing: 0.1 % of the parameters.
    """
    _, config = family_and_config(name)
    parameters = PUBLISHED[name] - config.positions * config.width
    per_token = 6 * parameters + 12 * config.depth * config.width * 1024
    macs = gpt2.forward_macs(config, sequence_length=1024)
    assert 6 * macs == pytest.approx(1024 * per_token, rel=0.002)


@pytest.mark.parametrize(
    ("name", "untouched"), [("llama_8b", 128256 * 4096), ("llama_2_7b", 32000 * 4096), ("llama_1b", 0)]
)
def test_llama_agrees_with_palm(name, untouched):
    """6 N + 12 L H Q T per token (arXiv:2204.02311, appendix B), N without the table that is only looked up.

    N counts norms too, which multiply nothing: 0.01 % of the parameters.
    """
    _, config = family_and_config(name)
    query_width = config.heads * config.head_width
    per_token = 6 * (PUBLISHED[name] - untouched) + 12 * config.depth * query_width * 4096
    macs = llama.forward_macs(config, sequence_length=4096)
    assert 6 * macs == pytest.approx(4096 * per_token, rel=0.0002)


@pytest.mark.parametrize("name", ["t5_small", "t5_base", "t5_large"])
def test_t5_agrees_with_its_parameters(name):
    """Each weight multiplies once for each token of its side: those of keys and values of the text's."""
    _, config = family_and_config(name)
    inner, width = config.heads * config.head_width, config.width
    feed_forward = 3 * width * config.mlp_width
    read = config.depth * (4 * width * inner + feed_forward + 2 * width * inner)
    written = config.depth * (6 * width * inner + feed_forward) + width * config.vocabulary
    small = 2 * 32 * config.heads + (5 * config.depth + 2) * width
    assert read + written + small + width * config.vocabulary == PUBLISHED[name]
    attention = 2 * config.depth * inner * (512**2 + 114**2 + 114 * 512)
    macs = t5.forward_macs(config, sequence_length=512, target_length=114)
    assert macs == 512 * read + 114 * written + attention


def test_first_layers():
    # 7 x 7 x 3 x 64 taps at 112 x 112 outputs; 196 patches of 768 values into 768 features.
    assert resnet.first_layer_macs(resnet.Config(), image_size=224) == 7 * 7 * 3 * 64 * 112 * 112
    assert vit.first_layer_macs(vit.Config(), image_size=224) == 196 * 768 * 768
    assert bert.first_layer_macs(bert.Config(), sequence_length=128, predictions=20) == 0
    assert gpt2.first_layer_macs(gpt2.Config(), sequence_length=1024) == 0
    assert llama.first_layer_macs(llama.Config(), sequence_length=1024) == 0
    assert t5.first_layer_macs(t5.Config(), sequence_length=512, target_length=114) == 0


def test_odd_image_sizes_count_the_rounded_up_maps():
    config = resnet.Config(block="basic", depths=(1,), width=8, classes=2)
    # 65 -> 33 after the stem, -> 17 after the pool.
    expected = 49 * 3 * 8 * 33**2 + 2 * 9 * 8 * 8 * 17**2 + 8 * 2
    assert resnet.forward_macs(config, image_size=65) == expected


@pytest.mark.parametrize(("length", "predictions"), [(1, 1), (64, 10), (128, 20), (512, 80)])
def test_predictions_per_sequence(length, predictions):
    assert bert.predictions_per_sequence(length) == predictions
