"""The verb `references`: what it lists, explains, exports, checks and refuses."""

import csv
import io
import itertools
import json
import shlex
import subprocess
import sys

import pytest

from trainbench import reproduce
from trainbench.cli import main
from trainbench.errors import UserError
from trainbench.reference import columns, figures, listing, words
from trainbench.verbs import references

OWN = "id,model,task,accelerator,num_chips,image_size,metric,value,source\n"
ROW = "mine,resnet50,image_classification,A100,8,224,images/sec,16000,me\n"


def shown(capsys, *arguments):
    assert references.show(list(arguments)) == 0
    return capsys.readouterr().out


def ids(capsys, *arguments):
    return [row["id"] for row in csv.DictReader(io.StringIO(shown(capsys, *arguments, "--csv")))]


def test_everything_is_listed_within_110_columns_with_its_conditions(capsys):
    lines = shown(capsys).splitlines()
    assert max(map(len, lines)) <= 110
    for figure in figures.load():
        (line,) = [line for line in lines if f" {figure.id} " in f"{line} "]
        assert line.split()[-1] in (figure.id, *_places(figure.repository))
        assert figure.short_label[:17] in line
        conditions = line.partition(f" {figure.id}")[0].split()
        assert figure.num_chips is None or str(figure.num_chips) in conditions
        batch = figure.micro_batch_per_chip
        assert batch is None or f"{batch:g}" in conditions
    assert any(line.startswith("419 of 419 figures") for line in lines)


def _places(repository):
    name = repository.partition("://")[2] or repository
    return name, name.removeprefix("github.com/"), name.partition("/")[0], name.rpartition("/")[2]


def test_a_source_that_fits_is_shown_beside_the_id(capsys):
    assert shown(capsys, "source=karpathy/llm.c").count(" karpathy/llm.c\n") == 4


def test_samples_of_an_image_model_are_images_whatever_the_source_calls_them(capsys):
    headings = [line for line in shown(capsys, "model=vit_b16").splitlines() if line.startswith("vit_b16")]
    assert headings == [
        "vit_b16 · image classification · 224 pixels · images/sec per chip",
        "vit_b16 · image finetuning · 384 pixels · images/sec per chip",
    ]
    for figure in figures.load():
        assert figure.unit != "samples/sec"


@pytest.mark.parametrize(
    ("word", "attribute", "expected", "said"),
    [
        (
            "accelerator=tpu",
            "accelerator",
            "TPU",
            "No accelerator is tpu; taken are those that hold it: TPU v2",
        ),
        ("accelerator=3090", "accelerator", "RTX 3090", "that hold it: RTX 3090."),
        ("chip=A100", "chip", "a100", "No chip is A100; taken are those that hold it: a100-"),
        ("model=Llama", "name", "llama", "No model is Llama; taken are those that hold it: llama_2_70b"),
        (
            "model=bert",
            "name",
            "bert_base",
            "model=bert stands for bert_base; references 'model=?' lists all.",
        ),
        ("source=MLPerf", "repository", "mlcommons", "source=MLPerf stands for mlcommons."),
    ],
)
def test_a_part_of_a_value_finds_all_that_hold_it_and_the_last_line_says_so(
    capsys, word, attribute, expected, said
):
    by_id = {figure.id: figure for figure in figures.load()}
    found = set(ids(capsys, word))
    assert found == {name for name, each in by_id.items() if expected in (getattr(each, attribute) or "")}
    assert said in " ".join(shown(capsys, word).split())


def test_a_whole_value_is_not_widened_to_those_that_hold_it(capsys):
    assert "hold it" not in shown(capsys, "accelerator=A10")
    by_id = {figure.id: figure for figure in figures.load()}
    assert {by_id[name].accelerator for name in ids(capsys, "accelerator=A10")} == {"A10"}


def test_a_question_mark_lists_every_value_with_its_count(capsys):
    models = shown(capsys, "model=?").splitlines()
    assert len(models) == len({figure.name for figure in figures.load()})
    assert "  120 model=bert_large" in models
    left = shown(capsys, "accelerator=?", "model=vit_b16").splitlines()
    assert left == ["    3 accelerator=A100", "    2 accelerator=RTX 3090", "    1 accelerator=H100"]


def test_a_list_that_is_cut_says_how_to_see_all_of_it():
    with pytest.raises(UserError) as error:
        references.show(["model=nothing-like-it"])
    assert "more (references 'model=?' lists all)" in error.value.allowed


