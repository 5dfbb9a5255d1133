"""The chart of a run among published figures: what it says, and that it can be drawn anywhere."""

import io
import math
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.results import examples
from trainbench.report import plots
from trainbench.report.plots import Row, images, published_chart

OWN = Row("this run: NVIDIA H100", "bf16 · 1 chip", "", 2000.0, 1.0, True)
ROWS = (
    Row("H100 SXM5", "fp16-amp · 1 chip · batch 256", "example/results 2022", 2500.0, 0.8, True),
    Row("V100", "fp32 · 8 chips", "example/other undated", 400.0, 5.0, False),
)
ODD = "A<100> & \"B\" 'c' \x00\x1b[31m\n{datum.row} ${x} </svg> ünï"


def spec(work=examples.IMAGES, own=OWN, rows=ROWS):
    return published_chart(work, own, rows).to_dict()


def lines(made):
    (name,) = (
        {layer["data"]["name"] for layer in made["layer"]}
        if "data" not in made
        else {made["data"].get("name")}
    )
    return made["datasets"][name] if name else made["data"]["values"]


def marks(made):
    return [layer["mark"]["type"] for layer in made["layer"]]


def encodings(made, mark):
    return [layer["encoding"] for layer in made["layer"] if layer["mark"]["type"] == mark]


def test_bars_start_at_this_run_on_one_logarithmic_scale():
    made = spec()
    assert sorted(set(marks(made))) == ["bar", "point", "rule", "text"]
    (bar,) = encodings(made, "bar")
    assert (bar["x"]["field"], bar["x2"]["field"]) == ("here", "value")
    scales = [
        encoding["x"]["scale"] for mark in ("bar", "point", "rule") for encoding in encodings(made, mark)
    ]
    assert {scale["type"] for scale in scales} == {"log"}
    assert all(scale["domain"] == scales[0]["domain"] for scale in scales)
    low, high = scales[0]["domain"]
    assert 0 < low < 400
    assert high > 2500
    assert {line["here"] for line in lines(made)} == {2000.0}


def test_this_run_comes_first_and_the_figures_in_their_order():
    made = lines(spec())
    assert [line["row"] for line in made] == [0, 1, 2]
    assert [line["label"] for line in made] == [OWN.accelerator, "H100 SXM5", "V100"]
    assert [line["value"] for line in made] == [2000.0, 2500.0, 400.0]


def test_like_for_like_is_told_by_colour_by_shape_and_in_words():
    made = spec()
    assert [line["kind"] for line in lines(made)] == ["this run", "like for like", "not like for like"]
    (point,) = encodings(made, "point")
    for channel in ("color", "shape"):
        assert len(set(point[channel]["scale"]["range"])) == 3
    assert lines(made)[1]["sign"] == "like for like · example/results 2022"
    assert lines(made)[2]["sign"].startswith("not like for like · ")


def test_labels_hold_precision_source_value_and_ratio():
    _, first, second = lines(spec())
    assert first["conditions"] == "fp16-amp · 1 chip · batch 256"
    assert first["figure"] == "2,500 · here 0.800 x that"
    assert second["figure"] == "400 · here 5.00 x that"


@pytest.mark.parametrize(
    ("work", "size", "unit"),
    [(examples.IMAGES, "224 px", "images/s"), (examples.TEXT, "128 tokens", "sequences/s")],
)
def test_the_title_names_model_size_and_unit_per_chip(work, size, unit):
    made = spec(work)
    assert (
        made["title"]["text"]
        == f"Training {work.model}, {size}: this run among published figures, {unit} per chip"
    )
    (bar,) = encodings(made, "bar")
    assert "logarithmic" in bar["x"]["axis"]["title"][0]


def test_the_closing_lines_say_what_like_for_like_means():
    (bar,) = encodings(spec(), "bar")
    assert bar["x"]["axis"]["title"][-len(plots.CLOSING) :] == list(plots.CLOSING)


def test_odd_strings_stay_text():
    odd = Row(ODD, ODD, ODD, 10.0, 200.0, False)
    chart = published_chart(examples.IMAGES.model_copy(update={"model": ODD}), OWN, (odd,))
    label = lines(chart.to_dict())[1]["label"]
    assert label.isprintable()
    png, svg = images(chart)
    texts = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    assert label in texts
    assert Image.open(io.BytesIO(png)).format == "PNG"


def test_long_strings_are_cut():
    long = Row("A" * 500, "b" * 500, "c" * 500, 10.0, 200.0, False)
    line = lines(spec(rows=(long,)))[1]
    assert max(len(line[name]) for name in ("label", "conditions", "sign")) <= 60


def test_png_and_svg_are_drawn_without_a_browser():
    png, svg = images(published_chart(examples.IMAGES, OWN, ROWS))
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = Image.open(io.BytesIO(png)).size
    assert width > 800
    assert height > 300
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    drawn = " ".join(node.text or "" for node in root.iter())
    assert "here 0.800 x that" in drawn
    assert plots.CLOSING[0] in drawn


@pytest.mark.parametrize("rows", [(), (Row("x", "", "", 0.0, 1.0, False),)])
def test_nothing_to_compare_is_refused(rows):
    with pytest.raises(ValueError, match="needs a rate"):
        published_chart(examples.IMAGES, OWN, rows)


@pytest.mark.parametrize(
    ("low", "high"), [(4, 7000), (600, 6000), (1000, 3500), (0.002, 9), (0.7, 12), (150, 990), (1e-3, 1e5)]
)
def test_ticks_are_round_inside_and_enough(low, high):
    ticks = plots.ticks(low, high)
    assert 3 <= len(ticks) <= 10
    assert ticks == sorted(ticks)
    assert low <= ticks[0]
    assert ticks[-1] <= high
    for tick in ticks:
        digit = tick / 10 ** math.floor(math.log10(tick) + 1e-9)
        assert digit == pytest.approx(round(digit))


def test_a_narrow_range_leaves_the_ticks_to_the_library():
    assert plots.ticks(2100, 2300) == []
    axis = encodings(spec(own=Row("a", "", "", 2200.0, 1.0, True), rows=(ROWS[0],)), "bar")[0]["x"]["axis"]
    assert "values" not in axis
