"""What one can type: mistakes, help, options; in a process of its own where the process matters."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import trainbench
from tests import commands
from trainbench import cli, config, shipped
from trainbench.errors import ExitCode


@pytest.fixture
def run(cache, tmp_path):
    return functools.partial(commands.run, cache, tmp_path)


@pytest.fixture
def command_line(monkeypatch, tmp_path, capsys):
    """The command line in this process, for what ends before a benchmark starts: (code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def call(*arguments):
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return call


MISTAKES = [
    (["model=resnet5"], ["model=resnet5", "resnet50"]),
    (["precision=bf8"], ["precision=bf8", "bf16"]),
    (["batchsize=8"], ["batchsize", "batch_size"]),
    (["batch_size=0"], ["batch_size=0", "positive integer"]),
    (["model=vit_b16", "image_size=225"], ["225", "224"]),
    (["steps=5", "warmup=10"], ["steps=5", "warmup=10"]),
    (["rnu"], ["rnu", "run"]),
    (["model=[resnet50"], ["model=[resnet50"]),
    (["+nonsense=1"], ["nonsense"]),
    (["~model"], ["model is missing"]),
    (["model=null"], ["model=null is not known", "resnet50"]),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes_end_on_one_clear_screen(command_line, tmp_path, arguments, said):
    code, output, errors = command_line(*arguments)
    assert code == 2
    for words in said:
        assert words in errors
    assert output == ""
    assert len(errors.splitlines()) <= 12
    assert not list(tmp_path.rglob("result.json"))


# One that Hydra finds, and one that the device decides.
@pytest.mark.parametrize(
    ("mistake", "said"), [("model=resnet5", "model=resnet50"), ("precision=tf32", "precision=fp32")]
)
def test_a_mistake_ends_the_process_without_a_traceback(run, tmp_path, mistake, said):
    done = run(mistake)
    assert (done.returncode, done.stdout) == (2, "")
    assert mistake in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 12
    assert not list(tmp_path.rglob("result.json"))


QUICK_MISTAKES = [
    (["optimizer=null"], ["optimizer=null is not known", "adamw"]),
    (["optimizer=3"], ["optimizer=3 is not known", "adamw"]),
    (["model=3"], ["model=3 is not known", "resnet50"]),
    (["optimizer.b1=0.9"], ["optimizer.b1 is not a known key", "optimizer.momentum", "-p optimizer"]),
    (["optimizer.momentun=0.9"], ["did you mean optimizer.momentum?"]),
    (["optimzer.momentum=0.9"], ["did you mean optimizer.momentum?"]),
    (["batch_size=${foo}"], ["'foo' not found"]),
    (["seed=1,2"], ["seed=1,2 names several values", "-m seed=1,2"]),
    (["--multirun", "--cfg", "job"], ["--multirun, --cfg"]),
    (["--resolve"], ["--resolve"]),
    (["--cfg", "jbo"], ["jbo"]),
    (["--mutlirun", "seed=1"], ["--mutlirun is not an option", "did you mean --multirun?"]),
    (["-z"], ["-z is not an option", "--cfg"]),
    (["--config-dir", "nowhere"], ["nowhere"]),
    (["--package"], ["expected one argument"]),
    (["helps"], ["'helps' is neither a verb"]),
    (["seed=é"], ["cannot read the override 'seed=é'", """fix:     'seed="é"'"""]),
    (["seed=a'b"], ["cannot read the override", "python -m trainbench"]),
    (["seed=1\n2"], ["cannot read the override 'seed=1\\n2'", "python -m trainbench"]),
    (["model=\x1b[31mred"], ["cannot read the override 'model=\\x1b[31mred'", "python -m trainbench"]),
    (["réseau=1"], ["cannot read the override 'réseau=1'", "python -m trainbench"]),
    (["model=vit_tiny", "=x"], ["cannot read the override '=x'", "KEY=VALUE"]),
    (["reproduce="], ["reproduce= names no figure", "references"]),
    (["reproduce=nothing"], ["'nothing' is not the id of a published figure", "references"]),
    (["model="], ["model= is not known", "resnet50"]),
    (["references", "--check", "/dev/null"], ["/dev/null is empty", "--columns"]),
    (["references", "--extra", "/"], ["/ cannot be read", "--columns"]),
]


@pytest.mark.parametrize(("arguments", "said"), QUICK_MISTAKES)
def test_mistakes_found_while_composing(command_line, arguments, said):
    code, output, errors = command_line(*arguments)
    assert code == 2
    for words in (*said, "fix:"):
        assert words in errors
    assert output == ""
    assert len(errors.splitlines()) <= 6


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["model=vit", "--help"], ["run", "-h"]])
def test_help_names_everything_that_can_be_typed(command_line, arguments):
    code, output, _ = command_line(*arguments)
    assert code == 0
    words = set(re.findall(r"[\w.]+", output))
    parts = {"reference": "extra", "checkpoint": "KEY", "distributed": "KEY"}
    keys = {f"{key}.{parts[key]}" if key in parts else key for key in config.KEYS}
    expected = {*keys, *config.INPUTS, *cli.VERBS, *(str(int(code)) for code in ExitCode)}
    expected |= {name for group in shipped.GROUPS for name in shipped.names(group)}
    assert expected <= words
    assert max(map(len, output.splitlines())) <= 100
    assert "hydra is" not in output.lower()


