import subprocess
import sys
from pathlib import Path

import pytest

from tests.results import examples
from trainbench.errors import UserError
from trainbench.reference import economy, figures
from trainbench.report.console import autos, error_screen, summary, warnings
from trainbench.results.record import (
    Comparison,
    Cost,
    Evaluation,
    Framework,
    Input,
    Lever,
    Loss,
    Rate,
    Result,
)

FILE = Path("outputs/run/result.json")


def line(lines: list[str], label: str) -> str:
    """The one line with this label, its runs of blanks made single."""
    found = [" ".join(text.split()) for text in lines if text.startswith(f"{label} ")]
    assert len(found) == 1, f"{len(found)} lines are labelled {label!r} in {lines}"
    return found[0]


def labels(lines: list[str]) -> list[str]:
    return [text.split()[0] for text in lines]


def changed(result: Result, **fields: object) -> Result:
    return Result.model_validate(dict(result) | fields)


def test_summary_of_a_measurement_on_a_gpu():
    lines = summary(examples.ok_gpu(), FILE)
    assert (
        line(lines, "ran")
        == "ran resnet50 · bf16 · 25.6 M parameters · 224 px · sgd · synthetic data (resident)"
    )
    assert (
        line(lines, "on")
        == "on 1 x NVIDIA H100 80GB HBM3 · batch 256 per device, 256 global · 30 timed steps"
    )
    throughput = "throughput 2,791 images/s ± 0.4 % (95 % interval) · 2,791 images/s per chip"
    assert line(lines, "throughput") == throughput
    assert "91.7 ms median · 91.5 ms to 92.1 ms" in line(lines, "step time")
    assert "MFU 6.9 % (HFU 7.1 %, 68.4 TFLOP/s per chip)" in line(lines, "device")
    assert "peak memory 61.0 GiB of 79.6 GiB (allocator)" in line(lines, "device")
    stages = "compile 34.0 s (trace 2.10 s, lower 900 ms, compile 31.0 s) · cache miss"
    assert line(lines, "compile") == stages
    assert line(lines, "loss") == "loss 6.93 → 6.41"
    assert line(lines, "result") == f"result {FILE}"


def test_micro_batches_stand_beside_the_batch_that_they_make_up():
    accumulated = examples.IMAGES.model_copy(update={"gradient_accumulation": 4})
    lines = summary(changed(examples.ok_gpu(), workload=accumulated))
    assert "batch 256 per device in 4 micro-batches of 64, 256 global" in line(lines, "on")


@pytest.mark.parametrize("example", examples.ALL)
def test_summary_has_at_most_ten_lines_of_plain_text(example):
    lines = summary(example(), FILE)
    assert 3 <= len(lines) <= 10
    assert not [text for text in lines if "\n" in text or "\x1b" in text or text != text.rstrip()]


@pytest.mark.parametrize("example", [examples.ok_gpu, examples.ok_cpu, examples.ok_text, examples.not_steady])
def test_summary_of_a_measurement_has_at_least_five_lines(example):
    assert len(summary(example())) >= 5


@pytest.mark.parametrize("example", examples.ALL)
def test_summary_without_a_file_names_none(example):
    assert "result" not in labels(summary(example()))


def test_nearest_published_figures_with_ratio_and_differences():
    first, second = [text for text in summary(examples.ok_gpu(), FILE) if text.startswith("published")]
    assert first == (
        "published    for this chip: H100 2,750 images/s per chip · here 1.01 x that · like for like, "
        "though: framework PyTorch"
    )
    others = "A100 2,470 (1.13 x), V100 1,200 (2.33 x), TPU v3 2,022 (1.38 x), TPU v2 890 (3.14 x)"
    assert second == f"published    also: {others}"


def test_only_a_figure_of_the_runs_own_chip_is_said_to_be_of_it():
    differences = (
        "accelerator: published V100 SXM2 16GB, here a100-sxm4-80gb",
        "data: published real, here synthetic",
    )
    figure = Comparison(
        reference_id="x", accelerator="V100", value=1.0, like_for_like=False, differences=differences
    )
    shown = line(summary(changed(examples.ok_gpu(), comparisons=(figure,))), "published")
    assert shown == "published V100 1.00 images/s per chip · no ratio · not like for like: data real"


@pytest.mark.parametrize(("like", "ending"), [(True, "· like for like"), (False, "· not like for like")])
def test_a_figure_without_differences_is_only_marked(like, ending):
    figure = Comparison(reference_id="x", accelerator="V100", value=1.0, like_for_like=like)
    assert summary(changed(examples.ok_gpu(), comparisons=(figure,)))[-1].endswith(ending)


