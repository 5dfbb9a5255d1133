"""Figures of one's own: read like the shipped ones, and wrong rows refused by name."""

import csv
import io
import re
from dataclasses import replace
from datetime import date

import pytest

from trainbench import shipped
from trainbench.errors import UserError
from trainbench.model_flops import flops_per_sample
from trainbench.reference import columns, figures, validate, vocabulary

FIGURES = {figure.id: figure for figure in figures.load()}
GOOD = {
    **dict.fromkeys(columns.NAMES, ""),
    "id": "mine",
    "model": "resnet50",
    "task": "image_classification",
    "accelerator": "A100",
    "num_chips": "8",
    "image_size": "224",
    "framework": "JAX",
    "metric": "images/sec",
    "value": "16000",
    "value_per_chip": "2000",
    "derivation": "published",
    "source": "https://example.org/results",
}


def _csv(*rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, columns.NAMES)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


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
        ({"num_chips": "0"}, "num_chips: '0' is not a positive whole number"),
        ({"num_chips": "8.5"}, "num_chips: '8.5' is not a positive whole number"),
        ({"precision": "half"}, "precision: 'half' is not one of"),
        ({"task": "train"}, "task: 'train' is not one of image_classification"),
        ({"metric": "img/s"}, "metric: 'img/s' is not one of images/sec"),
        ({"model": "resnet_50"}, "model: 'resnet_50' is spelt 'resnet50' here"),
        ({"model": "vit"}, "model: 'vit' is short for vit_b16"),
        ({"model": "Llama 3"}, "model: 'Llama 3' is not a name of small letters"),
        ({"accelerator": "TPUv4"}, "accelerator: 'TPUv4' is spelt 'TPU v4' here"),
        ({"chip": "h100-sxm5-80gb"}, "chip: h100-sxm5-80gb is H100, not A100"),
        ({"chip": "a100-sxm4-80gb", "board": "PCIe 80GB"}, "chip: a100-sxm4-80gb is no PCIe 80GB"),
        ({"chip": "a100-sxm4-80gb", "board": "SXM4 40GB"}, "chip: a100-sxm4-80gb is no SXM4 40GB"),
        ({"num_devices": "16"}, "num_devices: 16 on 8 chips of A100"),
        ({"metric": "MFU%", "value": "130", "value_per_chip": "130"}, "value: an MFU of 130 % is above"),
        ({"metric": "TFLOP/s/device", "value": "700", "value_per_chip": "700"}, "value: 700 TFLOP/s/device"),
        ({"includes_evaluation": "maybe"}, "includes_evaluation: 'maybe' is neither yes nor blank"),
        ({"padding": "some"}, "padding: 'some' is not one of padded"),
        ({"data": "fake"}, "data: 'fake' is not one of real, synthetic"),
        ({"derivation": "guessed"}, "derivation: 'guessed' is not"),
        ({"source": ""}, "source: must not be blank"),
        ({"date": "last year"}, "date: 'last year' is not a date"),
        ({"date": "2999-01-01"}, "date: 2999-01-01 is still to come"),
        ({"task": "masked_language_model"}, "task: resnet50 is not trained on masked_language_model, but on"),
        ({"model": "bert_large"}, "task: bert_large is not trained on image_classification, but on masked"),
        ({"sequence_length": "512"}, "sequence_length: resnet50 has none"),
        ({"model": "bert_base", "task": "question_answering"}, "image_size: bert_base has none"),
        ({"model": "gpt2_124m", "task": "causal_language_model"}, "image_size: gpt2_124m has none"),
        ({"image_size": "224x224"}, "image_size: '224x224' is not a positive whole number"),
        ({"accelerator": "TPU v3", "board": "v3-8"}, "num_chips: v3-8 has 4, not 8"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_cell(change, message):
    with pytest.raises(figures.FigureError, match=re.escape(f"own.csv line 3: {message}")):
        figures.parse(_csv(GOOD, {**GOOD, "id": "bad", **change}), name="own.csv")


def test_a_figure_of_today_is_read_and_one_of_tomorrow_is_not():
    text = _csv({**GOOD, "date": "2026-03-01"})
    assert figures.parse(text, name="own.csv", today=date(2026, 3, 1))
    with pytest.raises(figures.FigureError, match=re.escape("still to come (today is 2026-02-28)")):
        figures.parse(text, name="own.csv", today=date(2026, 2, 28))


@pytest.mark.parametrize(
    ("model", "task", "size"),
    [
        ("vit_b16", "image_finetuning", "image_size"),
        ("bert_base", "question_answering", "sequence_length"),
        ("bert_large", "text_classification", "sequence_length"),
        ("gpt2_124m", "other_finetuning", "sequence_length"),
        ("some_other_model", "denoising", "sequence_length"),
    ],
)
def test_models_may_be_fine_tuned_and_others_do_as_they_like(model, task, size):
    row = {**GOOD, "model": model, "task": task, "image_size": "", size: "384"}
    assert figures.parse(_csv(row), name="own.csv")


def test_every_bad_row_is_named_not_only_the_first():
    with pytest.raises(figures.FigureError) as error:
        figures.parse(_csv({**GOOD, "value": "x"}, GOOD, {**GOOD, "data": "y"}, GOOD), name="own.csv")
    again = "id: 'mine' is used twice"
    assert str(error.value).splitlines() == [
        "own.csv line 2: value: 'x' is not a number",
        f"own.csv line 3: {again}",
        "own.csv line 4: data: 'y' is not one of real, synthetic",
        f"own.csv line 4: {again}",
        f"own.csv line 5: {again}",
    ]


def test_every_mistake_of_a_header_is_named_with_the_columns_that_there_are():
    with pytest.raises(figures.FigureError) as error:
        figures.parse("id,id,valeu,speeed,model\n", name="own.csv")
    assert [problem.removeprefix("own.csv line 1: ") for problem in error.value.problems] == [
        "the column 'id' is there twice",
        "there is no column 'valeu'; did you mean 'value'?",
        "there is no column 'speeed'",
        "the columns task, accelerator, metric, value, source are needed too",
    ]
    assert all(f" {name}" in error.value.allowed for name in columns.NAMES)


def test_every_model_that_is_built_here_is_known_to_the_table():
    assert set(vocabulary.MODELS) == set(shipped.names("model")) - set(vocabulary.MODEL_ALIASES)
    assert set(vocabulary.MODEL_ALIASES) < set(shipped.names("model"))


def test_a_tiny_model_of_ones_own_can_be_run_again():
    row = {**GOOD, "model": "vit_tiny", "image_size": "32", "precision": "fp32", "per_device_batch": "8"}
    (figure,) = figures.parse(_csv({**row, "chip": "a100-sxm4-80gb"}), name="own.csv")
    assert figure.runnable
    assert figure.never_compared() == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "own.csv is empty"),
        ("id,value\na,1\n", "line 1: the columns model, task, accelerator, metric, source are needed too"),
        (",".join((*columns.NAMES, "id")) + "\n", "line 1: the column 'id' is there twice"),
        (
            ",".join((*columns.NAMES, "valeu")) + "\n",
            "line 1: there is no column 'valeu'; did you mean 'value'",
        ),
        (";".join(columns.NAMES) + "\n", "line 1: there is no column 'id;best"),
        (",".join(columns.NAMES) + "\na,b\n", "line 2: the row has fewer cells"),
        (",".join(columns.NAMES) + "\n" + "a," * 99 + "\n", "line 2: the row has more cells"),
        (",".join(columns.NAMES) + '\n"a"b,c\n', "line 2: "),
    ],
)
def test_a_wrong_header_or_a_wrong_number_of_cells_is_refused(text, message):
    with pytest.raises(figures.FigureError, match=re.escape(message)):
        figures.parse(text, name="own.csv")


