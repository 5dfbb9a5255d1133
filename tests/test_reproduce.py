"""`reproduce=ID`: from a published figure to a configuration, and from a result to an answer."""

from dataclasses import replace

import pytest

from tests.building import tree
from trainbench import config, models, reproduce, shipped
from trainbench.errors import UserError
from trainbench.hardware import chips
from trainbench.reference import figures, vocabulary
from trainbench.reference.differences import RunFacts
from trainbench.training.device import Devices
from trainbench.training.precision import Precision, check_supported

FIGURES = figures.load()
RESNET = "resnet-50-v1-5-a100-x1-fp16-amp-r224-pytorch"
BERT = "bert-large-a100-x1-fp16-amp-s512-pytorch"
TPU = "bert-large-tpu-v3-x32-bf16-s512-tensorflow"
VIT = "vit-b-16-a100-x8-bf16-r224-jax-flax"
GPT2 = "gpt-2-124m-a100-x8-na-s1024-llm-c"
CPU = Devices((), "cpu", "cpu", None)


def devices(kind):
    return Devices((), "tpu" if "TPU" in kind else "gpu", kind, chips.lookup(kind))


V100, A100 = devices("Tesla V100-SXM2-16GB"), devices("NVIDIA A100-SXM4-80GB")
TPU_V3 = devices("TPU v3")


@pytest.fixture(autouse=True)
def no_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)


def expanded(figure_id, *overrides, on=A100):
    found = reproduce.expand([f"reproduce={figure_id}", *overrides], on)
    return dict(override.split("=", 1) for override in found)


def can_run(figure):
    return not figure.missing()


def test_without_reproduce_nothing_is_added():
    assert reproduce.expand(["model=vit_tiny", "batch_size=4"]) == ["model=vit_tiny", "batch_size=4"]
    assert reproduce.expand(["reproduce=null"]) == ["reproduce=null"]


@pytest.mark.parametrize("quote", ["'", '"'])
def test_an_id_may_keep_its_quotes(quote):
    overrides = [f"reproduce={quote}{RESNET}{quote}", f"model={quote}resnet50{quote}"]
    added = [override for override in reproduce.expand(overrides, A100) if override not in overrides]
    assert "batch_size=256" in added
    assert config.parse(tree(*added, *overrides)).reproduce == RESNET


@pytest.mark.parametrize("nothing", ["", "''", '""'])
def test_an_empty_id_is_answered_with_where_ids_are_listed(nothing):
    with pytest.raises(UserError, match="names no figure") as caught:
        reproduce.expand([f"reproduce={nothing}"], A100)
    assert "references" in caught.value.fix


def test_a_resnet_row_becomes_its_own_configuration():
    assert expanded(RESNET) == {
        "reproduce": RESNET,
        "model": "resnet50",
        "precision": "bf16",
        "image_size": "224",
        "batch_size": "256",
        "data": "synthetic",
    }


def test_accumulation_optimizer_and_length_are_as_the_row_states_them():
    found = expanded(BERT, on=A100)
    assert found["gradient_accumulation"] == "128"
    assert found["batch_size"] == str(32 * 128)
    assert found["sequence_length"] == "512"
    assert found["optimizer"] == "lamb"
    assert found["model"] == "bert_large"


def test_gpt2_rows_can_be_run():
    found = expanded(GPT2, on=A100)
    assert (found["model"], found["sequence_length"], found["batch_size"]) == ("gpt2_124m", "1024", "64")


def test_the_batch_of_a_chip_is_divided_among_its_devices():
    assert figures.find(TPU).micro_batch_per_chip == 28
    assert expanded(TPU, on=TPU_V3)["batch_size"] == "14"
    assert expanded(TPU, on=A100)["batch_size"] == "28"


def test_on_a_cpu_the_step_is_one_that_it_can_bear():
    found = expanded(BERT, on=CPU)
    assert int(found["batch_size"]) < 32
    assert found["gradient_accumulation"] == "1"
    assert (found["steps"], found["warmup"]) == ("6", "1"), "BERT-Large takes seconds a sequence"
    assert "steps" not in expanded(RESNET, on=CPU)
    tf32 = next(figure for figure in FIGURES if figure.precision == "tf32" and can_run(figure))
    assert expanded(tf32.id, on=CPU)["precision"] == "fp32"
    assert expanded(tf32.id, on=A100)["precision"] == "tf32"