def test_published_figures_fill_a_short_summary_with_four_at_most():
    short = changed(examples.ok_gpu(), loss=None, compile=None, memory=None, utilization=None)
    lines = summary(short)
    assert labels(lines).count("published") == 4


def test_long_differences_are_cut_and_counted():
    long = Comparison(
        reference_id="x",
        accelerator="V100",
        value=1.0,
        like_for_like=False,
        differences=("a" * 300, "b", "c"),
    )
    text = summary(changed(examples.ok_gpu(), comparisons=(long,)))[-1]
    assert len(text) <= 170
    assert text.endswith("…; +2 more")
    assert "no ratio" in text


def test_no_published_figure_is_said():
    assert (
        line(summary(examples.ok_cpu()), "published") == "published no figure for this model, task and size"
    )


def test_cpu_says_why_there_is_no_mfu_and_whose_peak_memory_it_is():
    lines = summary(examples.ok_cpu())
    device = "device MFU n/a: no published peak for device kind 'cpu' · peak memory 1.20 GiB (compiler)"
    assert line(lines, "device") == device
    assert "cache hit" in line(lines, "compile")
    assert line(lines, "loss").endswith("accuracy 94.1 % on 360 held-out images (test)")


def test_a_missing_reason_is_not_invented():
    assert "MFU n/a: no reason recorded" in line(summary(changed(examples.ok_cpu(), warnings=())), "device")


def test_text_models_report_sequences_and_tokens():
    lines = summary(examples.ok_text())
    rates = "93.4 sequences/s ± 1.0 % (95 % interval) · 11,960 tokens/s · 23.4 sequences/s per chip"
    assert line(lines, "throughput") == f"throughput {rates}"
    assert "8 x TPU v3 (4 chips) in 2 processes · batch 32 per device, 256 global" in line(lines, "on")
    assert "128 tokens" in line(lines, "ran")


def test_not_steady_stands_before_the_number():
    throughput = line(summary(examples.not_steady()), "throughput")
    assert throughput.startswith("throughput NOT STEADY: 2,791 images/s")
    assert throughput.endswith("step time fell by 7 % over the window")


@pytest.mark.parametrize(
    ("example", "first"),
    [
        (examples.oom, "OUT OF MEMORY: compiling needs 91.2 GiB of 79.6 GiB; try batch_size=128"),
        (examples.interrupted, "INTERRUPTED: Ctrl-C after 2 of 3 blocks"),
        (examples.invalid_nan, "INVALID, do not use these figures: the loss is not finite from step 10 on"),
        (examples.failed_early, "FAILED: ValueError: no such layer"),
    ],
)
def test_a_run_that_is_not_ok_says_so_first(example, first):
    assert summary(example())[0] == first


def test_ok_runs_have_no_headline():
    assert summary(examples.ok_gpu())[0].startswith("ran ")


def test_out_of_memory_shows_what_is_known_and_no_speed():
    lines = summary(examples.oom(), FILE)
    assert labels(lines) == ["OUT", "ran", "on", "device", "compile", "result"]
    assert line(lines, "device") == "device peak memory n/a"
    assert line(lines, "compile") == "compile 3.00 s (trace 2.10 s, lower 900 ms)"


def test_interrupted_run_reports_its_blocks_and_no_interval():
    lines = summary(examples.interrupted())
    assert "2,792 images/s (no interval: too few blocks)" in line(lines, "throughput")
    assert "2 blocks of 10 steps" in line(lines, "step time")


def test_interruption_in_the_warm_up_has_no_step_time():
    lines = summary(examples.interrupted_in_warmup())
    assert line(lines, "step time") == "step time n/a: no timed block was completed"
    assert "throughput" not in labels(lines)


def test_invalid_run_is_compared_with_nothing_and_shows_the_loss():
    lines = summary(examples.invalid_nan())
    assert "published" not in labels(lines)
    assert line(lines, "loss") == "loss 6.93 → not finite"


def test_bad_losses_in_between_are_told():
    loss = Loss.from_curve([(0, 2.0), (1, float("nan")), (2, 1.0)])
    lines = summary(changed(examples.ok_gpu(), loss=loss))
    assert line(lines, "loss") == "loss 2.00 → 1.00 · some losses between were not finite"


def test_no_loss_line_when_none_was_fetched():
    assert "loss" not in labels(summary(changed(examples.ok_gpu(), loss=Loss.from_curve([]))))


def test_autos_carry_their_reasons():
    assert autos(examples.ok_gpu()) == ["auto: batch_size = 256 (largest that fits into 79.6 GiB)"]


