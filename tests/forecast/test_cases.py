"""Which published figures forecasts are held against."""

import pytest

from tests.forecast.outcomes import sampled, too_large
from tests.models.test_parameter_counts import PUBLISHED
from trainbench.forecast import targets
from trainbench.forecast.timing import cases
from trainbench.forecast.timing.schedule import FULL_RATES, Parameters
from trainbench.hardware import chips
from trainbench.reference import figures

RESNET = "resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2"
BERT = "bert-large-tpu-v4-x16-bf16-s512-tensorflow"


def rows(platform, *ids):
    return cases.rows([figures.find(each) for each in ids], platform)


def test_a_figure_is_forecast_for_its_slice_with_its_batch():
    (row,) = rows("tpu", RESNET)
    assert (row.target.name, row.target.chips, row.model) == ("v3-8", 4, "resnet50")
    assert cases.tree(row)["batch_size"] == 128


def test_bert_on_a_tpu_stands_in_without_dropout_and_nothing_else_changes():
    (row,) = rows("tpu", BERT)
    architecture = cases.tree(row)["model"]["architecture"]
    assert architecture["dropout_rate"] == 0
    assert (architecture["depth"], cases.tree(row)["sequence_length"]) == (24, 512)


def test_figures_that_do_not_say_enough_or_are_of_the_other_platform_do_not_count():
    said = figures.find(RESNET)
    unsaid = next(figure for figure in figures.load() if figure.chip is None)
    assert cases.rows([said, unsaid], "gpu") == []


def test_sequences_that_are_shorter_than_stated_do_not_count():
    (shortened,) = [figures.find("bert-large-a100-x1-fp16-amp-s512-pytorch")]
    assert shortened.padding == "binned"
    assert cases.rows([shortened], "gpu") == []


@pytest.mark.parametrize("platform", ["tpu", "gpu"])
def test_models_that_no_device_holds_whole_do_not_count(platform):
    found = cases.rows(figures.load(), platform)
    assert found
    for row in found:
        assert 16 * PUBLISHED[row.model] < chips.by_id(row.target.chip).memory_bytes, row.figure.id


def test_of_several_gpu_figures_for_one_condition_the_middle_one_counts():
    alike = [
        figure
        for figure in figures.load()
        if (figure.chip, figure.model, figure.precision_class) == ("h100-sxm5-80gb", "resnet50", "16-bit")
        and (figure.num_chips or 0) <= targets.MOST_GPUS_PER_HOST
    ]
    (row,) = cases.rows(alike, "gpu")
    rates = sorted(figure.samples_per_s_per_chip for figure in alike if figure.runnable)
    assert len(rates) > 3
    assert row.figure.samples_per_s_per_chip == rates[(len(rates) - 1) // 2]


def test_gpus_of_several_hosts_do_not_count():
    many = [
        figure for figure in figures.load() if (figure.num_chips or 0) > 8 and figure.accelerator == "H100"
    ]
    assert many
    assert cases.rows(many, "gpu") == []


def test_a_case_expects_samples_per_second_and_chip():
    (row,) = rows("tpu", RESNET)
    build = sampled("matmul_v3", "v3-8", batch_size=128)
    found = cases.case(row, build)
    assert found.published == pytest.approx(2021.8)
    step_s = 1024 / 4 / found.expected(FULL_RATES)
    assert found.expected(Parameters(matrix_efficiency=0.25)) < found.expected(FULL_RATES)
    assert 0 < step_s < 1


def test_a_step_that_does_not_fit_is_no_case():
    (row,) = rows("tpu", RESNET)
    build = sampled("matmul_v3", "v3-8", batch_size=128)
    assert "memory" in cases.case(row, type(build)(build.target, build.facts, too_large()))
