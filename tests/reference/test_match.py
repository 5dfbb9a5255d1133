"""Which figures a run meets, how they are ordered, and what is like-for-like."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbench.reference import figures, validate, vocabulary
from trainbench.reference.differences import differences, facts_of
from trainbench.reference.match import CLASSIC_ACCELERATORS, RunFacts, comparable, compare

FIGURES = figures.load()
BY_ID = {figure.id: figure for figure in FIGURES}
SAMPLED = [figure for figure in FIGURES if figure.model and figure.samples_per_s_per_chip]
CHIP_OF_ACCELERATOR = {family: chip for chip, family in vocabulary.ACCELERATOR_OF_CHIP.items()}
OF_KNOWN_CHIPS = [
    figure
    for figure in SAMPLED
    if figure.accelerator in CHIP_OF_ACCELERATOR and comparable(facts_of(figure), figure)
]

RESNET = RunFacts(
    model="resnet50",
    task=vocabulary.IMAGE_CLASSIFICATION,
    image_size=224,
    sequence_length=None,
    precision="bf16",
    batch_size=256,
    optimizer="sgd",
    num_chips=1,
    samples_per_s_per_chip=2791.0,
    chip_id="h100-sxm5-80gb",
)
BERT = replace(
    RESNET,
    model="bert_large",
    task=vocabulary.MASKED_LANGUAGE_MODEL,
    image_size=None,
    sequence_length=512,
    batch_size=32,
    optimizer="lamb",
    chip_id="a100-sxm4-80gb",
)


def _texts(run, figure_id):
    return {item.text.split(":")[0]: item for item in differences(run, BY_ID[figure_id])}


def test_the_own_chip_comes_first_then_the_classic_ones():
    found = compare(RESNET, FIGURES, limit=99)
    families = [BY_ID[item.reference_id].accelerator for item in found]
    assert families[:5] == ["H100", "V100", "A100", "TPU v3", "A10"]
    assert len(families) == len(set(families))
    others = [family for family in families[1:] if family not in CLASSIC_ACCELERATORS]
    assert others == sorted(others)


def test_the_figure_for_the_same_chip_carries_its_ratio_and_its_source():
    first = compare(RESNET, FIGURES)[0]
    assert first.reference_id == "resnet-50-v1-5-h100-x1-fp16-amp-r224-pytorch-2"
    assert first.ratio == pytest.approx(1.0)
    assert first.value == 2791
    assert "lambdal/deeplearning-benchmark" in first.source
    assert first.date == "2024-07-24"
    assert first.differences == (
        "batch per chip: published 1280, here 256",
        "precision: published fp16-amp, here bf16",
        "framework: published PyTorch (Lambda fork of DeepLearningExamples), here JAX (Flax NNX)",
    )


def test_a_run_under_the_same_conditions_is_like_for_like():
    first = compare(replace(RESNET, batch_size=1024), FIGURES)[0]
    assert first.like_for_like
    assert not compare(RESNET, FIGURES)[0].like_for_like  # a fifth of the batch


def test_what_no_published_run_is_known_to_do_is_named_and_not_like_for_like():
    unusual = (("computed again", "nothing", "remat=full"),)
    first = compare(replace(RESNET, batch_size=1024, unusual=unusual), FIGURES)[0]
    assert first.differences[0] == "computed again: published nothing, here remat=full"
    assert not first.like_for_like


def test_a_pcie_card_does_not_stand_for_an_sxm_module_or_the_reverse():
    sxm, pcie = compare(RESNET, FIGURES)[0], compare(replace(RESNET, chip_id="h100-pcie-80gb"), FIGURES)[0]
    assert "SXM" in sxm.accelerator
    assert "PCIe" in pcie.accelerator


def test_on_a_cpu_there_are_ratios_but_nothing_is_like_for_like():
    run = replace(RESNET, chip_id=None, accelerator="CPU", batch_size=256, samples_per_s_per_chip=4.0)
    found = compare(run, FIGURES, limit=99)
    assert [BY_ID[item.reference_id].accelerator for item in found[:4]] == ["V100", "A100", "H100", "TPU v3"]
    assert not any(item.like_for_like for item in found)
    for item in found:
        assert any(text.startswith("accelerator: CPU, published") for text in item.differences)
    assert found[0].ratio == pytest.approx(4.0 / found[0].value)


def test_a_run_without_a_result_has_no_ratio():
    found = compare(replace(RESNET, samples_per_s_per_chip=None), FIGURES)
    assert found
    assert {item.ratio for item in found} == {None}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "resnet101"},
        {"task": vocabulary.IMAGE_FINETUNING},
        {"image_size": 256},
        {"image_size": None},
        {"sequence_length": 128},
    ],
)
def test_another_model_task_or_size_is_not_compared(change):
    assert compare(replace(RESNET, **change), FIGURES) == ()


@pytest.mark.parametrize("length", [128, 512])
def test_bert_sequence_lengths_never_mix(length):
    found = compare(replace(BERT, sequence_length=length), FIGURES, limit=99)
    assert found
    assert {BY_ID[item.reference_id].sequence_length for item in found} == {length}


def test_fine_tuning_is_no_reference_for_pretraining():
    assert compare(replace(BERT, sequence_length=384), FIGURES) == ()
    found = compare(replace(BERT, model="bert_base", sequence_length=128), FIGURES, limit=99)
    assert [item.reference_id for item in found] == ["bert-base-a100-x8-bf16-s128-pytorch-2"]


def test_token_rates_of_gpt2_are_compared_as_full_rows():
    run = replace(BERT, model="gpt2_124m", task=vocabulary.CAUSAL_LANGUAGE_MODEL, sequence_length=1024)
    (found,) = compare(replace(run, samples_per_s_per_chip=100.0), FIGURES, limit=99)
    assert found.value == pytest.approx(1747627 / 8 / 1024, rel=1e-4)
    assert found.ratio == pytest.approx(100 / found.value)
    assert compare(replace(run, sequence_length=512), FIGURES) == ()


def test_padded_rows_stand_before_unpadded_ones_though_these_are_faster():
    (own, *_) = compare(BERT, FIGURES)
    assert BY_ID[own.reference_id].padding == "padded"
    assert own.value < 297.27  # MLPerf v1.0, padding removed
    # Also where the padded rows differ in more of the lesser conditions.
    tpu = replace(BERT, chip_id="tpu-v3", num_chips=4, devices_per_chip=2, optimizer="adamw")
    (a100,) = (item for item in compare(tpu, FIGURES) if item.accelerator.startswith("A100"))
    assert BY_ID[a100.reference_id].padding == "padded"


def test_under_equal_conditions_the_highest_figure_stands():
    figure = BY_ID["resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch-3"]
    higher = replace(figure, id="higher", value=900.0, value_per_chip=900.0)
    (found,) = compare(RESNET, [figure, higher])
    assert found.reference_id == "higher"


def test_on_the_own_chip_the_board_counts_before_the_conditions():
    pcie = BY_ID["resnet-50-v1-5-h100-x1-fp16-amp-r224-pytorch"]
    assert "PCIe" in pcie.variant
    sxm = BY_ID["resnet-50-v1-5-h100-x8-fp16-r224-mxnet"]
    assert "SXM" in sxm.variant
    assert len(differences(RESNET, sxm)) > len(differences(RESNET, pcie))
    (found,) = compare(RESNET, [pcie, sxm])
    assert found.reference_id == sxm.id


@pytest.mark.parametrize(("chip_id", "listed"), [("a100-sxm4-80gb", False), ("a100-sxm4-40gb", True)])
def test_another_memory_size_is_another_accelerator(chip_id, listed):
    run = replace(RESNET, chip_id=chip_id)
    assert ("accelerator" in _texts(run, "resnet-50-v1-5-a100-x1-fp16-amp-r224-pytorch")) == listed


def test_tpu_v3_is_compared_by_the_chip():
    run = replace(RESNET, chip_id="tpu-v3", batch_size=128, num_chips=4, devices_per_chip=2, data="real")
    (own, *_) = compare(run, FIGURES)
    assert own.value == pytest.approx(2021.8)
    assert not any(text.startswith(("batch", "chips", "data", "precision")) for text in own.differences)


@pytest.mark.parametrize(
    ("run", "figure_id", "what", "material"),
    [
        (RESNET, "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch-3", "precision", False),
        (RESNET, "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch-3", "accelerator", False),
        (RESNET, "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch-3", "framework", False),
        (RESNET, "resnet-50-v1-5-v100-x1-fp32-r224-pytorch", "precision", True),
        (replace(RESNET, precision="fp32"), "resnet-50-v1-5-a100-x1-tf32-r224-pytorch", "precision", True),
        (RESNET, "resnet-50-v1-5-a100-x1-fp16-amp-r224-pytorch", "data", True),
        (RESNET, "resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2", "timed", True),
        (RESNET, "resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2", "model", False),
        (RESNET, "resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2", "chips", True),
        (BERT, "bert-large-a100-x1-fp16-amp-s512-pytorch", "gradient accumulation", True),
        (BERT, "bert-large-a100-x1-fp16-amp-s512-pytorch", "objective", False),
        (replace(BERT, optimizer="adamw"), "bert-large-a100-x1-fp16-amp-s512-pytorch", "optimizer", False),
        (BERT, "bert-large-h100-x8-fp8-s512-pytorch", "precision", True),
        (BERT, "bert-large-h100-x8-fp8-s512-pytorch", "padding", True),
        (BERT, "bert-large-tpu-v3-x32-bf16-s512-tensorflow", "padding", True),
        (replace(RESNET, chip_id=None), "resnet-50-v1-5-v100-x1-fp32-r224-pytorch", "accelerator", True),
    ],
)
def test_a_difference_is_listed_and_weighed(run, figure_id, what, material):
    assert _texts(run, figure_id)[what].material == material


@pytest.mark.parametrize(
    ("batch_size", "listed", "material"),
    [(256, False, False), (200, True, False), (512, True, False), (513, True, True), (127, True, True)],
)
def test_a_batch_is_near_within_a_factor_of_two(batch_size, listed, material):
    run = replace(RESNET, batch_size=batch_size)
    batch = _texts(run, "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch-3").get("batch per chip")
    assert (batch is not None) == listed
    assert (batch is not None and batch.material) == material


def test_a_negative_limit_is_refused_and_zero_shows_nothing():
    assert compare(RESNET, FIGURES, limit=0) == ()
    with pytest.raises(ValueError, match="limit must be 0 or more"):
        compare(RESNET, FIGURES, limit=-1)


@pytest.mark.parametrize("figure", SAMPLED, ids=[figure.id for figure in SAMPLED])
def test_a_figure_repeated_has_a_ratio_of_one_and_no_difference_but_undocumented_ones(figure):
    run = facts_of(figure)
    if figure.image_size is None and figure.sequence_length is None:
        assert not comparable(run, figure)
        return
    (own,) = compare(run, [figure])
    assert own.ratio == pytest.approx(1.0)
    undocumented = ("not stated", "with evaluation", "removed", "packed", "binned", "next sentence")
    conditions = [text for text in own.differences if not text.startswith("accelerator")]
    assert [text for text in conditions if not any(word in text for word in undocumented)] == []


# A busy machine is no failure: no deadline.
@settings(deadline=None)
@given(st.sampled_from(SAMPLED), st.sampled_from(SAMPLED))
def test_what_may_be_compared_is_symmetric_and_so_are_the_ratios(one, other):
    there, back = comparable(facts_of(one), other), comparable(facts_of(other), one)
    assert there == back
    if there:
        (forth,), (return_,) = compare(facts_of(one), [other]), compare(facts_of(other), [one])
        assert forth.ratio * return_.ratio == pytest.approx(1.0)


@settings(deadline=None)
@given(st.sampled_from(SAMPLED), st.integers(1, 4096), st.sampled_from(["bf16", "fp32", "tf32", "bf16_full"]))
def test_no_ratio_crosses_tasks_lengths_or_sizes(figure, batch_size, precision):
    run = replace(facts_of(figure), batch_size=batch_size, precision=precision)
    for item in compare(run, FIGURES, limit=99):
        met = BY_ID[item.reference_id]
        assert (met.model, met.task) == (run.model, run.task)
        assert (met.image_size, met.sequence_length) == (run.image_size, run.sequence_length)
        assert item.value == met.samples_per_s_per_chip
        assert item.ratio == run.samples_per_s_per_chip / item.value
        assert met.num_chips is not None
        if item.like_for_like:
            assert vocabulary.PRECISION_CLASSES[met.precision] == vocabulary.PRECISION_CLASSES[precision]
            assert met.data == run.data


@settings(deadline=None)
@given(st.sampled_from(SAMPLED), st.randoms(use_true_random=False))
def test_the_order_of_the_table_does_not_matter(figure, shuffler: random.Random):
    run, shuffled = facts_of(figure), list(FIGURES)
    shuffler.shuffle(shuffled)
    assert compare(run, shuffled, limit=99) == compare(run, FIGURES, limit=99)


# What can make a condition material without a word about the other side.
UNDOCUMENTED = ("not stated", "with evaluation", "removed", "packed", "binned")


def _stated_and_material(run, figure):
    """The conditions that differ materially and that both sides state."""
    return {
        item.text.split(":")[0]
        for item in differences(run, figure)
        if item.material and not any(word in item.text for word in UNDOCUMENTED)
    }


@settings(deadline=None)
@given(st.sampled_from(SAMPLED), st.sampled_from(SAMPLED))
def test_material_differences_do_not_depend_on_who_is_run_and_who_is_published(one, other):
    """As far as both sides state the condition: precision, batch, accumulation, data, chips."""
    stated = all(each.precision and each.micro_batch_per_chip and each.data for each in (one, other))
    if stated:
        assert _stated_and_material(facts_of(one), other) == _stated_and_material(facts_of(other), one)


@settings(deadline=None)
@given(st.sampled_from(SAMPLED), st.integers(1, 64))
def test_a_figure_of_an_unknown_number_of_chips_or_of_a_board_taken_as_a_chip_is_never_compared(
    figure, chips
):
    unknown = replace(figure, num_chips=None)
    assert not comparable(facts_of(figure), unknown)
    assert compare(facts_of(figure), [unknown], limit=99) == ()
    # The sum over a board's chips beside the rate of one of them does not pass as a figure of one chip.
    board = replace(figure, num_chips=1, num_devices=None, value=figure.value * (chips + 1))
    assert validate.faults(board)


@settings(deadline=None)
@given(st.sampled_from(SAMPLED), st.floats(0.01, 100))
def test_the_ratio_is_of_rates_per_chip_whatever_the_number_of_chips(figure, factor):
    per_chip = figure.samples_per_s_per_chip * factor
    for chips in (1, 8, 512):
        run = replace(facts_of(figure), num_chips=chips, samples_per_s_per_chip=per_chip)
        for item in compare(run, [figure]):
            assert item.ratio == pytest.approx(factor)
            assert item.value == figure.samples_per_s_per_chip


@settings(deadline=None)
@given(st.sampled_from(OF_KNOWN_CHIPS))
def test_the_own_chip_stands_first_and_the_classic_ones_before_the_rest(figure):
    run = replace(facts_of(figure), chip_id=figure.chip or CHIP_OF_ACCELERATOR[figure.accelerator])
    first, *others = [BY_ID[item.reference_id].accelerator for item in compare(run, FIGURES, limit=99)]
    assert first == figure.accelerator
    classic = [family for family in others if family in CLASSIC_ACCELERATORS]
    assert others[: len(classic)] == sorted(classic, key=CLASSIC_ACCELERATORS.index)