def test_only_the_needed_columns_have_to_be_there_in_any_order():
    header = "value,id,source,metric,accelerator,task,model\n"
    text = header + "9,x,me,sequences/sec,A100,masked_language_model,bert_base\n"
    (figure,) = figures.parse(text, name="own.csv")
    assert (figure.num_chips, figure.precision, figure.framework, figure.chip) == (None, None, "", None)
    assert (figure.padding, figure.objective) == ("not stated", "not stated")
    assert (figure.published_model, figure.derivation) == ("bert_base", "published")
    assert figure.samples_per_s_per_chip is None


def test_a_value_per_chip_that_is_left_out_is_divided_here():
    tpu = {
        **GOOD,
        "accelerator": "TPU v3",
        "num_devices": "16",
        "metric": "samples/sec/device",
        "value": "1000",
    }
    plain, device = figures.parse(
        _csv({**GOOD, "value_per_chip": ""}, {**tpu, "id": "tpu", "value_per_chip": ""}), name="own.csv"
    )
    assert plain.samples_per_s_per_chip == 2000
    assert device.samples_per_s_per_chip == 2000  # two TensorCores a chip


def test_tokens_of_other_tasks_or_of_unknown_lengths_are_not_converted():
    row = {**GOOD, "model": "gpt2_124m", "task": "causal_language_model", "metric": "tokens/sec"}
    row |= {"sequence_length": "1024", "image_size": "", "value": "1638400", "value_per_chip": ""}
    changes = [{}, {"sequence_length": ""}, {"task": "other_finetuning"}, {"padding": "padded"}]
    found = figures.parse(
        _csv(*({**row, **each, "id": f"row{i}"} for i, each in enumerate(changes))), name="own"
    )
    assert [figure.samples_per_s_per_chip for figure in found] == [200, None, None, None]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"precision": "fp32"}, True),  # 2,000 images/s are 49 TFLOP/s; the vector rate is 19.5
        ({"precision": "tf32"}, False),
        ({"precision": "", "value": "120000", "value_per_chip": "15000"}, True),  # 368 TFLOP/s, in anything
        ({"accelerator": "A30", "value_per_chip": ""}, False),  # no peak is known, so any chip's counts
        ({"accelerator": "A30", "value": "9e9", "value_per_chip": ""}, True),
        ({"accelerator": "Foo9000", "value": "9e9", "value_per_chip": ""}, True),
    ],
)
def test_a_rate_above_the_peak_is_refused_once_flops_are_counted(change, refused):
    text = _csv({**GOOD, **change})
    figures.parse(text, name="own.csv")
    if refused:
        with pytest.raises(figures.FigureError, match=r"line 2: value: .* TFLOP/s per chip, above the"):
            figures.parse(text, name="own.csv", flops_per_sample=flops_per_sample)
    else:
        figures.parse(text, name="own.csv", flops_per_sample=flops_per_sample)


