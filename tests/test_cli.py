"""The real command line, in processes of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest

import trainbench
from trainbench import cli, config, shipped
from trainbench.errors import ExitCode
from trainbench.results.record import schema

FAST = ["measure=quick", "steps=6", "warmup=1"]


@pytest.fixture(scope="module")
def environment(cache):
    """A user's environment with a cache of its own, one CPU device, and no colours."""
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return kept | {"TRAINBENCH_CACHE": str(cache), "PYTHONWARNINGS": "default"}


@contextmanager
def running_until(words, arguments, environment, directory):
    """A run whose progress has come to a line with these words; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainbench", *arguments, "hydra.run.dir=out"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            for line in process.stderr:
                if words in line:
                    break
            yield process
        finally:
            process.kill()


@pytest.fixture
def run(environment, tmp_path):
    def run_command_line(*arguments, module=("-m", "trainbench"), **extra):
        return subprocess.run(
            [sys.executable, *module, *arguments],
            cwd=tmp_path,
            env=environment | extra,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run_command_line


def result_of(directory):
    record = json.loads((directory / "result.json").read_text())
    jsonschema.validate(record, schema())
    return record


def test_a_run_measures_reports_and_records(run, tmp_path):
    done = run("model=resnet_tiny", "batch_size=8", *FAST)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("outputs/*/*/result.json")
    record = result_of(path.parent)
    assert record["status"] == "ok"
    assert record["workload"]["global_batch_size"] == 8
    assert record["timing"]["timed_steps"] == 6
    assert len(record["timing"]["block_s"]) == 6
    median = record["timing"]["step_time_s"]["median"]
    assert record["throughput"]["samples_per_s"] == pytest.approx(8 / median)
    low, high = record["throughput"]["samples_per_s_ci95"]
    assert low < record["throughput"]["samples_per_s"] < high
    assert record["compile"]["donated"] is True
    assert record["timing"]["compilations_in_window"] == 0
    assert record["timing"]["implicit_transfers_in_window"] == 0
    assert record["utilization"]["mfu"] is None
    assert any(line.startswith("mfu:") for line in record["warnings"])
    assert record["memory"]["peak_bytes_compiled"] > 0
    assert record["config"]["batch_size"] == 8
    assert record["software"]["jax"]
    shown = done.stdout.splitlines()
    assert 5 <= sum(not line.startswith(("auto:", "warning:")) for line in shown) <= 10
    assert "images/s" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert any(line.startswith("auto: input = resident") for line in shown)


def test_text_models_report_sequences_and_tokens(run, tmp_path):
    done = run("model=bert_tiny", "batch_size=4", "precision=fp32", *FAST, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert record["throughput"]["tokens_per_s"] == pytest.approx(record["throughput"]["samples_per_s"] * 64)
    assert "sequences/s" in done.stdout
    assert "tokens/s" in done.stdout


def test_host_fed_and_several_steps_per_call(run, tmp_path):
    done = run(
        *("model=vit_tiny", "batch_size=4", "input=host", "steps_per_call=2", "steps=12", "warmup=2"),
        *("measure=quick", "trace=3", "hydra.run.dir=out"),
    )
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert record["input"]["mode"] == "host"
    assert 0 <= record["input"]["stall_fraction"] <= 1
    assert record["timing"]["steps_per_call"] == 2
    assert record["timing"]["timed_steps"] == 12
    # The trace comes after all that, in whole calls.
    trace = record["trace"]
    assert trace["steps"] == 4
    assert 0 < trace["device_busy_fraction"] <= 1
    assert trace["operations"][0]["category"] is not None
    assert any("jvp" in (each["origin"] or "") for each in trace["operations"])
    assert list((tmp_path / "out" / trace["path"]).glob("plugins/profile/*/*.xplane.pb"))
    assert "device busy" in done.stdout


def test_accumulation_with_several_steps_per_call(run, tmp_path):
    done = run(
        *("model=vit_tiny", "input=host", "gradient_accumulation=3", "steps_per_call=2", "batch_size=12"),
        *(*FAST, "hydra.run.dir=out"),
    )
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    work = record["workload"]
    assert (work["batch_size"], work["gradient_accumulation"], work["global_batch_size"]) == (12, 3, 12)
    assert record["timing"]["timed_steps"] == 6
    assert record["timing"]["compilations_in_window"] == 0
    assert record["timing"]["implicit_transfers_in_window"] == 0
    assert record["compile"]["donated"] is True
    per_sample = record["compile"]["program_flops"] / 12
    assert per_sample == pytest.approx(work["flops_per_sample"], rel=0.02)
    assert "12 per device in 3 micro-batches of 4, 12 global" in done.stdout


def test_the_second_run_finds_its_program_in_the_cache(run, tmp_path):
    arguments = ("model=vit_tiny", "batch_size=5", *FAST)
    first, second = (run(*arguments, f"hydra.run.dir={name}") for name in ("first", "second"))
    assert (first.returncode, second.returncode) == (0, 0)
    assert result_of(tmp_path / "first")["compile"]["cache"] == "miss"
    assert result_of(tmp_path / "second")["compile"]["cache"] == "hit"


def test_real_digits_are_learned(run, tmp_path):
    done = run("model=vit_tiny", "data=digits", "steps=400", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert record["evaluation"]["samples"] == 297
    assert record["evaluation"]["value"] > 0.9
    assert record["loss"]["last"] < 0.2 < record["loss"]["first"]
    assert record["input"]["mode"] == "real"
    assert "held-out" in done.stdout


MISTAKES = [
    (["model=resnet5"], ["model=resnet5", "resnet50"]),
    (["precision=bf8"], ["precision=bf8", "bf16"]),
    (["batchsize=8"], ["batchsize", "batch_size"]),
    (["batch_size=0"], ["batch_size=0", "positive integer"]),
    (["model=vit_b16", "image_size=225"], ["225", "224"]),
    (["steps=5", "warmup=10"], ["steps=5", "warmup=10"]),
    (["precision=tf32"], ["tf32", "precision=fp32"]),
    (["rnu"], ["rnu", "run"]),
    (["model=[resnet50"], ["model=[resnet50"]),
    (["+nonsense=1"], ["nonsense"]),
    (["~model"], ["model is missing"]),
    (["model=null"], ["model=null is not known", "resnet50"]),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes_end_on_one_clear_screen(run, tmp_path, arguments, said):
    done = run(*arguments)
    assert done.returncode == 2
    for words in said:
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 12
    assert not list(tmp_path.rglob("result.json"))


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
    keys = {"reference.extra" if key == "reference" else key for key in config.KEYS}
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


def test_an_ascii_terminal_gets_question_marks_instead_of_a_traceback(run):
    arguments = ("model=resnet_tiny", "batch_size=8", *FAST)
    done = run(*arguments, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout
    assert "?" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_reading_is_no_error(environment, tmp_path, unbuffered):
    command = [sys.executable, "-m", "trainbench", "--cfg", "job"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        process = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment | {"PYTHONUNBUFFERED": unbuffered},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert process.stderr == ""
    assert process.returncode == (141 if unbuffered else 0)


def test_an_unwritable_directory_is_found_before_anything_runs(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run("model=resnet_tiny", "hydra.run.dir=file/below")
    assert done.returncode == 2
    assert "hydra.run.dir" in done.stderr
    assert "Traceback" not in done.stderr
    assert "compiling" not in done.stderr


@pytest.mark.parametrize("batch_size", [50_000_000, 2_000_000])
def test_out_of_memory_is_a_result(run, tmp_path, batch_size):
    done = run("model=resnet_tiny", f"batch_size={batch_size}", *FAST, "hydra.run.dir=out")
    assert done.returncode == 3, done.stderr
    record = result_of(tmp_path / "out")
    assert record["status"] == "oom"
    assert "GiB" in record["status_reason"]
    assert record["workload"]["batch_size"] == batch_size
    assert record["throughput"] is None
    assert "OUT OF MEMORY" in done.stdout


def test_a_loss_that_is_not_finite_makes_the_result_invalid(run, tmp_path):
    done = run("model=vit_tiny", "batch_size=4", "optimizer.learning_rate=1e30", *FAST, "hydra.run.dir=out")
    assert done.returncode == 1, done.stderr
    record = result_of(tmp_path / "out")
    assert record["status"] == "invalid"
    assert record["loss"]["finite"] is False
    assert "learning_rate" in record["status_reason"]
    assert "INVALID" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "when"),
    [
        (["model=resnet101", "image_size=160"], "compiling"),
        (["model=resnet_tiny", "batch_size=8", "steps=100000", "warmup=1"], "warm-up"),
        (["model=resnet_tiny", "batch_size=8", "steps=20000", "warmup=1"], "measuring block"),
    ],
)
def test_ctrl_c_saves_what_there_is(environment, tmp_path, arguments, when):
    with running_until(when, arguments, environment, tmp_path) as process:
        time.sleep(0.5)
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert time.monotonic() - asked < 30
    assert process.returncode == 130, errors
    record = result_of(tmp_path / "out")
    assert record["status"] == "interrupted"
    assert "INTERRUPTED" in output
    assert (record["throughput"] is not None) == (when == "measuring block"), "whole blocks are kept"
    assert "Traceback" not in errors


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_backend_that_is_not_there_is_one_clear_screen(run, platform):
    done = run("model=vit_tiny", JAX_PLATFORMS=platform)
    assert done.returncode == 2
    assert f"JAX_PLATFORMS={platform!r}" in done.stderr
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


def test_configurations_are_found_from_anywhere_and_shown(run):
    done = run("--cfg", "job", "model=vit")
    assert done.returncode == 0
    assert "vit_b16" in done.stdout


def test_the_console_script_is_the_module(run):
    script = Path(sys.executable).with_name("trainbench")
    if not script.exists():
        pytest.skip("trainbench is not installed in this environment")
    done = subprocess.run([script, "rnu"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == run("rnu").stderr


def test_ctrl_c_keeps_the_ways_of_feeding_that_were_measured(environment, tmp_path):
    arguments = ["model=resnet_tiny", "data=digits", "batch_size=8", "input=all", "steps=100", "warmup=1"]
    with running_until("warm-up (real input)", arguments, environment, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    record = result_of(tmp_path / "out")
    assert record["status"] == "interrupted"
    assert {"resident", "host"} <= set(record["input"]["rates"])
    assert "by input" in output
    assert "Traceback" not in errors


def test_termination_saves_what_there_is_like_ctrl_c(environment, tmp_path):
    arguments = ["model=resnet_tiny", "batch_size=8", "steps=20000", "warmup=1"]
    with running_until("measuring block", arguments, environment, tmp_path) as process:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors + (tmp_path / "out/result.json").read_text()
    assert result_of(tmp_path / "out")["throughput"] is not None


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


def test_a_published_figure_is_run_again_and_answered(run, tmp_path):
    figure = "vit-ti-16-rtx-3090-x1-fp16-amp-r224-pytorch"
    done = run(
        f"reproduce={figure}", "batch_size=1", "measure=quick", "steps=2", "warmup=1", "hydra.run.dir=out"
    )
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert record["config"]["reproduce"] == figure
    assert record["workload"]["model"] == "vit_ti16"
    answer = record["reproduction"]
    assert (answer["reference_id"], answer["verdict"]) == (figure, "another machine")
    assert answer["deviation"] == pytest.approx(answer["measured"] / 2299.56 - 1, rel=1e-3)
    assert any("batch per chip: published 512, here 1" in text for text in answer["differences"])
    assert "reproduce    another machine" in done.stdout
    assert (tmp_path / "out/published.svg").exists()


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