def test_what_can_be_run_is_asked_for_and_marked(capsys):
    runnable = set(ids(capsys, "runnable=yes"))
    assert runnable == {figure.id for figure in figures.load() if not figure.missing()}
    assert runnable.isdisjoint(ids(capsys, "runnable=no"))
    marked = {figure.id for figure in figures.load() if "r" in listing.marks(figure)}
    assert marked == runnable


@pytest.mark.parametrize("runnable", ["yes", "no"])
def test_runnable_is_answered_with_yes_and_no(capsys, runnable):
    count = len(ids(capsys, f"runnable={runnable}"))
    assert f"{count:>5} runnable={runnable}" in shown(capsys, "runnable=?").splitlines()


@pytest.mark.parametrize(
    ("figure", "fix"),
    [
        ("bert-large-h100-x8-fp8-s512-pytorch", "references runnable=yes model=bert_large"),
        ("electra", "references runnable=yes"),
    ],
)
def test_a_figure_that_cannot_be_run_is_answered_with_those_that_can(capsys, figure, fix):
    name = next(each.id for each in figures.load() if each.id.startswith(figure))
    with pytest.raises(UserError) as error:
        reproduce.expand([f"reproduce={name}"])
    assert error.value.fix.endswith(fix)
    assert ids(capsys, *shlex.split(error.value.fix.partition(": ")[2])[4:])


@pytest.mark.parametrize("option", ["extra={}", "reference.extra={}", "--extra={}"])
def test_a_table_of_ones_own_is_named_as_run_names_it(capsys, tmp_path, option):
    path = tmp_path / "own.csv"
    path.write_text(OWN + ROW)
    assert "mine" in ids(capsys, "model=resnet50", option.format(path))


@pytest.mark.parametrize("arguments", [["references", "--help"], ["references", "model=resnet50", "-h"]])
def test_help_is_about_the_references(capsys, arguments):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert text == references.HELP + "\n"
    assert max(map(len, text.splitlines())) <= 110


def test_each_example_of_the_help_finds_something(capsys):
    examples = [line for line in references.HELP.splitlines() if "trainbench references " in line][1:]
    assert len(examples) == 4
    for example in examples:
        assert shown(capsys, *shlex.split(example)[4:])


def test_a_minus_sorts_downwards(capsys):
    numbers = ids(capsys, "model=resnet50", "sort=value_per_chip")
    assert ids(capsys, "model=resnet50", "sort=-value_per_chip") == numbers
    names = [row["model"] for row in json.loads(shown(capsys, "sort=-model", "--json"))]
    assert names == sorted(names, reverse=True)


def test_check_says_which_figures_are_compared_with_nothing(capsys, tmp_path):
    path = tmp_path / "own.csv"
    unsized = ROW.replace("mine", "unsized").replace(",224,", ",,")
    path.write_text(OWN + ROW + unsized + ROW.replace("mine,resnet50", "new,squeezenet"))
    lines = shown(capsys, "--check", str(path)).splitlines()
    assert "1 figure is compared with nothing: the image size is not stated (unsized)" in lines
    assert "1 figure is compared with nothing: squeezenet is not built here (new)" in lines
    assert "mine" not in "".join(lines)


def test_filters_take_lists_aliases_classes_and_any_case(capsys):
    by_id = {figure.id: figure for figure in figures.load()}
    found = [by_id[name] for name in ids(capsys, "model=VIT", "precision=16-bit", "accelerator=a100,H100")]
    assert {figure.name for figure in found} == {"vit_b16"}
    assert {figure.accelerator for figure in found} == {"A100", "H100"}
    assert {figure.precision_class for figure in found} == {"16-bit"}
    assert len(ids(capsys, "accelerator=TPU v7x")) == 6
    assert len(ids(capsys, "best=yes")) == 84
    assert all(by_id[name].precision is None for name in ids(capsys, "precision=none"))
    assert all("mlcommons" in by_id[name].repository for name in ids(capsys, "source=mlcommons"))
    assert all(by_id[name].num_chips == 4 for name in ids(capsys, "num_chips=4"))


def test_a_precision_finds_its_class_with_the_exact_kind_first_and_says_so(capsys):
    by_id = {figure.id: figure for figure in figures.load()}
    asked = ("model=bert_large", "precision=BF16")
    found = [by_id[name].precision for name in ids(capsys, *asked)]
    assert found == sorted(found, key=lambda kind: kind != "bf16")
    assert set(found) == {"bf16", "fp16", "fp16-amp"}
    last = "fp16 and fp16-amp count as the same class; precision==bf16 lists no other kind."
    assert " ".join(shown(capsys, *asked).split()).endswith(last)


