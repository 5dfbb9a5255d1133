"""What a run costs, how it stands beside the published figures, and its chart on the disk."""

import dataclasses
import errno
import os
import subprocess
import sys

import pytest

from tests.test_assemble import OK, parts_of
from trainbench import benchmark, published
from trainbench.assemble import Ending, assemble
from trainbench.hardware import chips
from trainbench.reference import figures
from trainbench.report import plots

A100 = "NVIDIA A100-SXM4-80GB"
RESNET = ("model=resnet50", "batch_size=256")


def drawn(parts, directory):
    return published.draw(parts, assemble(parts, OK), directory)


def test_a_million_samples_cost_the_price_over_the_rate():
    """1,280 images/s a chip at 2.79 dollars an hour, however many chips there are."""
    for count in (1, 8):
        result = assemble(parts_of(A100, count, 0.2, *RESNET), OK)
        assert result.cost.usd_per_million_samples == pytest.approx(2.79 / (1280 * 3600) * 1e6)
    assert result.cost.price_source.startswith(
        "$2.79/h, Lambda 8x /8, all listed regions, undated, host included; "
    )
    assert chips.by_id("a100-sxm4-80gb").price.source[0] in result.cost.price_source


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["parallel=data_fsdp"], "split over devices: published the batch, here fsdp 2"),
        (["remat=dots"], "computed again: published nothing, here remat=dots"),
        (["batch_norm=synchronised"], "batch statistics: published of each replica, here synchronised"),
        (["checkpoint.every=100", "checkpoint.timed=true"], "checkpoints: published not timed, here timed"),
        (["first_moment=bf16"], "running mean of gradients: published fp32, here bf16"),
    ],
)
def test_how_devices_share_the_work_is_set_beside_the_published_figures(overrides, words):
    def told(*more):
        return " ".join(assemble(parts_of(A100, 8, 0.2, *RESNET, *more), OK).comparisons[0].differences)

    assert words in told(*overrides)
    assert words not in told()
    assert words not in told("checkpoint.every=100")


def test_a_chip_of_two_devices_costs_one_price():
    result = assemble(parts_of("TPU v3", 8, 0.128, "model=resnet50", "batch_size=128"), OK)
    assert result.cost.usd_per_million_samples == pytest.approx(2.0 / (2000 * 3600) * 1e6)


@pytest.mark.parametrize("kind", [A100, "NVIDIA GeForce RTX 4090", "Some GPU that nobody knows"])
def test_a_given_price_is_taken_on_any_hardware(kind):
    result = assemble(parts_of(kind, 1, 0.4, *RESNET, "price_per_hour=1.8"), OK)
    assert result.cost.usd_per_million_samples == pytest.approx(1.8 / (640 * 3600) * 1e6)
    assert result.cost.price_source == "$1.80/h, given by price_per_hour"
    assert result.reason("cost") is None


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("NVIDIA GeForce RTX 4090", "no source gives a price for"),
        ("Some GPU that nobody knows", "no price is kept for this hardware"),
    ],
)
def test_an_unknown_price_is_a_cost_with_a_reason_and_a_remedy(kind, reason):
    result = assemble(parts_of(kind, 1, 0.4, *RESNET), OK)
    assert result.cost is None
    assert reason in result.reason("cost")
    assert "price_per_hour=" in result.reason("cost")


def test_a_run_without_a_timed_block_says_that_it_has_no_cost():
    stopped = assemble(parts_of(A100, 1, 0.2, *RESNET, timing=None), Ending("interrupted", "stopped"))
    assert stopped.cost is None
    assert stopped.reason("cost") == "nothing was timed"


def test_a_measurement_that_is_refused_has_no_cost():
    assert assemble(parts_of(A100, 1, 0.001, *RESNET), OK).cost is None


def test_comparisons_hold_ratios_per_watt_and_per_dollar_with_their_basis():
    result = assemble(parts_of("NVIDIA H100 80GB HBM3", 1, 0.1, *RESNET), OK)
    assert all(one.basis for one in result.comparisons)
    by_id = {figure.id: figure for figure in figures.load()}
    board = [one for one in result.comparisons if by_id[one.reference_id].chip == "a100-sxm4-80gb"]
    for one in board:
        assert one.per_watt == pytest.approx(one.ratio * 400 / 700)
        assert one.per_dollar == pytest.approx(one.ratio * 2.79 / 3.99)
    assert board