@pytest.mark.parametrize(
    ("figure_id", "stand_in", "name", "group"),
    [(VIT, "photos", "imagenet2012", "tfds"), (BERT, "kjv", "wikipedia/20230601.en", "tfds_text")],
)
def test_real_data_that_are_not_prepared_are_stood_in_for(tmp_path, figure_id, stand_in, name, group):
    assert expanded(figure_id)["data"] == stand_in
    (tmp_path / "sets" / name).mkdir(parents=True)
    assert expanded(figure_id, f"data.dir={tmp_path / 'sets'}")["data"] == group


@pytest.mark.parametrize(
    ("figure_id", "name", "group"),
    [(VIT, "food101", "tfds"), (RESNET, "food101", "tfds"), (BERT, "lm1b", "tfds_text")],
)
def test_a_data_set_that_is_named_has_no_stand_in(figure_id, name, group):
    found = expanded(figure_id, f"data.name={name}")
    assert found["data"] == group
    overrides = [f"{key}={value}" for key, value in found.items()]
    assert config.parse(tree(*overrides)).data.name == name


def test_what_the_user_says_wins():
    found = expanded(RESNET, "batch_size=8", "precision=fp32", on=CPU)
    assert (found["batch_size"], found["precision"]) == ("8", "fp32")
    assert expanded(VIT, "data=synthetic")["data"] == "synthetic"


def test_a_batch_of_all_devices_takes_the_place_of_the_published_one():
    found = expanded(RESNET, "global_batch_size=64")
    assert "batch_size" not in found
    assert "batch_size" in expanded(RESNET, "global_batch_size=null")


@pytest.mark.parametrize("figure", FIGURES, ids=[figure.id for figure in FIGURES])
def test_every_row_can_be_run_or_says_what_is_missing(figure):
    if figure.missing():
        assert all(figure.missing())
        with pytest.raises(UserError, match=r"not stated|not built|not trained|no rate"):
            expanded(figure.id)
    else:
        stated = reproduce.conditions(figure)
        assert stated["model"] in shipped.names("model")
        assert int(stated["batch_size"]) == figure.micro_batch_per_chip * figure.accumulation


def test_enough_rows_can_be_run_and_each_makes_a_valid_request():
    runnable = {tuple(reproduce.expand([f"reproduce={f.id}"], A100)[:-1]): f for f in FIGURES if can_run(f)}
    families = {figure.model.partition("_")[0] for figure in runnable.values()}
    assert {"resnet50", "vit", "bert", "gpt2"} <= families
    for overrides in runnable:
        config.parse(tree(*overrides))


def test_an_unknown_figure_names_the_nearest_ones():
    with pytest.raises(UserError, match="resnet-50-v1-5-a100-x1-fp16-amp-r224") as caught:
        expanded("resnet-50-v1-5-a100-x1-fp16-amp-r224")
    assert "pytorch" in caught.value.fix or "pytorch" in caught.value.allowed


def test_what_a_row_does_not_state_can_be_supplied():
    unsaid = replace(figures.find(RESNET), precision=None, per_device_batch=None, global_batch=None)
    assert set(unsaid.unstated()) == {"precision", "batch_size"}
    assert not unsaid.obstacles()


@pytest.mark.parametrize("override", ["model=vit_b16", "model=vit", "model=", "image_size=112"])
def test_another_workload_is_refused_with_what_is_fixed(override):
    with pytest.raises(UserError, match="was measured with") as caught:
        expanded(RESNET, override)
    assert caught.value.allowed.startswith("model=resnet50 image_size=224; ")


@pytest.mark.parametrize(("figure_id", "alias"), [(VIT, "vit"), (VIT, "vit_b16"), (GPT2, "gpt2")])
def test_an_alias_is_the_model_that_it_stands_for(figure_id, alias):
    assert expanded(figure_id, f"model={alias}")["model"] == alias


def facts(rate, **changes):
    ran = RunFacts(
        model="resnet50",
        task=vocabulary.IMAGE_CLASSIFICATION,
        image_size=224,
        sequence_length=None,
        precision="bf16",
        batch_size=256,
        optimizer="sgd",
        num_chips=1,
        samples_per_s_per_chip=rate,
        chip_id="a100-sxm4-80gb",
    )
    return replace(ran, **changes)


