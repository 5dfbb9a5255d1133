"""`rerun`: the overrides that a record stands for, and the comparison that follows."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.results import examples
from tests.results.comparing import changed, timed, written
from trainbench import cli, config, shipped
from trainbench.errors import UserError
from trainbench.processes.child import Outcome
from trainbench.recompose import compose, overrides
from trainbench.recompose import written as as_value
from trainbench.results.compare_pairs import flattened
from trainbench.results.record import Lever
from trainbench.results.store import read
from trainbench.verbs import rerun

OLDER = sorted((Path(__file__).parents[2] / "results").glob("*/*.json"))


def again(tree):
    """The configuration that the overrides of this one compose."""
    return compose(overrides(dict(flattened(tree))))


@pytest.mark.parametrize("model", shipped.names("model"))
def test_every_shipped_model_composes_again(model):
    tree = compose([f"model={model}"])
    assert again(tree) == tree


@pytest.mark.parametrize(
    "choice",
    [f"{group}={name}" for group in shipped.GROUPS if group != "model" for name in shipped.names(group)],
)
def test_every_other_shipped_choice_composes_again(choice):
    tree = compose([choice])
    assert again(tree) == tree
    assert choice in overrides(dict(flattened(tree)))


@pytest.mark.parametrize(
    "asked",
    [
        ["batch_size=64", "steps=12", "warmup=0", "seed=7", "image_size=160", "price_per_hour=2.5"],
        [
            "model=resnet50",
            "model.architecture.depths=[1,1,1,1]",
            "model.architecture.zero_init_residual=true",
        ],
        ["model=resnet50", "optimizer=lars", "optimizer.learning_rate=1e-05", "optimizer.nesterov=false"],
        [
            "data=tfds",
            "data.name=food101",
            "data.mean=[0.5,0.5,0.5]",
            "data.held_out=validation",
            "data.flip=false",
        ],
        ["data=tfds_text", "data.name=lm1b", "data.split='train[:10%]'", "model=bert_tiny"],
        ["data=digits", 'data.dir="/a b/it\'s, here\\\\now"', "data.held_out=null", "data.workers=0"],
        ["measure=quick", "measure.blocks=20", "reference.extra='null'"],
        [
            "reproduce=resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch",
            "gradient_accumulation=1",
            "steps_per_call=4",
        ],
    ],
)
def test_other_values_compose_again(asked):
    tree = compose(asked)
    assert tree != compose([])
    assert again(tree) == tree


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.lists(TEXT, min_size=10, max_size=40))
def test_any_text_composes_again(texts):
    assert compose(["data=digits", f"data.dir={as_value(texts)}"])["data"]["dir"] == texts


def test_text_that_looks_like_something_else_stays_text():
    texts = [
        "${now:%Y}",
        "\\${x}",
        "\\\\${x}",
        "a${b",
        "it's",
        "end\\",
        "\\'",
        "true",
        "NULL",
        "1e5",
        "[a,b]",
        "a=b",
        "",
    ]
    for one in (texts, texts[0], texts[-1], "null", "A¹"):
        assert compose(["data=digits", f"data.dir={as_value(one)}"])["data"]["dir"] == one


def test_a_reproduced_figure_has_every_condition_given_so_that_none_is_filled_in():
    tree = compose(["reproduce=some-id"])
    given_keys = {text.partition("=")[0] for text in overrides(dict(flattened(tree)))}
    assert {"gradient_accumulation", "image_size", "batch_size", "input", *shipped.GROUPS} <= given_keys


@pytest.mark.parametrize("key", ["no_such_key", "model.architecture.wings"])
def test_a_key_of_another_version_is_named(key):
    leaves = dict(flattened(compose([]))) | {key: 1}
    with pytest.raises(UserError, match=r"no_such_key|no model"):
        overrides(leaves)


def result_of(*asked, **fields):
    """A record of a run with these overrides, which ran 2 workers, 40 steps and 64 samples a step."""
    chosen = {"batch_size": 64, "steps": 40, "warmup": 5, "input": "real", "data.workers": 2}
    autos = {name: {"value": value, "reason": "chosen"} for name, value in chosen.items()}
    return timed(0.1, seed=1, config=compose(asked), autos=autos, workload={"batch_size": 64}, **fields)


def test_what_was_chosen_is_given_and_what_was_given_stays():
    command = rerun.command(result_of("model=vit_tiny", "data=digits", "steps=80"))
    assert {"batch_size=64", "steps=80", "warmup=5", "input=real", "data.workers=2"} <= set(command)
    assert "data.threads=default" not in " ".join(command)


def test_levers_that_were_left_open_are_given_as_they_ran():
    found = {
        "attention": Lever(value="xla", reason="there are no kernels for a CPU"),
        "remat": Lever(value="none"),
    }
    command = rerun.command(result_of("model=vit_tiny", "layers=scanned", levers=found))
    assert {"attention=xla", "layers=scanned"} <= set(command)
    assert "remat" not in keys_of(command)


def test_changes_take_the_place_of_what_they_name():
    command = rerun.command(result_of("model=vit_tiny", "data=digits"), ["batch_size=8", "data=synthetic"])
    assert [text for text in command if text.startswith(("batch_size", "data"))] == [
        "batch_size=8",
        "data=synthetic",
    ]


def test_where_processes_were_and_what_they_saved_is_left_out():
    asked = [
        "model=vit_tiny",
        "data=digits",
        "distributed.coordinator='10.0.0.1:99'",
        "distributed.process_id=0",
    ]
    asked += ["distributed.num_processes=2", "timeout_s=60", "checkpoint.every=10", "checkpoint.dir=there"]
    assert not {"distributed", "checkpoint", "timeout_s"} & set(keys_of(rerun.command(result_of(*asked))))
    timed_saves = rerun.command(result_of(*asked, "checkpoint.timed=true"))
    assert [text for text in timed_saves if text.startswith("checkpoint")] == [
        "checkpoint.every=10",
        "checkpoint.timed=true",
    ]


def keys_of(command):
    return [text.partition("=")[0].partition(".")[0] for text in command]


def test_a_batch_of_all_devices_is_asked_for_again_alone():
    found = result_of("model=vit_tiny", "data=digits", "global_batch_size=512")
    autos = {name: auto for name, auto in found.autos.items() if name != "batch_size"}
    command = rerun.command(changed(found, autos=autos))
    assert "global_batch_size=512" in command
    assert "batch_size" not in keys_of(command)
    config.parse(compose(command))


@pytest.mark.parametrize("file", OLDER, ids=lambda file: file.stem)
def test_results_of_older_versions_compose_as_the_defaults_since_then(file):
    command = rerun.command(read(file))
    assert f"model={read(file).config['model']['name']}" in command
    assert "parallel" not in keys_of(command)
    is_resnet = read(file).config["model"]["family"] == "resnet"
    ran = {"convolution=convolution", "batch_statistics=one_pass"} if is_resnet else {"attention=xla"}
    assert ran <= set(command), "levers that it did not have yet"
    config.parse(compose(command))


def test_a_run_of_several_processes_says_that_there_is_one_now(tmp_path, fake, capsys):
    several = result_of("model=vit_tiny", "data=digits", hardware={"process_count": 2})
    file = written(tmp_path / "then", [several]) / "run-1-0.1"
    fake(Outcome(0, new(0.1)))
    cli.main(["rerun", str(file), f"hydra.run.dir={tmp_path / 'again'}"])
    assert "difference: processes 2 → 1" in capsys.readouterr().err


@pytest.fixture
def file(tmp_path):
    return written(tmp_path / "then", [result_of("model=vit_tiny", "data=digits")]) / "run-1-0.1"


@pytest.fixture
def fake(monkeypatch):
    """Stands in for child.run: its calls, and what it is to answer."""
    calls = []

    def install(outcome):
        def run(overrides, directory, lock=None):
            calls.append((list(overrides), directory))
            return outcome

        monkeypatch.setattr("trainbench.processes.child.run", run)
        return calls

    return install


def new(step_s, **fields):
    return changed(
        result_of("model=vit_tiny", "data=digits"), id="new", timing=timed(step_s, seed=5).timing, **fields
    )


def test_a_rerun_says_what_differs_runs_compares_and_returns_the_verdict(file, fake, tmp_path, capsys):
    calls = fake(Outcome(0, new(0.12)))
    assert cli.main(["rerun", str(file), f"hydra.run.dir={tmp_path / 'again'}"]) == 1
    ((given_overrides, directory),) = calls
    assert directory == tmp_path / "again"
    assert "steps=40" in given_overrides
    assert not any(text.startswith("hydra.run.dir") for text in given_overrides)
    shown = capsys.readouterr()
    assert "difference: python 3.11.9 →" in shown.err
    assert "slower" in shown.out
    fake(Outcome(0, new(0.1)))
    assert cli.main(["rerun", str(file), f"hydra.run.dir={tmp_path / 'again'}"]) == 0


def test_a_change_of_the_work_is_compared_all_the_same(file, fake, tmp_path, capsys):
    fake(Outcome(0, new(0.1, workload={"precision": "fp32"})))
    assert cli.main(["rerun", str(file), "precision=fp32", f"hydra.run.dir={tmp_path / 'again'}"]) == 0
    assert "precision bf16 → fp32" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(-9, None, "the process ended with code -9 and left no result"), 1),
        (Outcome(2, None, "not run"), 2),
        (Outcome(130, None, "stopped"), 130),
    ],
)
def test_a_rerun_without_a_result_has_the_code_of_its_reason(file, fake, tmp_path, outcome, code):
    fake(outcome)
    assert cli.main(["rerun", str(file), f"hydra.run.dir={tmp_path / 'again'}"]) == code


def test_print_only_prints_a_command_that_the_shell_reads_back(file, fake, capsys):
    calls = fake(Outcome(0, None))
    assert cli.main(["rerun", "--print", str(file), "data.split=train[:10%]"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:3] == ["python", "-m", "trainbench"]
    assert words[3:] == rerun.command(read(file), ["data.split=train[:10%]"])
    assert calls == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema_version": 1', "is damaged or not a result"),
        (examples.failed_early().model_dump_json(), "does not say how it was configured"),
        (changed(examples.ok_gpu(), kind="forecast").model_dump_json(), "is a forecast"),
        (changed(examples.failed_early(), kind="probe").model_dump_json(), "is a probe"),
    ],
)
def test_what_describes_no_run_is_refused(tmp_path, content, words, capsys):
    path = tmp_path / "result.json"
    path.write_text(content)
    assert cli.main(["rerun", str(path)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["--fast", "x"]])
def test_mistakes_are_answered_with_code_2(arguments, capsys):
    assert cli.main(["rerun", *arguments]) == 2


def test_only_the_result_is_required(capsys):
    assert cli.main(["rerun"]) == 2
    assert "rerun needs a result" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["bach=3", "batch_size=0"])
def test_a_mistake_in_a_change_is_told_before_anything_else(file, fake, change, capsys):
    calls = fake(Outcome(0, None))
    assert cli.main(["rerun", str(file), change]) == 2
    assert "again:" not in capsys.readouterr().err
    assert calls == []


def test_a_directory_of_results_is_answered_with_some_of_them(file, capsys):
    assert cli.main(["rerun", str(file.parent)]) == 2
    shown = "".join(capsys.readouterr().err.split())
    assert f"rerun{file / 'result.json'}" in shown


def test_a_path_that_is_too_long_is_a_mistake_like_others(file, capsys):
    assert cli.main(["rerun", "x" * 300]) == 2
    assert cli.main(["rerun", str(file), f"hydra.run.dir={'x' * 300}"]) == 2
    assert "File name too long" in " ".join(capsys.readouterr().err.split())
