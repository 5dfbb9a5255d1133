"""The report as text."""

import io
import re
from pathlib import Path

import pytest

from tests.report import many
from tests.results import examples, forecasts
from trainbench.report import text
from trainbench.report.text import sparkline
from trainbench.results.collect import Skipped


@pytest.fixture(autouse=True)
def no_columns(monkeypatch):
    """The width that somebody's terminal has is no part of a test."""
    monkeypatch.delenv("COLUMNS", raising=False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def written(results, file=None, skipped=()):
    file = file or io.StringIO()
    text.write(many.collection(results, skipped), file)
    return file.getvalue()


def test_no_line_is_wider_than_a_hundred_columns_and_a_pipe_gets_no_escape_codes(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = written([*many.mixture(), many.hostile()])
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out
    assert "…" not in written(many.mixture())


def test_a_narrow_terminal_gets_narrow_lines_with_colour(monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = written([many.point(examples.ok_gpu(), 1, 64)], Terminal())
    assert "\x1b[32mok" in out
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines())) <= 90


@pytest.mark.parametrize("columns", [70, 80, 95])
def test_a_pipe_keeps_to_the_columns_it_is_told_and_no_line_ends_in_blanks(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = written(
        [*many.mixture(), many.hostile()], skipped=(Skipped(Path("x" * 90), "y" * 90),)
    ).splitlines()
    assert max(map(len, lines)) <= columns
    assert [line for line in lines if line != line.rstrip()] == []
    assert not any("…" in line for line in lines if "bf16" in line)
    assert lines[0].split()[:5] == ["run", "status", "batch", "rate/s", "±"]


def test_a_row_has_all_figures_and_the_blocks():
    out = written([examples.ok_gpu()])
    (row,) = (line for line in out.splitlines() if line.startswith("resnet50"))
    assert row.split() == [
        *("resnet50", "ok", "256", "2,791", "0.4", "%", "91.7", "ms", "6.9", "%"),
        *("61.0", "GiB", "34.0", "s", "▄▅▅"),
    ]


def test_series_by_batch_size_name_the_best_and_the_knee():
    lines = [line.rstrip() for line in written(many.sweep()).splitlines()]
    begin = lines.index("resnet50 · bf16")
    rows = lines[begin + 3 : begin + 10]
    assert [row.split()[0] for row in rows] == ["8", "16", "32", "64", "128", "256", "512"]
    assert rows[4].endswith("knee")
    assert rows[5].endswith("best")
    assert rows[6].endswith("out of memory")


def test_the_newest_three_traced_runs_have_ten_operations_each_by_where_they_come_from():
    operations = many.trace(*(f"fusion.{number}" for number in range(12)))
    unknown = operations.operations[0].model_copy(update={"origin": None})
    traced = operations.model_copy(update={"operations": (unknown, *operations.operations[1:])})
    runs = [many.changed(many.point(examples.ok_gpu(), number, 64), trace=traced) for number in range(4)]
    lines = written(runs).splitlines()
    begins = [place for place, line in enumerate(lines) if line.startswith("traced: ")]
    assert len(begins) == 3
    assert lines[begins[0]] == "traced: resnet50 · batch 64 · 01-02 03:07:05: device busy 93.1 %, 5 steps"
    assert lines[begins[0] + 1].split() == ["25.0", "%", "22.5", "ms", "fusion.0"]
    assert lines[begins[0] + 2].split() == ["12.5", "%", "11.2", "ms", "jvp(Model)/fusion.1/dot_general"]
    assert begins[1] - begins[0] == 11
    assert "The newest 3 of 4 traced runs" in lines[begins[2] + 11]


def test_a_series_says_which_points_were_not_steady():
    fast = many.point(examples.ok_gpu(), 1, 128)
    fast = many.changed(fast, timing=fast.timing.model_copy(update={"steady": False, "steady_reason": "x"}))
    lines = written([many.point(examples.ok_gpu(), 2, 64), fast]).splitlines()
    assert lines[-2].endswith("best and knee")
    assert lines[-1].endswith("not steady")


def test_a_forecast_says_so_in_its_name_and_its_status():
    out = written([many.forecast(many.point(examples.ok_gpu(), 1, 64))])
    (row,) = (line for line in out.splitlines() if line.startswith("forecast"))
    assert row.split()[:5] == ["forecast", "·", "resnet50", "forecast", "64"]


def test_forecasts_have_a_line_each_with_what_the_rate_is_and_the_run_beside_it():
    alike = forecasts.beside(forecasts.compiled("v6e-4", rate=8000.0), 0.3, "jax: run 0.9.0, forecast 0.10.2")
    out = written([alike, forecasts.traced(), forecasts.too_large(), forecasts.failed()])
    lines = out.splitlines()
    assert "Forecasts are no measurements." in out
    assert "forecast cpu, resnet50 batch 256: at most 9,000 images/s per chip (traced program)" in lines
    assert "forecast v4-1: failed: INTERNAL: no" in lines
    assert any(line.startswith("forecast v5e-1, resnet50 batch 256: oom: the step needs") for line in lines)
    begin = next(place for place, line in enumerate(lines) if line.startswith("forecast v6e-4"))
    text = " ".join(" ".join(lines[begin : begin + 8]).split())
    assert "expected 2,000 images/s per chip, 95 %: 1,800 to 2,200 (compiled program) · HBM 60.0 %" in text
    assert "measured: 6,154 images/s, run run-on-the-chip" in text
    assert "error: +30.0 % (expected / measured - 1); the run is outside the interval" in text
    assert "unlike: jax: run 0.9.0, forecast 0.10.2" in text


def test_a_failed_run_is_a_row_without_figures():
    out = written([examples.failed_early()])
    (row,) = (line for line in out.splitlines() if line.startswith("no model"))
    assert row.split() == ["no", "model", "failed"]
    assert "rate/s" not in out
    (row,) = (
        line
        for line in written([examples.failed_early(), examples.ok_gpu()]).splitlines()
        if "no model" in line
    )
    assert row.split() == ["no", "model", "failed", *["-"] * 7]


def test_many_results_are_cut_and_that_is_said():
    out = written(list(many.thousands(250)))
    assert "The newest 200 of 250 results" in out


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], ""),
        ([1.0, 1.0, 1.0, 1.0], "▅▅▅▅"),
        ([1.0, 1.0, 1.0, 9.0], "▁▁▁█"),
        ([1.0] * 20, "▅" * 10),
        ([0.0, 0.0], "▁▁"),
    ],
)
def test_sparklines(times, expected):
    assert sparkline(times) == expected