def test_the_issues_own_question_is_answered_in_the_class(capsys):
    asked = ("model=resnet50", "accelerator=A100", "precision=bf16")
    text = shown(capsys, *asked)
    assert text.endswith(
        "precision=bf16: fp16 and fp16-amp count as the same class; none here is bf16 exactly.\n"
    )
    assert set(ids(capsys, *asked)) == set(ids(capsys, *asked[:2], "precision=16-bit"))


def test_two_equal_signs_ask_for_the_very_word(capsys):
    by_id = {figure.id: figure for figure in figures.load()}
    found = ids(capsys, "model=bert_large", "precision==bf16")
    assert {by_id[name].precision for name in found} == {"bf16"}
    assert "same class" not in shown(capsys, "model=bert_large", "precision==bf16")
    assert "same class" not in shown(capsys, "model=bert_large", "precision=16-bit")
    assert {by_id[name].repository for name in ids(capsys, "source==karpathy/llm.c")} == {"karpathy/llm.c"}


def test_numbers_are_compared_as_numbers(capsys):
    by_id = {figure.id: figure for figure in figures.load()}
    assert {by_id[name].value for name in ids(capsys, "value=938.0")} == {938}
    odd = max(by_id.values(), key=lambda figure: len(str(figure.value)))
    assert odd.id in ids(capsys, f"value={words.cell(odd, 'value')}")
    counts = {figure.num_chips for figure in by_id.values()} - {None}
    for word, kept in (
        ("num_chips>8", {count for count in counts if count > 8}),
        ("num_chips=>8", {count for count in counts if count > 8}),
        ("num_chips>=8", {count for count in counts if count >= 8}),
        ("num_chips<8", {count for count in counts if count < 8}),
        ("num_chips<=8", {count for count in counts if count <= 8}),
    ):
        assert {by_id[name].num_chips for name in ids(capsys, word)} == kept


def test_no_fix_names_another_model_and_every_fix_finds_something(capsys):
    """Each pair of a model and an accelerator of the table, in a precision that nothing has."""
    models = sorted({figure.name for figure in figures.load()})
    accelerators = sorted({figure.accelerator for figure in figures.load()})[::4]
    for model, accelerator in itertools.product(models[::3], accelerators):
        with pytest.raises(UserError) as error:
            references.show([f"model={model}", f"accelerator={accelerator}", "precision=int8", "value=0.5"])
        fix = shlex.split(error.value.fix)
        assert fix[:4] == ["python", "-m", "trainbench", "references"]
        assert f"model={model}" in fix
        assert ids(capsys, *fix[4:])


def test_a_fix_gives_up_the_precision_before_the_accelerator():
    with pytest.raises(UserError) as error:
        references.show(["model=resnet50", "accelerator=A100", "precision==bf16", "board=SXM4"])
    assert error.value.fix.endswith("references model=resnet50 accelerator=A100 precision=bf16 board=SXM4")
    with pytest.raises(UserError) as error:
        references.show(["model=resnet50", "accelerator=A100", "precision=fp8"])
    assert error.value.fix.endswith("references model=resnet50 accelerator=A100")


def test_without_sort_the_highest_per_chip_comes_first_within_a_metric(capsys):
    rates = [row["value_per_chip"] for row in json.loads(shown(capsys, "model=resnet50", "--json"))]
    images = json.loads(shown(capsys, "metric=images/sec", "--json"))
    assert [row["value_per_chip"] for row in images] == sorted(
        (row["value_per_chip"] for row in images), reverse=True
    )
    assert rates[0] == max(rate for rate in rates if rate)


def test_sorting_by_a_column_puts_what_is_not_stated_last(capsys):
    dates = [row["date"] for row in json.loads(shown(capsys, "sort=date", "--json"))]
    stated = [date for date in dates if date]
    assert dates == [*sorted(stated, reverse=True), *[None] * (len(dates) - len(stated))]


def test_the_export_holds_the_very_same_figures(capsys, tmp_path):
    path = tmp_path / "out.csv"
    path.write_text(shown(capsys, "--csv"))
    assert set(figures.read(path)) == set(figures.load())