def test_the_chart_lies_beside_the_result_with_the_own_family_first(tmp_path):
    parts = parts_of(A100, 1, 0.2, *RESNET)
    line = drawn(parts, tmp_path)
    assert line.startswith("chart ")
    assert sorted(os.listdir(tmp_path)) == sorted(published.CHART_FILES)
    assert (tmp_path / "published.png").read_bytes().startswith(b"\x89PNG")
    assert b"A100" in (tmp_path / "published.svg").read_bytes()


def test_rows_are_the_nearest_of_the_own_family_then_the_best_of_the_others():
    parts = parts_of(A100, 1, 0.2, *RESNET)
    result = assemble(parts, OK)
    run = published.run_facts(parts, result.workload, result.throughput)
    rows = list(published._rows(run, ()))
    assert len(rows) == 16
    own = [row.accelerator.startswith("A100") for row in rows]
    assert own == [True] * 5 + [False] * 11
    assert rows[0].value == result.comparisons[0].value
    others = [row.value for row in rows[5:]]
    assert others == sorted(others, reverse=True)
    for row in rows:
        assert row.ratio == pytest.approx(1280 / row.value)
        assert "chip" in row.conditions
        assert row.source


OWN = """\
id,model,task,accelerator,num_chips,precision,per_device_batch,image_size,data,metric,value,source,framework
mine,resnet50,image_classification,H100,1,bf16,256,224,synthetic,images/sec,2000,my notes,JAX
mine-again,resnet50,image_classification,H100,1,bf16,128,224,synthetic,images/sec,1900,my notes,JAX
mine-vit,vit_b16,image_classification,H100,1,bf16,256,224,synthetic,images/sec,1000,my notes,JAX
"""


def test_figures_of_ones_own_come_first_and_those_left_out_are_named(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text(OWN)
    parts = parts_of("NVIDIA H100 80GB HBM3", 1, 0.1, *RESNET, f"reference.extra={file}")
    result = assemble(parts, OK)
    assert [one.reference_id for one in result.comparisons[:2]] == ["mine", "mine-again"]
    assert result.comparisons[0].ratio == pytest.approx(2560 / 2000)
    assert result.comparisons[2].accelerator.startswith("H100"), "then as without them"
    (said,) = [warning for warning in result.warnings if warning.startswith("reference.extra")]
    assert "1 of 3" in said
    assert said.endswith("mine-vit")
    run = published.run_facts(parts, result.workload, result.throughput)
    rows = list(published._rows(run, published._extra(parts.request)))
    assert [row.value for row in rows[:2]] == [2000, 1900]


def test_a_model_without_published_figures_has_no_chart(tmp_path):
    assert drawn(parts_of(A100, 1, 0.2, "model=resnet_tiny", "batch_size=8"), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_chart_that_cannot_be_drawn_is_one_warning(tmp_path, monkeypatch):
    def broken(chart):
        raise RuntimeError("no font\nand more")

    monkeypatch.setattr(plots, "images", broken)
    line = drawn(parts_of(A100, 1, 0.2, *RESNET), tmp_path)
    assert line == "warning: the chart was not drawn: RuntimeError: no font"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_costs_the_chart_and_leaves_no_half_of_it(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    parts = parts_of(A100, 1, 0.2, *RESNET)
    monkeypatch.setattr(os, "fsync", full)
    line = drawn(parts, tmp_path)
    assert line.startswith("warning: the chart was not written: cannot write results")
    assert "No space left" in line
    assert list(tmp_path.iterdir()) == []


def test_a_failure_to_draw_does_not_fail_the_run_and_an_old_chart_goes(tmp_path, monkeypatch, capsys):
    """The whole of `run_and_show`, with a measurement that is made already."""
    made = parts_of(A100, 1, 0.2, *RESNET)
    given = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}

    def measured(parts, progress):
        for name, value in given.items():
            setattr(parts, name, value)

    def broken(*arguments):
        raise MemoryError

    monkeypatch.setattr(benchmark, "run", measured)
    monkeypatch.setattr(benchmark, "enable_compilation_cache", lambda: None)
    monkeypatch.setattr(plots, "published_chart", broken)
    (tmp_path / "published.png").write_bytes(b"of an earlier run")
    assert benchmark.run_and_show(made.tree, tmp_path, "python -m trainbench") == 0
    assert capsys.readouterr().out.endswith("warning: the chart was not drawn: MemoryError: MemoryError\n")
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_altair_is_loaded_by_a_chart_only():
    code = (
        "import sys, trainbench.benchmark; print([n for n in ('altair', 'vl_convert') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
