"""The verb `report`, from files to files."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tests.report import many
from tests.results import examples
from trainbench.errors import UserError
from trainbench.report.page import document
from trainbench.verbs import report as reporting


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A directory with two results, a damaged one, and nothing else around."""
    monkeypatch.setattr(document, "_bundle", lambda: "window.vegaEmbed = null;")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    found = [many.point(examples.ok_gpu(), number, 2**number) for number in (5, 6)]
    place = many.written(found, tmp_path / "runs")
    (place / "broken").mkdir()
    (place / "broken" / "result.json").write_text("{")
    return place


def test_a_page_is_written_and_damaged_files_are_named_in_it(results, tmp_path, capsys):
    assert reporting.show([str(results)]) == 0
    text = (tmp_path / "report.html").read_text()
    assert text.lstrip().startswith("<!doctype html>")
    assert "broken/result.json is damaged" in text
    assert capsys.readouterr().out == "2 results, 1 file left out: report.html\n"


def test_one_result_is_one(results, capsys):
    assert reporting.show([str(results / "run-00005")]) == 0
    assert capsys.readouterr().out == "1 result: report.html\n"


def test_text_writes_no_page(results, tmp_path, capsys):
    assert reporting.show([str(results), "--text"]) == 0
    out = capsys.readouterr().out
    assert "batch" in out
    assert "left out:" in out
    assert not list(tmp_path.glob("*.html"))


def test_each_plot_becomes_a_png_and_an_svg(results, tmp_path, capsys):
    one = results / "run-00005" / "result.json"
    assert reporting.show([str(one), "--text", "--images", "plots"]) == 0
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert "throughput-images.png" in names
    assert [name for name in names if name.endswith("png")] == [
        f"{name[:-4]}.png" for name in names if name.endswith("svg")
    ]
    svg = ElementTree.parse(tmp_path / "plots" / "throughput-images.svg").getroot()
    assert any(node.text == "batch size per device" for node in svg.iter())


def test_images_of_hostile_results_are_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = many.written(
        [
            many.changed(
                many.hostile(),
                timing=None,
                throughput=None,
                status="oom",
                status_reason="x",
                loss=None,
                comparisons=(),
            )
        ],
        tmp_path / "runs",
    )
    assert reporting.show([str(place), "--text", "--images", "plots"]) == 0
    svg = (tmp_path / "plots" / "compile.svg").read_text()
    assert "<script" not in svg


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: PATH"),
        (["nowhere"], "nothing at nowhere"),
        (["runs/broken"], "no result to report"),
        (["runs", "--colour"], "--colour"),
        (["runs", "--out", "runs"], "runs is a directory"),
        (["runs", "--out", ""], "an empty path"),
        (["runs", "--images", "runs/broken/result.json"], "runs/broken/result.json is a file"),
        (["runs", "--images", "nowhere/plots"], "nowhere is no directory"),
        (["runs", "--out", "nowhere/deep/page.html"], "nowhere/deep is no directory"),
    ],
)
def test_mistakes_are_told_and_nothing_is_made(results, tmp_path, arguments, said):
    with pytest.raises(UserError, match=said):
        reporting.show(arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_neither_the_page_nor_the_text_needs_jax(results):
    program = (
        "import sys; from trainbench.verbs import report; report.show(['runs', '--text']); "
        "assert not {'altair', 'jinja2'} & set(sys.modules); report.show(['runs']); "
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
