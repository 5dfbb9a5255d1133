"""Published figures as targets and overrides."""

import dataclasses

import pytest

from trainbench.errors import UserError
from trainbench.forecast import reference
from trainbench.forecast.targets import find
from trainbench.reference import figures

BERT_V4 = "bert-large-tpu-v4-x16-bf16-s512-tensorflow"
BERT_V3 = "bert-large-tpu-v3-x32-bf16-s512-tensorflow"
BERT_V100 = "bert-large-v100-x1-fp32-s512-tensorflow"
RESNET_V100_16_BIT = "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch"
RESNET_A100 = "resnet-50-v1-5-a100-x1-fp16-amp-r224-pytorch"


def of(figure_id):
    name, overrides = reference.overrides(figures.find(figure_id))
    return name, dict(override.split("=", 1) for override in overrides)


def test_a_figure_becomes_its_slice_and_its_conditions():
    name, found = of(BERT_V4)
    assert name == "v4-16"
    assert found == {
        "model": "bert_large",
        "precision": "bf16",
        "sequence_length": "512",
        "batch_size": "32",
        "data": "synthetic",
    }


def test_the_batch_is_that_of_a_device_and_not_of_a_chip():
    name, found = of(BERT_V3)
    assert (name, found["batch_size"]) == ("v3-32", "14")


def test_accumulation_is_kept_as_it_is_stated():
    _, found = of(BERT_V100)
    assert (found["gradient_accumulation"], found["batch_size"]) == ("16384", "32768")


def test_no_figure_is_without_a_target_and_without_a_reason_at_once():
    named = 0
    for figure in figures.load():
        name, overrides = reference.overrides(figure)
        assert (name is None) == bool(reference.obstacles(figure))
        assert bool(overrides) == bool(name)
        if name:
            target = find(name)
            assert (target.chip, target.chips) == (figure.chip, figure.num_chips)
            named += 1
    assert named > 100


def test_sixteen_bits_are_refused_where_the_chip_has_no_bfloat16():
    figure = figures.find(RESNET_V100_16_BIT)
    assert reference.target(figure) == "v100-1"
    assert "no bfloat16 units" in reference.obstacles(figure)[0]


@pytest.mark.parametrize("chip", [None, "tpu-v6e"])
def test_what_makes_no_slice_has_no_target(chip):
    figure = dataclasses.replace(figures.find(RESNET_A100), chip=chip, num_chips=3)
    assert reference.target(figure) is None
    assert reference.overrides(figure) == (None, [])
    assert reference.obstacles(figure) == (reference.why_no_target(figure),)


def test_on_another_target_the_batch_per_chip_stays_and_given_keys_win():
    found = reference.expand([f"reproduce={BERT_V4}", "precision=fp32"], find("v3-8"))
    assert "batch_size=16" in found
    assert found[-1] == "precision=fp32"
    assert "precision=bf16" not in found
    assert "data=synthetic" in found


def test_without_a_figure_nothing_is_added():
    assert reference.expand(["model=vit_tiny"], find("v6e-1")) == ["model=vit_tiny"]


def test_a_wrong_id_is_named():
    with pytest.raises(UserError, match="is not the id of a published figure"):
        reference.expand(["reproduce=nothing"], find("v6e-1"))
