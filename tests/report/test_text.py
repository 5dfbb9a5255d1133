"""The report as text."""

import io
import re

import pytest

from tests.report import many
from tests.results import examples
from trainbench.report import text
from trainbench.report.text import sparkline


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
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines())) == 90


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


def test_traced_runs_have_a_line():
    out = written([many.changed(examples.ok_gpu(), trace=many.trace())])
    line = "traced: resnet50 · batch 256: top ops: convolution.3 25.0 %, fusion.12 12.5 %, fusion.7 6.2 % · "
    assert line + "device busy 93.1 %" in " ".join(out.split())


def test_a_forecast_says_so_in_its_name_and_its_status():
    out = written([many.forecast(many.point(examples.ok_gpu(), 1, 64))])
    (row,) = (line for line in out.splitlines() if line.startswith("forecast"))
    assert row.split()[:5] == ["forecast", "·", "resnet50", "forecast", "64"]


def test_a_failed_run_is_a_row_without_figures():
    out = written([examples.failed_early()])
    (row,) = (line for line in out.splitlines() if line.startswith("no model"))
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