def test_rows_that_are_not_padded_in_full_are_exempt_from_the_peak():
    full = FIGURES["bert-large-v100-x1-fp32-s512-pytorch"]
    assert full.padding == "binned"
    assert validate.faults(replace(full, padding="padded"), flops_per_sample)
    assert not validate.faults(full, flops_per_sample)


@pytest.mark.parametrize(
    ("name", "refused"),
    [("Llama-2-7B", True), ("Mixtral 8x7B", False), ("GPT 2B-462B", False), ("GPT", False)],
)
def test_decoders_whose_name_tells_their_size_are_held_against_the_peak(name, refused):
    row = {**GOOD, "model": "other", "published_model": name, "task": "causal_language_model"}
    row |= {"metric": "tokens/sec", "value": "160000", "value_per_chip": ""}  # 6 x 7e9 x 20,000 = 840 TFLOP/s
    if refused:
        with pytest.raises(figures.FigureError, match="840 TFLOP/s per chip"):
            figures.parse(_csv(row), name="own.csv")
    else:
        figures.parse(_csv(row), name="own.csv")


def test_ones_own_figures_follow_the_shipped_ones_and_may_not_take_their_ids(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(_csv(GOOD), encoding="utf-8-sig")
    assert [figure.id for figure in figures.load(path)] == [*FIGURES, "mine"]
    assert figures.find("mine", path).value == 16000
    path.unlink()
    assert len(figures.load(path)) == len(FIGURES) + 1  # a run that began with it ends with it
    clash = tmp_path / "clash.csv"
    clash.write_text(_csv({**GOOD, "id": next(iter(FIGURES))}))
    with pytest.raises(UserError, match="is the id of a figure that is shipped"):
        figures.load(clash)


def test_many_bad_rows_fill_one_screen(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(_csv(*({**GOOD, "id": f"row{index}", "value": "x"} for index in range(25))))
    with pytest.raises(UserError) as error:
        figures.load(path)
    assert len(error.value.problem.splitlines()) == 11
    assert error.value.problem.endswith("and 15 more")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "own.csv is empty"),
        (b"a\0b", "holds bytes that no text has"),
        (b"id,\xff", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_text_or_not_there_is_the_users_mistake(tmp_path, content, message):
    path = tmp_path / "own.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        figures.load(path)
    with pytest.raises(UserError, match="cannot be read"):
        figures.load(tmp_path)


def test_a_figure_of_an_unclear_number_of_chips_has_no_rate_per_chip():
    row = {**GOOD, "num_chips": "", "value_per_chip": "2000"}
    (figure,) = figures.parse(_csv(row), name="own.csv")
    assert figure.samples_per_s_per_chip is None


def test_a_batch_printed_for_a_tpu_device_is_not_taken_for_a_chip():
    row = {**GOOD, "accelerator": "TPU v3", "per_device_batch": "128", "value_per_chip": "2000"}
    without, with_global = figures.parse(
        _csv(row, {**row, "id": "global", "global_batch": "2048"}), name="own.csv"
    )
    assert without.micro_batch_per_chip is None
    assert with_global.micro_batch_per_chip == 256