def test_warnings_leave_the_reasons_of_unknown_fields_to_the_record():
    result = examples.ok_cpu().model_copy(
        update={"warnings": ("limit_bytes: not reported", "mfu: no peak", "not steady: it drifted")}
    )
    assert warnings(result) == ["warning: not steady: it drifted"]


def test_error_screen_names_problem_allowed_and_fix():
    error = UserError("there is no model [x]", allowed="resnet18, resnet50", fix="model=resnet50")
    assert error_screen(error).splitlines() == [
        "trainbench: there is no model [x]",
        "  allowed: resnet18, resnet50",
        "  fix:     model=resnet50",
    ]
    assert error_screen(UserError("alone")) == "trainbench: alone"


def test_an_error_screen_does_not_pass_on_what_steers_a_terminal():
    shown = error_screen(UserError("model=\x1b[31mred", allowed="first\n  second é", fix="\a\r\x9b"))
    assert shown == "trainbench: model=?[31mred\n  allowed: first\n  second é\n  fix:     ???"


PRINTS_EVERYTHING = """
from tests.results import examples
from trainbench.reference import economy, figures
from trainbench.report.console import ProgressLine, autos, summary, sweep_table, warnings
from trainbench.report.sweep import Row
with ProgressLine() as progress:
    progress.phase("compiling (no estimate; first compile of this program)")
result = examples.ok_gpu()
print(*summary(result), *autos(result), *warnings(result), sep="\\n")
print(sweep_table([Row("batch_size=256", result), Row("batch_size=512", examples.oom())]))
"""


def test_a_pipe_of_80_columns_gets_whole_lines_and_no_escape_codes():
    forced = {
        "COLUMNS": "80",
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "PYTHONUTF8": "1",
        "PYTHONPATH": ".",
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_EVERYTHING], cwd=root, env=forced, capture_output=True, check=True
    )
    out = done.stdout.decode().splitlines()
    assert "\x1b" not in done.stdout.decode() + done.stderr.decode()
    assert out[: len(summary(examples.ok_gpu()))] == summary(examples.ok_gpu())
    assert done.stderr.decode().strip().endswith("compiling (no estimate; first compile of this program)")


def test_the_cost_of_input_stands_beside_the_step_time():
    fed = changed(examples.ok_cpu(), input=Input(mode="host", stall_fraction=0.076))
    assert line(summary(fed), "step time").endswith("input costs 7.6 % of it")


def test_three_ways_of_feeding_stand_side_by_side_with_the_verdict():
    rates = {
        way: Rate(samples_per_s=rate, samples_per_s_ci95=(0.99 * rate, 1.01 * rate), steady=True)
        for way, rate in (("resident", 200.0), ("host", 190.0), ("real", 120.0))
    }
    given = Input(
        mode="all", rates=rates, verdict="input-bound", verdict_reason="input costs 40.0 % of a step"
    )
    lines = summary(changed(examples.ok_cpu(), input=given))
    assert line(lines, "by input").endswith(
        "resident 200 ± 1.0 %, host 190 ± 1.0 %, real 120 ± 1.0 % images/s"
    )
    assert line(lines, "verdict") == "verdict input-bound: input costs 40.0 % of a step"
    assert len(lines) <= 10
    unclear = changed(examples.ok_cpu(), input=given.model_copy(update={"verdict": None}))
    assert line(summary(unclear), "verdict").startswith("verdict n/a: ")


def test_useful_tokens_stand_beside_those_fed():
    whole = examples.ok_text()
    padded = whole.throughput.model_copy(update={"tokens_per_s": 1000.0, "useful_tokens_per_s": 750.0})
    assert "1,000 tokens/s (750 without padding)" in line(
        summary(changed(whole, throughput=padded)), "throughput"
    )


def test_a_text_models_accuracy_counts_tokens_and_an_image_models_images():
    found = Evaluation(metric="accuracy", value=0.1, loss=5.25, samples=8194, split="test")
    for result, what in ((examples.ok_text(), "tokens"), (examples.ok_cpu(), "images")):
        shown = line(summary(changed(result, evaluation=found)), "loss")
        assert shown.endswith(f"accuracy 10.0 %, loss 5.25 on 8,194 held-out {what} (test)")


def test_masked_accuracy_counts_tokens():
    found = Evaluation(metric="masked_accuracy", value=0.1, loss=5.25, samples=8194, split="test")
    shown = line(summary(changed(examples.ok_cpu(), evaluation=found)), "loss")
    assert shown.endswith("masked accuracy 10.0 %, loss 5.25 on 8,194 held-out masked tokens (test)")


