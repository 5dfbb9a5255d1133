"""Whole runs, from the command line to the record and the summary."""

import functools

import pytest

from tests import commands
from tests.building import SHALLOW
from tests.commands import FAST, result_of


@pytest.fixture
def run(cache, tmp_path):
    return functools.partial(commands.run, cache, tmp_path)


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
    done = run(*SHALLOW["bert_tiny"], "batch_size=4", "precision=fp32", *FAST, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    record = result_of(tmp_path / "out")
    assert record["throughput"]["tokens_per_s"] == pytest.approx(record["throughput"]["samples_per_s"] * 64)
    assert "sequences/s" in done.stdout
    assert "tokens/s" in done.stdout


def test_host_fed_and_several_steps_per_call(run, tmp_path):
    done = run(
        *(*SHALLOW["vit_tiny"], "batch_size=4", "input=host", "steps_per_call=2", "steps=12", "warmup=2"),
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
        module=commands.BRIEF,
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
    arguments = (*SHALLOW["vit_tiny"], "batch_size=5", *FAST)
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


def test_an_ascii_terminal_gets_question_marks_instead_of_a_traceback(run):
    arguments = ("model=resnet_tiny", "batch_size=8", *FAST)
    done = run(*arguments, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout
    assert "?" in done.stdout
    assert "Traceback" not in done.stderr


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
    arguments = ("batch_size=4", "optimizer.learning_rate=1e30", *FAST, "hydra.run.dir=out")
    done = run(*SHALLOW["vit_tiny"], *arguments)
    assert done.returncode == 1, done.stderr
    record = result_of(tmp_path / "out")
    assert record["status"] == "invalid"
    assert record["loss"]["finite"] is False
    assert "learning_rate" in record["status_reason"]
    assert "INVALID" in done.stdout


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
