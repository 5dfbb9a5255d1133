"""The published table: every row readable, and wrong rows refused by name."""

import csv
import io
import re
from importlib import resources

import pytest

from trainbench.hardware import chips
from trainbench.reference import figures, vocabulary

TEXT = resources.files("trainbench.reference").joinpath("published.csv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(io.StringIO(TEXT)))
FIGURES = {figure.id: figure for figure in figures.load()}
GOOD = {
    **dict.fromkeys(figures.COLUMNS, ""),
    "id": "mine",
    "model": "ResNet-50 v1.5",
    "task": "classification",
    "accelerator": "A100",
    "num_chips": "8",
    "framework": "JAX",
    "metric": "images/sec",
    "value": "16000",
    "value_per_chip": "2000",
    "derivation": "published",
    "source_repo_or_url": "https://example.org/results",
}


def _csv(*rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, figures.COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


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


def test_a_good_row_of_ones_own_is_read():
    (figure,) = figures.parse(_csv(GOOD), name="own.csv")
    assert figure.samples_per_s_per_chip == 2000
    assert figure.precision is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ""}, "id: must not be blank"),
        ({"value": "fast"}, "value: 'fast' is not a number"),
        ({"value": "-1"}, "value: '-1' is not a positive number"),
        ({"value": "nan"}, "value: 'nan' is not a positive number"),
        ({"value_per_chip": "1000"}, "value_per_chip: 1000.0 is not 2000"),
        ({"value_per_chip": ""}, "value_per_chip: None is not 2000"),
        ({"num_chips": "0"}, "num_chips: '0' is not a positive whole number"),
        ({"num_chips": "8.5"}, "num_chips: '8.5' is not a positive whole number"),
        ({"precision": "half"}, "precision: 'half' is not one of"),
        ({"task": "train"}, "task: 'train' is not known"),
        ({"metric": "img/s"}, "metric: 'img/s' is not known"),
        ({"data": "fake"}, "data: 'fake' is not one of real, synthetic"),
        ({"derivation": "guessed"}, "derivation: 'guessed' is not"),
        ({"source_repo_or_url": ""}, "source_repo_or_url: must not be blank"),
        ({"date": "last year"}, "date: 'last year' is not a date"),
        ({"image_size": "224x224"}, "image_size: '224x224' is not a positive whole number"),
        ({"accelerator": "TPU v3", "accelerator_variant": "v3-8"}, "num_chips: v3-8 has 4, not 8"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_cell(change, message):
    with pytest.raises(figures.FigureError, match=re.escape(f"own.csv line 3: {message}")):
        figures.parse(_csv(GOOD, {**GOOD, "id": "bad", **change}), name="own.csv")


def test_every_bad_row_is_named_not_only_the_first():
    with pytest.raises(figures.FigureError) as error:
        figures.parse(_csv({**GOOD, "value": "x"}, GOOD, {**GOOD, "data": "y"}, GOOD), name="own.csv")
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "own.csv line 2",
        "own.csv line 4",
        "own.csv line 5",
    ]
    assert "'mine' is used twice" in str(error.value)


def test_a_wrong_header_or_a_short_row_is_refused():
    with pytest.raises(figures.FigureError, match="line 1: the columns must be id, anchor"):
        figures.parse("id,value\na,1\n", name="own.csv")
    with pytest.raises(figures.FigureError, match="line 2: the row must have 27 cells"):
        figures.parse(",".join(figures.COLUMNS) + "\na,b\n", name="own.csv")


@pytest.mark.parametrize("metric", sorted(vocabulary.OTHER_METRICS))
def test_tokens_times_and_mfu_never_become_samples(metric):
    found = [figure for figure in FIGURES.values() if figure.metric == metric]
    assert found
    assert all(figure.samples_per_s_per_chip is None for figure in found)


def test_a_figure_of_an_unclear_number_of_chips_has_no_rate_per_chip():
    row = {**GOOD, "num_chips": "", "value_per_chip": "2000"}
    (figure,) = figures.parse(_csv(row), name="own.csv")
    assert figure.samples_per_s_per_chip is None


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
    for name in ("ELECTRA-Base", "ViT-B/32", "T5-v1.1-small", "GPT-126M", "RoBERTa-Base", "BART-Large"):
        assert {figure.model for figure in FIGURES.values() if figure.published_model == name} == {None}


def test_mlperf_bert_rows_say_what_happened_to_padding():
    by_padding = {
        padding: _samples(task=vocabulary.MASKED_LANGUAGE_MODEL, padding=padding)
        for padding in ("padded", "removed", "packed", "not stated")
    }
    assert 969.95 in by_padding["packed"].values()
    assert 148.47 in by_padding["removed"].values()
    assert 60.806 in by_padding["not stated"].values()
    assert 210.0 in by_padding["padded"].values()
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


def test_a_batch_printed_for_a_tpu_device_is_not_taken_for_a_chip():
    row = {**GOOD, "accelerator": "TPU v3", "per_device_batch": "128", "value_per_chip": "2000"}
    without, with_global = figures.parse(
        _csv(row, {**row, "id": "global", "global_batch": "2048"}), name="own.csv"
    )
    assert without.micro_batch_per_chip is None
    assert with_global.micro_batch_per_chip == 256


def test_every_known_chip_family_is_spelt_as_in_the_table():
    accelerators = {figure.accelerator for figure in FIGURES.values()}
    ids = {chip.id for chip in chips.load()}
    assert set(vocabulary.ACCELERATOR_OF_CHIP) <= ids
    assert set(vocabulary.ACCELERATOR_OF_CHIP.values()) <= accelerators


def test_labels_name_board_and_slice_once():
    labels = {figure.label for figure in FIGURES.values()}
    assert {"TPU v3 (v3-8)", "TPU v3 (v3-32)", "A100 PCIe 80GB"} <= labels