@pytest.mark.parametrize(
    ("deviation", "half_width", "verdict", "words"),
    [
        (0.0, 0.01, "reproduced", "within 1.0%"),
        (-0.075, 0.005, "reproduced", "within 8.0%"),
        (-0.2, 0.005, "not reproduced", "slower"),
        (0.25, 0.005, "not reproduced", "faster"),
        (-0.09, 0.03, "not judged", "crosses the limit"),
    ],
)
def test_the_verdict_holds_for_the_whole_interval(deviation, half_width, verdict, words):
    published = figures.find(RESNET).value_per_chip
    rate, half = published * (1 + deviation), published * half_width
    found = reproduce.judge(figures.find(RESNET), facts(rate), (rate - half, rate + half))
    assert found.verdict == verdict
    assert words in found.verdict_reason
    assert "open in its source: data" in found.verdict_reason or verdict == "not judged"
    assert found.deviation == pytest.approx(deviation)
    assert (found.measured, found.value) == (rate, published)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 16},
        {"precision": "fp32"},
        {"num_chips": 64},
        {"gradient_accumulation": 8, "batch_size": 8 * 256},
    ],
)
def test_under_other_conditions_a_figure_is_neither_reproduced_nor_not(changes):
    for rate in (1000.0, 2470.0):
        found = reproduce.judge(figures.find(RESNET), facts(rate, **changes), (rate - 1, rate + 1))
        assert found.verdict == "other conditions"


def test_a_figure_with_evaluation_in_its_time_is_not_judged_by_a_run_without():
    row = replace(figures.find(RESNET), includes_evaluation=True)
    assert reproduce.judge(row, facts(2470), (2460, 2480)).verdict == "other conditions"


def test_a_chip_without_bfloat16_is_told_so_before_anything_runs():
    row = "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch"
    with pytest.raises(UserError, match="no bfloat16 units"):
        expanded(row, on=V100)
    assert expanded(row, "precision=fp32", on=V100)["precision"] == "fp32"
    assert expanded("resnet-50-v1-5-v100-x1-fp32-r224-pytorch", on=V100)["precision"] == "fp32"


@pytest.mark.parametrize("machine", [CPU, V100, A100, TPU_V3], ids=["CPU", "V100", "A100", "TPU v3"])
def test_whatever_is_expanded_for_a_chip_is_supported_by_it(machine):
    for figure in FIGURES:
        if figure.missing():
            continue
        try:
            found = expanded(figure.id, on=machine)
        except UserError:
            continue
        check_supported(precision(found["precision"]), machine)


def precision(name):
    content = shipped.read("precision", name)
    return Precision.of(**content)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chip_id": None, "accelerator": "CPU"}, "a CPU"),
        ({"chip_id": "h100-sxm5-80gb"}, "h100-sxm5-80gb"),
        ({"chip_id": "a100-sxm4-40gb"}, "a100-sxm4-40gb"),
        ({"chip_id": None, "accelerator": "Radeon"}, "Radeon"),
    ],
)
def test_another_machine_gets_a_ratio_per_chip_and_no_verdict_on_the_figure(changes, words):
    found = reproduce.judge(figures.find(RESNET), facts(1235, **changes), (1230, 1240))
    assert found.verdict == "another machine"
    assert "0.5 x" in found.verdict_reason
    assert words in found.verdict_reason


def test_a_run_without_a_rate_or_of_another_model_is_not_judged():
    assert reproduce.judge(figures.find(RESNET), facts(None), None).verdict == "not judged"
    modified = facts(1200, model="resnet50 (modified: width)")
    assert reproduce.judge(figures.find(RESNET), modified, None).verdict == "not judged"


def test_remaining_differences_are_listed():
    found = reproduce.judge(figures.find(RESNET), facts(2470, batch_size=64), (2460, 2480))
    assert any("batch per chip: published 256, here 64" in text for text in found.differences)
    assert found.source.startswith("NVIDIA/DeepLearningExamples")


@pytest.mark.parametrize(("name", "listed"), [("photos", True), ("imagenet2012", False), (None, False)])
def test_a_stand_in_for_the_data_set_is_listed(name, listed):
    row = next(figure for figure in FIGURES if can_run(figure) and figure.dataset == "ImageNet-1k")
    ran = facts(100, model=row.model, data="real", dataset=name)
    found = reproduce.judge(replace(row, data="real"), ran, None)
    assert ("data set: published ImageNet-1k, here photos" in found.differences) == listed


def test_what_counts_as_runnable_is_what_is_built():
    assert set(vocabulary.TRAINED_TASKS) == {family.TASK for family in models.FAMILIES.values()}
    classes = {vocabulary.PRECISION_CLASSES[precision] for precision in reproduce.PRECISIONS}
    assert classes == set(vocabulary.TRAINED_PRECISION_CLASSES)
    assert set(reproduce.PRECISIONS.values()) <= set(shipped.names("precision"))