def costing(
    dollars: float = 0.2708, source: str = "$2.70/h, GCP, somewhere (or not), undated; source: a table"
):
    return changed(examples.ok_gpu(), cost=Cost(usd_per_million_samples=dollars, price_source=source))


def test_what_a_million_samples_cost_and_at_which_price():
    shown = line(summary(costing(), FILE), "device")
    assert shown.endswith(" · $0.271 per million images at $2.70/h, GCP, somewhere (or not), undated")
    given = line(summary(costing(12.3, "$1.50/h, given by price_per_hour")), "device")
    assert given.endswith(" · $12.3 per million images at $1.50/h, given by price_per_hour")


def test_further_figures_are_named_whole_and_those_without_room_counted():
    one = examples.ok_gpu().comparisons[0]
    many = tuple(one.model_copy(update={"accelerator": f"Accelerator {place}"}) for place in range(12))
    found = [text for text in summary(changed(examples.ok_gpu(), comparisons=many), FILE) if "also:" in text]
    (shown,) = found
    assert shown.endswith("more")
    assert len(shown) < 180
    named, left = shown.count("Accelerator"), int(shown.split("+")[-1].split()[0])
    assert named + left == 11


def economical(per_watt: float | None, per_dollar: float | None, basis: str = "") -> str:
    """The line of a figure with these ratios, and 1.5 per chip."""
    figure = Comparison(
        reference_id="x",
        accelerator="V100",
        value=1.0,
        ratio=1.5,
        like_for_like=True,
        per_watt=per_watt,
        per_dollar=per_dollar,
        basis=basis,
    )
    return line(summary(changed(examples.ok_gpu(), comparisons=(figure,))), "published")


def test_ratios_per_watt_and_per_dollar_stand_beside_the_one_per_chip():
    assert "here 1.50 x that, 1.40 x per watt, 0.900 x per dollar · like" in economical(1.4, 0.9)
    assert "here 1.50 x that, 0.900 x per dollar · like" in economical(None, 0.9)
    assert "here 1.50 x that · like" in economical(None, None)


def test_ratios_that_say_no_more_than_the_one_per_chip_are_left_out():
    assert "here 1.50 x that · like" in economical(1.5, 1.5)


def test_prices_that_do_not_buy_the_same_are_marked():
    figure = next(one for one in figures.load() if one.chip == "v100-sxm2-16gb")
    basis = economy.compare("a100-sxm4-80gb", None, 1.0, figure).basis
    expected = "0.900 x per dollar (Lambda undated / GCP undated, a host in one price only) · like"
    assert expected in economical(None, 0.9, basis)


def test_ratios_say_whose_prices_of_which_day_and_which_powers_they_rest_on():
    figure = next(one for one in figures.load() if one.chip == "a100-sxm4-40gb")
    basis = economy.compare("tpu-v4", None, 1.0, figure).basis
    shown = economical(1.4, 0.9, basis)
    assert "1.40 x per watt (measured / TDP), " in shown
    assert "0.900 x per dollar (GCP undated / AWS 2026-08-17, hosts unknown) · like" in shown


def test_ratios_that_would_crowd_out_the_differences_are_left_out():
    figure = Comparison(
        reference_id="x",
        accelerator="A" * 80,
        value=1.0,
        ratio=1.5,
        like_for_like=False,
        differences=("data: published real, here synthetic",),
        per_watt=1.4,
        per_dollar=0.9,
    )
    shown = line(summary(changed(examples.ok_gpu(), comparisons=(figure,))), "published")
    assert "per watt" not in shown
    assert shown.endswith("data real")


def test_levers_that_took_place_and_another_framework_are_named():
    plain = examples.ok_cpu()
    assert not {"levers", "framework"} & set(labels(summary(plain, FILE)))
    levers = {
        "attention": Lever(value="cudnn", reason="faster", proof="24 calls"),
        "first_moment": Lever(value="fp32", reason="as published"),
        "gradient_accumulation": Lever(value=4, proof="a loop of 4"),
    }
    assert line(summary(changed(plain, levers=levers), FILE), "levers") == "levers attention cudnn"
    framework = Framework(
        name="torch",
        version="2.13.0",
        models="transformers 5.23.0",
        compile="eager",
        channels_last=True,
        threads=2,
        fused_optimizer=True,
    )
    assert (
        line(summary(changed(plain, framework=framework), FILE), "framework")
        == "framework PyTorch 2.13.0 · eager · channels last · 2 threads · transformers 5.23.0"
    )
