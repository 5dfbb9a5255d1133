"""Which figures pair, which pairs are like for like, and when two prices or powers are alike."""

from dataclasses import replace

import pytest

from trainbench.hardware import chips
from trainbench.reference import claim, figures, found, ratios
from trainbench.reference.found import Tables

TABLE = claim.load()
CLAIMS = {one.id: one for one in TABLE.claims}
FIGURES = {figure.id: figure for figure in figures.load()}


def tables():
    return Tables(tuple(FIGURES.values()), {chip.id: chip for chip in chips.load()}, TABLE.peers)


PAIR = CLAIMS["resnet50-v3-over-v100"].checks[0]
TPU = FIGURES["resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2"]
GPU = FIGURES["resnet-50-v100-x8-fp16-amp-r224-jax-flax-2"]


def paired(above, below):
    return list(ratios.pairs(PAIR, [above], [below], tables()))


def test_figures_of_the_same_conditions_pair():
    assert paired(TPU, GPU) == [(TPU, GPU)]
    assert ratios.ratio(PAIR, TPU, GPU, tables()).value == pytest.approx(
        TPU.value_per_chip / GPU.value_per_chip
    )


@pytest.mark.parametrize(
    "cells",
    [
        {"precision": "fp32"},
        {"precision": None},
        {"image_size": 160},
        {"task": "image_finetuning"},
        {"metric": "hours"},
        {"accelerator": "A100"},
        {"name": "resnet101"},
    ],
)
def test_figures_of_other_models_sizes_and_precisions_never_pair(cells):
    assert not paired(TPU, replace(GPU, **cells))


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"data": "synthetic"}, "data: real / synthetic"),
        ({"data": None}, "data: real / not stated"),
        ({"includes_evaluation": False}, "timed: training with evaluation / training steps only"),
        ({"gradient_accumulation": 2}, "gradient accumulation: 1 / 2"),
        ({"global_batch": None}, "batch per chip: 256 / not stated"),
        ({"global_batch": 513 * 8}, "batch per chip: 256 / 513"),
        ({"num_chips": 17, "global_batch": 256 * 17}, "chips: 4 / 17"),
        ({"num_chips": 1, "global_batch": 256}, "chips: 4 / 1"),
    ],
)
def test_figures_of_other_conditions_pair_but_are_not_like_for_like(cells, said):
    other = replace(GPU, **cells)
    assert paired(TPU, other) == [(TPU, other)]
    ratio = ratios.ratio(PAIR, TPU, other, tables())
    assert said in ratio.differences
    assert not ratio.like_for_like


@pytest.mark.parametrize(
    "cells", [{}, {"global_batch": 512 * 8}, {"num_chips": 16, "global_batch": 256 * 16}]
)
def test_figures_are_like_for_like_within_twice_the_batch_and_four_times_the_chips(cells):
    assert GPU.per_device_batch is None
    assert ratios.ratio(PAIR, TPU, replace(GPU, **cells), tables()).like_for_like


@pytest.mark.parametrize("cells", [{"data": None}, {"padding": "not stated"}, {"precision": None}])
def test_not_stated_on_both_sides_is_no_agreement(cells):
    known = {"padding": "padded", "name": "bert_large"}
    above, below = (replace(figure, **(known | cells)) for figure in (TPU, GPU))
    assert any(one.material for one in ratios.between(above, below))
    assert not any(one.material for one in ratios.between(*(replace(one, **known) for one in (TPU, GPU))))


def test_differences_between_two_figures_do_not_depend_on_their_order():
    rows = [figure for figure in FIGURES.values() if figure.name in ("resnet50", "bert_large")][:60]
    for above in rows:
        for below in rows:
            one, two = ratios.between(above, below), ratios.between(below, above)
            assert sorted(item.weight for item in one) == sorted(item.weight for item in two)


def test_a_padding_that_is_known_to_differ_keeps_figures_apart():
    check = replace(PAIR, numerator={}, denominator={})
    rows = [replace(TPU, padding="padded"), replace(GPU, padding="removed")]
    assert not list(ratios.pairs(check, rows[:1], rows[1:], tables()))
    unknown = replace(GPU, padding="not stated")
    assert list(ratios.pairs(check, rows[:1], [unknown], tables()))


@pytest.mark.parametrize(
    ("host", "date", "alike"),
    [
        ("host included", "2026-01-02", True),
        ("GPU-only", "2026-01-02", False),
        ("host included", None, False),
    ],
)
def test_prices_are_alike_with_a_date_and_the_host_in_both_or_neither(host, date, alike):
    chip = chips.by_id("v100-sxm2-16gb")
    one = replace(chip, price=replace(chip.price, note="host included", date="2026-01-01"))
    two = replace(chip, price=replace(chip.price, note=host, date=date))
    assert (not list(found.unlike(found.divisors_of("price", one, two)))) == alike


def test_powers_of_different_kinds_are_not_alike():
    measured, stated = chips.by_id("tpu-v4"), chips.by_id("a100-sxm4-80gb")
    kinds = [found.divisors_of("power", one, stated) for one in (measured, stated)]
    assert [len(list(found.unlike(sides))) for sides in kinds] == [1, 0]
