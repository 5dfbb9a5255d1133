"""The published table as shipped: every row readable, sound, and taken for what it is."""

import csv
import io
import re
from dataclasses import replace
from importlib import resources

import pytest

from trainbench.errors import UserError
from trainbench.hardware import chips
from trainbench.model_flops import flops_per_sample
from trainbench.reference import figures, validate, vocabulary

TEXT = resources.files("trainbench.reference").joinpath("published.csv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(io.StringIO(TEXT)))
FIGURES = {figure.id: figure for figure in figures.load()}


def _samples(**conditions):
    """Per-chip samples/s of the figures whose attributes are as given, by id."""
    return {
        figure.id: figure.samples_per_s_per_chip
        for figure in FIGURES.values()
        if all(getattr(figure, name) == value for name, value in conditions.items())
        and figure.samples_per_s_per_chip is not None
    }


def test_every_row_is_loaded_in_order():
    assert [figure.id for figure in figures.load()] == [row["id"] for row in ROWS]
    assert len(ROWS) == 419


@pytest.mark.parametrize("metric", sorted(set(vocabulary.METRICS) - set(vocabulary.SAMPLE_METRICS)))
def test_times_and_mfu_never_become_samples_and_tokens_only_where_rows_are_full(metric):
    found = [figure for figure in FIGURES.values() if figure.metric == metric]
    assert found
    for figure in found:
        if figure.samples_per_s_per_chip is not None:
            assert metric in vocabulary.TOKEN_METRICS
            assert figure.task == vocabulary.CAUSAL_LANGUAGE_MODEL
            assert figure.samples_per_s_per_chip * figure.sequence_length == pytest.approx(
                figure.value_per_chip
            )


def test_gpt2_rows_are_run_as_their_scripts_say():
    rows = [figure for figure in FIGURES.values() if figure.repository == "karpathy/llm.c"]
    assert [figure.accumulation for figure in rows] == [1, 1, 2, 8]
    assert {figure.precision for figure in rows} == {"bf16"}
    assert [figure.model for figure in rows] == ["gpt2_124m", "gpt2_345m", "gpt2_774m", "gpt2_1558m"]
    assert all(not figure.missing() for figure in rows)


@pytest.mark.parametrize("figure", FIGURES.values(), ids=list(FIGURES))
def test_every_shipped_figure_is_sound_and_below_its_chips_peak(figure):
    assert validate.faults(figure, flops_per_sample) == ()


def test_most_shipped_rates_are_really_held_against_a_peak():
    held = [each for each in FIGURES.values() if validate.achieved_tflops(each, flops_per_sample)]
    assert len(held) > 200


def test_an_unknown_id_names_up_to_five_near_ones():
    with pytest.raises(UserError) as error:
        figures.find("resnet-50-v1-5-a100-x1-fp16-r224")
    near = error.value.allowed.split()[-5:]
    assert set(near) <= set(FIGURES)
    assert error.value.fix == "python -m trainbench references model=resnet50"
    with pytest.raises(UserError, match="is not the id"):
        figures.find("?")


def test_what_keeps_a_figure_from_being_run_here_is_said_in_words():
    assert FIGURES["resnet-50-v1-5-a100-x1-tf32-r224-pytorch"].missing() == ()
    squad = next(each for each in FIGURES.values() if each.task == vocabulary.QUESTION_ANSWERING)
    assert "question answering is not trained here" in squad.missing()
    fp8 = FIGURES["bert-large-h100-x8-fp8-s512-pytorch"]
    assert "training in fp8 is not built here" in fp8.missing()
    hours = FIGURES["gpt-2-124m-tpu-v3-x32-na-jax-flax"]
    assert "hours is no rate of samples" in hours.missing()
    assert "the precision is not stated" in hours.missing()


def test_flops_are_counted_at_the_figures_own_size():
    figure = FIGURES["bert-large-a100-x1-tf32-s512-pytorch"]
    assert flops_per_sample(figure) == pytest.approx(6 * 170.1e9, rel=0.005)
    assert flops_per_sample(replace(figure, sequence_length=100_000)) is None  # more than it has positions
    assert flops_per_sample(replace(figure, task=vocabulary.QUESTION_ANSWERING)) is None
    assert flops_per_sample(replace(figure, name="electra_base")) is None


def test_tpu_v3_resnet_is_counted_per_chip_not_per_core():
    rates = _samples(model="resnet50", accelerator="TPU v3")
    single_pod_slices = [rate for name, rate in rates.items() if FIGURES[name].num_chips <= 64]
    assert max(rates.values()) < 2100
    assert len([rate for rate in single_pod_slices if 1900 < rate < 2100]) >= 4
    assert FIGURES["resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2"].num_chips == 4


@pytest.mark.parametrize(
    ("accelerator", "chips_of_slice"),
    [
        ("TPU v2", {"v2-8": 4, "v2-32": 16}),
        ("TPU v4", {"v4-16": 8, "v4-128": 64}),
        ("TPU v5e", {"v5e-256": 256}),
    ],
)
def test_slice_names_count_tensorcores_up_to_v4_and_chips_on_v5e(accelerator, chips_of_slice):
    for figure in FIGURES.values():
        for name, count in chips_of_slice.items():
            if figure.accelerator == accelerator and re.search(rf"\b{name}\b", figure.variant):
                assert figure.num_chips == count


def test_bert_tasks_are_told_apart():
    squad = [figure for figure in FIGURES.values() if figure.dataset.startswith("SQuAD")]
    glue = [figure for figure in FIGURES.values() if figure.dataset.startswith("GLUE")]
    assert {figure.task for figure in squad} == {vocabulary.QUESTION_ANSWERING}
    assert {figure.task for figure in glue} == {vocabulary.TEXT_CLASSIFICATION}
    pretraining = _samples(model="bert_large", task=vocabulary.MASKED_LANGUAGE_MODEL)
    assert {FIGURES[name].dataset for name in pretraining} <= {"Wikipedia", "Wikipedia (MLPerf)", ""}


def test_vit_pretraining_is_classification_and_fine_tuning_is_not():
    tasks = {(figure.image_size, figure.task) for figure in FIGURES.values() if figure.model == "vit_b16"}
    assert tasks == {(224, vocabulary.IMAGE_CLASSIFICATION), (384, vocabulary.IMAGE_FINETUNING)}


def test_models_of_another_shape_are_not_taken_for_ours():
    encoders = ("ELECTRA-Base", "ViT-B/32", "RoBERTa-Base", "BART-Large")
    # FlashAttention's GPT3-2.7B has 20 heads of 128 in place of 32 of 80, as its README says.
    for name in (*encoders, "GPT-126M", "GPT3-2.7B", "Mixtral 8x7B", "MaxText 22B"):
        assert {figure.model for figure in FIGURES.values() if figure.published_model == name} == {None}


@pytest.mark.parametrize(
    ("published", "model"),
    [
        ("Llama 3 8B", "llama_8b"),
        ("Llama 3.1 70B", "llama_70b"),
        ("Llama 3 70B", "llama_70b"),
        ("Llama 2 70B", "llama_2_70b"),
        ("MaxText 16B", "maxtext_16b"),
        ("GPT3-175B", "gpt3_175b"),
        ("T5-v1.1-large", "t5_large"),
    ],
)
def test_decoders_and_t5_have_the_names_of_their_shapes(published, model):
    assert {each.model for each in FIGURES.values() if each.published_model == published} == {model}


def test_mlperf_bert_rows_say_what_happened_to_padding():
    by_padding = {
        padding: _samples(task=vocabulary.MASKED_LANGUAGE_MODEL, padding=padding)
        for padding in (*vocabulary.PADDING, "not stated")
    }
    assert 969.95 in by_padding["packed"].values()
    assert 148.47 in by_padding["removed"].values()
    assert 60.806 in by_padding["not stated"].values()
    assert 210.0 in by_padding["binned"].values()
    assert 96.52 in by_padding["padded"].values()
    assert not any("MLPerf" in FIGURES[name].dataset for name in by_padding["padded"])


def test_rates_that_include_evaluation_are_marked():
    flax = FIGURES["resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2"]
    assert flax.includes_evaluation
    excluded = [figure for figure in FIGURES.values() if "training_sequences_per_second" in figure.derivation]
    assert excluded
    assert not any(figure.includes_evaluation for figure in excluded)


def test_fp32_that_may_be_tf32_is_neither():
    lambda_rows = [figure for figure in FIGURES.values() if figure.precision == "fp32 or tf32"]
    assert lambda_rows
    assert {figure.accelerator for figure in lambda_rows}.isdisjoint({"V100", "TPU v3"})
    assert vocabulary.PRECISION_CLASSES["fp32 or tf32"] not in (
        vocabulary.PRECISION_CLASSES["fp32"],
        vocabulary.PRECISION_CLASSES["tf32"],
    )


def test_micro_batch_is_what_one_chip_takes_at_once():
    accumulated = FIGURES["bert-large-a100-x1-fp16-amp-s512-pytorch"]
    assert (accumulated.global_batch, accumulated.micro_batch_per_chip, accumulated.accumulation) == (
        4096,
        32,
        128,
    )
    assert FIGURES["resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2"].micro_batch_per_chip == 256  # 1024 on 4 chips
    assert FIGURES["bert-base-a100-x8-bf16-s128-pytorch-2"].accumulation == 4  # 4096 / (8 x 128)


def test_every_known_chip_family_is_spelt_as_in_the_table():
    accelerators = {figure.accelerator for figure in FIGURES.values()}
    ids = {chip.id for chip in chips.load()}
    assert set(vocabulary.ACCELERATOR_OF_CHIP) == ids
    assert accelerators <= set(vocabulary.ACCELERATORS)


def test_labels_name_board_and_slice_once():
    labels = {figure.label for figure in FIGURES.values()}
    assert {"TPU v3 (v3-8)", "TPU v3 (v3-32)", "A100 PCIe 80GB"} <= labels