def test_version(command_line):
    assert command_line("--version") == (0, f"trainbench {trainbench.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--cfg", "job"], "name: resnet50"),
        (["model=vit", "--cfg=job", "seed=7"], "seed: 7"),
        (["-c", "job", "-p", "optimizer"], "learning_rate: 0.1"),
        (["--cfg", "job", "--resolve"], "name: resnet50"),
        (["--config-dir", "mine", "measure=short", "--cfg", "job"], "steps: 7"),
    ],
)
def test_hydras_own_options_work_and_mix_with_overrides(command_line, tmp_path, arguments, shown):
    (tmp_path / "mine" / "measure").mkdir(parents=True)
    (tmp_path / "mine" / "measure" / "short.yaml").write_text("name: short\nsteps: 7\n")
    code, output, _ = command_line(*arguments)
    assert code == 0
    assert shown in output


@pytest.mark.parametrize("key", ["price", "price_per_hour"])
def test_a_price_may_be_given_in_short(command_line, key):
    code, output, _ = command_line(f"{key}=2.5", "--cfg", "job")
    assert code == 0
    assert "price_per_hour: 2.5" in output


@pytest.mark.parametrize("prices", [["price=1", "price_per_hour=2"], ["price_per_hour=2", "price=1"]])
def test_a_price_that_is_given_twice_is_refused(command_line, prices):
    code, output, errors = command_line("model=vit_tiny", *prices)
    assert code == 2
    assert "price and price_per_hour are one key" in errors
    assert not output


def test_hydras_info_works(run):
    done = run("--info", "defaults")  # in a process of its own, since it changes the root logger
    assert done.returncode == 0
    assert "optimizer/sgd" in done.stdout


def test_ctrl_c_during_the_imports_ends_quietly(run):
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'trainbench.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from trainbench.__main__ import main; main()\n"
    )
    done = run(module=("-c", program))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_reading_is_no_error(cache, tmp_path, unbuffered):
    command = [sys.executable, "-m", "trainbench", "--cfg", "job"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        process = subprocess.run(
            command,
            cwd=tmp_path,
            env=commands.environment(cache) | {"PYTHONUNBUFFERED": unbuffered},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert process.stderr == ""
    assert process.returncode == (141 if unbuffered else 0)


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_backend_that_is_not_there_is_one_clear_screen(run, platform):
    done = run("model=vit_tiny", JAX_PLATFORMS=platform)
    assert done.returncode == 2
    assert f"JAX_PLATFORMS={platform!r}" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_configurations_are_found_from_anywhere_and_shown(command_line):
    code, output, _ = command_line("--cfg", "job", "model=vit")
    assert code == 0
    assert "vit_b16" in output


def test_the_console_script_is_the_module(run):
    script = Path(sys.executable).with_name("trainbench")
    if not script.exists():
        pytest.skip("trainbench is not installed in this environment")
    done = subprocess.run([script, "rnu"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == run("rnu").stderr


def test_a_slice_without_quotes_is_told_how_to_quote_it(command_line):
    code, _, errors = command_line("data=digits", "data.split=train[:10%]")
    assert code == 2
    assert """'data.split="train[:10%]"'""" in errors
    code, output, _ = command_line("data=digits", 'data.split="train[:10%]"', "--cfg", "job")
    assert code == 0
    assert "split: train[:10%]" in output


def test_a_configuration_directory_that_is_not_there_is_named(command_line):
    code, _, errors = command_line("--config-dir", "/nosuch", "model=resnet_tiny")
    assert code == 2
    assert "--config-dir /nosuch is not a directory" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce=nosuch"], "is not the id of a published figure"),
        (["reproduce=gpt-2-13b-tpu-v3-x256-na-jax"], "is not built here"),
        (["reproduce=vit-ti-16-rtx-3090-x1-fp16-amp-r224-pytorch", "model=vit_b16"], "was measured with"),
        (["reproduce=vit-ti-16-rtx-3090-x1-fp16-amp-r224-pytorch", "reference.extra=no.csv"], "no.csv"),
        (["reproduce=[1,2]"], "is not the id"),
        (["reproduce="], "python -m trainbench references"),
        (["reproduce=''"], "reproduce= names no figure"),
        (["model=vit_tiny", "price_per_hour=free"], "price_per_hour=free"),
        (["model=vit_tiny", "price=0"], "price_per_hour=0"),
    ],
)
def test_mistakes_about_published_figures_are_one_screen(command_line, arguments, words):
    code, output, errors = command_line(*arguments)
    assert code == 2
    assert words in errors
    assert len(errors.splitlines()) <= 10
    assert not output