def test_one_in_full_says_what_is_not_stated_and_whether_it_can_be_run(capsys):
    text = shown(capsys, "id=resnet-50-v1-5-a100-x1-tf32-r224-pytorch")
    assert "python -m trainbench reproduce=resnet-50-v1-5-a100-x1-tf32-r224-pytorch" in text
    assert "not stated" in text
    fp8 = shown(capsys, "--explain", "bert-large-h100-x8-fp8-s512-pytorch")
    assert "no: training in fp8 is not built here" in " ".join(fp8.split())


def test_marks_are_explained_where_they_are_used(capsys):
    text = shown(capsys, "model=bert_large", "sequence_length=512")
    assert listing.MARKS["p"][:30] in " ".join(text.split())
    assert listing.MARKS["s"] not in text


def test_figures_of_ones_own_are_listed_beside_the_shipped_ones(capsys, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(OWN + ROW)
    assert "mine" in ids(capsys, "model=resnet50", "--extra", str(path))
    assert "A100" in shown(capsys, "id=mine", "--extra", str(path))


def test_check_accepts_a_sound_file_and_names_words_that_are_new(capsys, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(OWN + ROW + ROW.replace("mine", "other").replace("A100", "RTX 5090"))
    text = shown(capsys, "--check", str(path))
    assert "2 figures, all sound" in text
    assert "accelerators that are not known: RTX 5090" in text


def test_check_refuses_what_no_chip_can_do(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text(OWN + ROW.replace("16000", "160000"))
    assert main(["references", "--check", str(path)]) == 2
    error = capsys.readouterr().err
    assert "own.csv line 2" in error
    assert "TFLOP/s per chip, above the" in error


def test_the_schema_names_every_column(capsys):
    text = shown(capsys, "--columns")
    assert all(f" {name} " in text for name in columns.NAMES)
    assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        (["modle=resnet50"], "no column 'modle'", "model=..."),
        (["resnet50"], "'resnet50' is not KEY=VALUE", "references model=resnet50"),
        (["model="], "'model=' is not KEY=VALUE", "references 'model=?'"),
        (["sort="], "'sort=' is not KEY=VALUE", "sort=value_per_chip"),
        (["limit=x"], "no column 'limit'", "references --columns"),
        (["model=resnet51"], "no published figure has model=resnet51", "model=resnet50"),
        (["model=resnet50", "accelerator=T4"], "no published figure has model=resnet50", "model=resnet50"),
        (["id=nothing-like-it"], "is not the id of a published figure", "references"),
        (["sort=speed"], "no column 'speed'", "references"),
        (["value=9.38"], "no published figure has value=9.38", "references"),
        (["image_size=2.24", "model=resnet50"], "image_size=2.24", "references model=resnet50"),
        (["value=-5"], "value=-5: '-5' is not a positive number", "value=8"),
        (["num_chips=many"], "'many' is not a positive number", "num_chips>=8"),
        (["num_chips==many"], "num_chips==many: 'many' is not a positive number", "num_chips>=8"),
        (["num_chips>none"], "num_chips>none: 'none' is not a positive number", "num_chips>=8"),
        (["model>8"], "model holds no numbers", "model=8"),
        (["num_chips>100000"], "no published figure has num_chips>100000", "references"),
        (["model=="], "'model==' is not KEY=VALUE", "references"),
        (["--jsn"], "unrecognized arguments: --jsn", "references"),
        (["--json", "--csv"], "exclude each other", "leave one out"),
        (["--explain", ""], "'' is not the id of a published figure", "references"),
        (["--check", "nowhere.csv"], "nowhere.csv cannot be read", "--columns"),
        (["--check", ""], "an empty path names nothing", "references"),
        (["extra="], "an empty path names nothing", "references"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(arguments, problem, hint):
    with pytest.raises(UserError) as error:
        references.show(arguments)
    assert problem in error.value.problem
    assert hint in error.value.fix


def test_a_filter_that_nothing_fits_names_the_values_that_the_others_leave():
    with pytest.raises(UserError) as error:
        references.show(["model=vit_b16", "accelerator=V100", "image_size=224"])
    assert "accelerator: " in error.value.allowed
    accelerators = error.value.allowed.split("accelerator: ")[1].splitlines()[0].split(", ")
    assert set(accelerators) == {"A100", "H100", "RTX 3090"}


def test_listing_does_without_jax():
    program = (
        "import sys; from trainbench.cli import main; main(['references', 'model=resnet50']); "
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL).returncode == 0
