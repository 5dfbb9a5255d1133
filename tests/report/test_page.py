"""The report's page: what is on it, that files cannot get at the reader, and how large it may become."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report import many
from tests.results import examples, forecasts
from trainbench.report.page import document
from trainbench.results.collect import Skipped

NOW = datetime(2026, 1, 3, tzinfo=UTC)
SKIPPED = Skipped(Path("broken/<b>.json"), "is damaged or not a result: Expecting value")


@pytest.fixture
def no_vega(monkeypatch):
    """A page without the library, which takes seconds to bundle and is the same in all pages."""
    monkeypatch.setattr(document, "_bundle", lambda: "window.vegaEmbed = null;")


class Reader(HTMLParser):
    """Elements, attributes and texts of a page, as a browser would take them apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = [], [], [], []
        self.open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.open = tag

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        (self.scripts if self.open == "script" else self.texts).append(data)

    def ids(self):
        return {value for tag, name, value in self.attributes if tag == "section" and name == "id"}


def made(results, skipped=()):
    return document.page(document.sections(many.collection(results, skipped)), NOW)


def specs(text):
    found = re.search(r'<script type="application/json" id="plots">(.*?)</script>', text, re.DOTALL)
    return json.loads(found.group(1))


def inline(spec):
    return [row for data in _data(spec) for row in data]


def _data(part):
    if isinstance(part, dict):
        if isinstance(part.get("values"), list) and "axis" not in part:
            yield [row for row in part["values"] if isinstance(row, dict)]
        for value in part.values():
            yield from _data(value)
    elif isinstance(part, list):
        for value in part:
            yield from _data(value)


def test_a_mixture_has_every_section_in_order(no_vega):
    text = made(many.mixture(), (SKIPPED,))
    assert re.findall(r'<section id="([a-z]+)"', text) == [
        *("summary", "throughput", "results", "steps", "published", "roofline", "trace", "memory"),
        *("compile", "input", "loss", "scaling", "environment", "troubles", "warnings", "skipped"),
    ]


def test_sections_with_nothing_to_show_are_absent(no_vega):
    assert Reader(made([examples.failed_early()])).ids() == {"summary", "results", "troubles"}
    assert not Reader(made([examples.ok_gpu()])).ids() & {"input", "scaling", "trace", "troubles", "skipped"}


def test_a_page_without_plots_needs_no_library():
    text = made([examples.failed_early()])
    assert len(text) < 40_000
    assert specs(text) == {}


def test_hostile_strings_stay_text(no_vega):
    reader = Reader(made([many.hostile(), examples.ok_gpu()]))
    assert "img" not in reader.tags
    assert reader.tags.count("script") == 3
    assert reader.tags.count("style") == 1
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    shown = "\n".join(reader.texts)
    assert "<script>alert(1)</script>" in shown
    assert "javascript:alert(3)" in shown
    assert not any("alert" in script for script in reader.scripts[1:])


def test_json_in_the_page_can_end_no_element_and_no_line(no_vega):
    text = made([many.hostile(), examples.ok_gpu()])
    block = text.split('id="plots">', 1)[1].split("</script>", 1)[0]
    assert not set(block) & set("<>&\u2028\u2029")
    assert any("<script>alert(1)" in str(row) for row in inline(specs(text)))


def test_strings_of_files_are_data_of_plots_and_scales_but_no_field_title_or_expression(no_vega):
    def outside(part, path=()):
        if isinstance(part, dict):
            for key, value in part.items():
                assert "alert" not in key
                yield from outside(value, (*path, key))
        elif isinstance(part, list):
            for value in part:
                yield from outside(value, path)
        elif isinstance(part, str) and "alert" in part:
            yield path

    paths = [
        path for spec in specs(made([many.hostile(), examples.ok_gpu()])).values() for path in outside(spec)
    ]
    assert paths
    assert all("values" in path or "datasets" in path or path[-2:] == ("scale", "domain") for path in paths)


def test_the_policy_forbids_every_request_and_names_the_scripts_by_hash(no_vega):
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', made([examples.ok_gpu()]))
    policy = policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 3
    assert "http" not in policy


def test_nothing_is_loaded_from_elsewhere(no_vega):
    text = made(many.mixture(), (SKIPPED,))
    reader = Reader(text)
    links = [value for _, name, value in reader.attributes if name in ("src", "href", "srcset", "action")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", text)


def test_the_library_is_in_the_page_as_one_script_that_ends_where_it_should():
    text = made([examples.ok_gpu()])
    assert text.count("</script>") == 3
    assert "vegaEmbed" in text
    assert 800_000 < len(text) < 2_000_000


def test_every_plot_has_a_place_a_caption_and_its_figures_as_text(no_vega):
    found = document.sections(many.collection(many.mixture()))
    plots = list(document.plots(found))
    assert len({plot.name for plot in plots}) == len(plots) == len(specs(document.page(found, NOW)))
    for plot in plots:
        assert plot.caption.endswith(".")
        assert plot.lines
        assert inline(plot.chart.to_dict())


def test_best_and_knee_are_marked_in_the_plot_and_told_in_words(no_vega):
    (section,) = (one for one in document.sections(many.collection(many.sweep())) if one.id == "throughput")
    (plot,) = section.plots
    marks = {
        (row["series"], row["batch"]): row["mark"] for row in inline(plot.chart.to_dict()) if "mark" in row
    }
    assert marks["resnet50 · bf16", 128] == "knee"
    assert marks["resnet50 · bf16", 256] == "best"
    assert marks["resnet50 · bf16", 64] == ""
    assert "resnet50 · bf16, batch 512: out of memory" in plot.lines


def unsteady(result, **fields):
    timing = result.timing.model_copy(update={"steady": False, "steady_reason": "it drifted by 9 %"})
    return many.changed(result, timing=timing, **fields)


def test_a_tile_says_how_many_runs_a_rate_is_of_and_that_they_were_not_steady():
    def tile(*results):
        return section(list(results), "summary").numbers[0]

    one = many.point(examples.ok_gpu(), 1, 64)
    assert tile(one) == ("2,489 images/s ± 1.0 %", "resnet50 · batch 64; 1 run")
    assert tile(unsteady(one)) == ("2,489 images/s ± 1.0 %, not steady", "resnet50 · batch 64; 1 run")
    assert tile(one, many.changed(one, id="b"), unsteady(one, id="c")) == (
        "2,489 images/s",
        "resnet50 · batch 64; median of 2 runs from 2,489 to 2,489, 1 more not steady",
    )


def test_what_a_plot_leaves_out_is_counted_in_its_caption():
    oom = many.changed(examples.oom(), id="oom")
    others = [
        many.changed(make(), id=make.__name__) for make in (examples.interrupted, examples.failed_early)
    ]
    results = [many.point(examples.ok_gpu(), 1, 64), *others, oom]
    assert section(results, "throughput").plots[0].caption.endswith(" Not drawn: 1 interrupted, 1 failed.")
    assert section(results, "memory").plots[0].caption.endswith("Not drawn: 1 oom, 1 interrupted, 1 failed.")
    (told,) = section(results, "steps").paragraphs
    assert told.endswith(
        "Without enough blocks, or not brought to their end: 1 oom, 1 interrupted, 1 failed."
    )


def test_only_series_with_several_batch_sizes_have_a_best_one():
    assert section([many.point(examples.ok_gpu(), 1, 64)], "throughput").tables == ()
    (table,) = section(many.sweep(), "throughput").tables
    assert {row[0].text for row in table.rows} == {"resnet50 · bf16", "resnet50 · fp32"}


def test_points_that_coincide_differ_in_size_and_words_that_would_overlap_are_left_out():
    same = [
        many.point(examples.ok_gpu(), 10 * place + batch, batch, model=model)
        for place, model in enumerate("abc")
        for batch in (64, 128)
    ]
    (plot,) = section(same, "throughput").plots
    rows = inline(plot.chart.to_dict())
    sizes = {row["size"] for row in rows if row.get("batch") == 64 and "size" in row}
    assert len(sizes) == 3
    assert [row["word"] for row in rows if "word" in row] == ["best and knee"]
    assert "Where points coincide" in plot.caption


def test_a_point_that_was_not_steady_is_hollow_and_is_not_the_best():
    results = [many.point(examples.ok_gpu(), 1, 64), unsteady(many.point(examples.ok_gpu(), 2, 128))]
    (plot,) = section(results, "throughput").plots
    marks = [layer["mark"] for layer in plot.chart.to_dict()["layer"] if layer["mark"]["type"] == "point"]
    assert [mark.get("filled") for mark in marks] == [None, True, False]
    assert plot.lines[0].endswith("best and knee")
    assert plot.lines[1].endswith("not steady")


def test_a_logarithmic_axis_has_few_and_even_ticks():
    results = [many.point(examples.ok_gpu(), 1, 64), many.changed(examples.with_rate(3.0), id="slow")]
    (plot,) = section(results, "throughput").plots
    (ticks,) = {tuple(axis["values"]) for axis in _axes(plot.chart.to_dict(), "y") if "values" in axis}
    assert ticks == (10.0, 100.0, 1000.0)


def _axes(spec, channel):
    return [
        layer["encoding"][channel]["axis"]
        for layer in spec["layer"]
        if "axis" in layer["encoding"].get(channel, {})
    ]


def test_one_far_block_does_not_rule_the_axis_of_all():
    run = many.point(examples.ok_gpu(), 1, 64)
    times = (*run.timing.block_s, 50 * run.timing.block_s[0])
    far = many.changed(run, timing=run.timing.model_copy(update={"block_s": times}))
    plot = section([far], "steps").plots[0]
    (low, high) = plot.chart.to_dict()["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert -5 < low < 0 < high < 5
    assert "1 of 31 ticks lie beyond" in plot.caption


def test_runs_of_one_name_are_told_apart_by_their_start():
    runs = [many.point(examples.ok_gpu(), number, 64) for number in range(2)]
    titles = [plot.title for plot in section(runs, "steps").plots[1:]]
    assert titles == ["1. resnet50 · batch 64 · 01-02 03:05:05", "2. resnet50 · batch 64 · 01-02 03:04:05"]


def test_small_memories_are_drawn_in_mebibytes():
    small = examples.ok_cpu().memory.model_copy(update={"peak_bytes_compiled": 5 * 2**20})
    (plot,) = section([many.changed(examples.ok_cpu(), memory=small)], "memory").plots
    assert "device in MiB" in plot.caption
    assert [row["height"] for row in inline(plot.chart.to_dict()) if "height" in row] == [5.0]


def test_a_legend_names_only_what_there_is():
    spec = section([many.two_models()[0]], "published").plots[0].chart.to_dict()
    assert "like for like" in str(spec)
    run = examples.ok_gpu()
    unlike = tuple(one.model_copy(update={"like_for_like": False}) for one in run.comparisons)
    spec = section([many.changed(run, comparisons=unlike)], "published").plots[0].chart.to_dict()
    domains = [layer["encoding"]["color"]["scale"]["domain"] for layer in spec["layer"][1:]]
    assert domains == [["this run", "not like for like"]] * 2


def test_a_warning_is_told_once_with_its_fields_and_how_many_there_are_like_it():
    reason = "it drifted by 9 %"
    several = tuple(f"{name}: no peak" for name in ("odd", "even"))
    blocks = tuple(f"block {number} took {number}.5 times the median" for number in (1, 2, 3))
    told = (f"not steady: {reason}", reason, *several, *blocks)
    runs = [unsteady(many.point(examples.ok_gpu(), number, 64), warnings=told) for number in range(2)]
    assert section(runs, "warnings").lines == (
        "resnet50 · batch 64 · 01-02 03:05:05 and 1 more: odd, even: no peak",
        "resnet50 · batch 64 · 01-02 03:05:05 and 1 more: block 1 took 1.5 times the median (and 2 more with "
        "other numbers)",
    )
    assert len(section(runs, "troubles").lines) == 1


def test_a_cpu_gets_words_instead_of_a_roofline():
    found = {one.id: one for one in document.sections(many.collection([examples.ok_cpu()]))}
    assert found["roofline"].plots == ()
    assert "cpu has no place under a roof" in found["roofline"].paragraphs[0]


def test_the_roofline_places_a_run_under_the_peak_and_the_bandwidth_of_its_chip():
    run = many.point(examples.ok_gpu(), 1, 64)
    (section,) = (one for one in document.sections(many.collection([run])) if one.id == "roofline")
    assert section.paragraphs == ()
    (line,) = section.plots[0].lines
    # 6.1e12 FLOPs / 1.1e11 bytes; 6.27e12 FLOPs in 64 / (2800 * 64 / 72) s
    assert "244 TFLOP/s at 55.5 FLOP/byte" in line
    assert "memory bandwidth" in line


def section(results, id):
    return next(one for one in document.sections(many.collection(results)) if one.id == id)


def test_the_longest_operations_of_the_newest_traced_runs_are_drawn_and_listed():
    results = [
        many.changed(many.point(examples.ok_gpu(), number, 64), trace=many.trace()) for number in range(6)
    ]
    found = section([*results, many.changed(results[0], id="none", trace=None)], "trace")
    assert "the newest 4 of 6 traced runs" in found.paragraphs[0]
    assert [number for number, _ in found.numbers] == ["93.1 %"] * 4
    assert len(found.plots) == len(found.tables) == 4
    assert found.plots[0].lines[0] == (
        "1. jvp(Model)/convolution.3/dot_general (convolution): 22.5 ms per step, 25.0 %"
    )
    assert [cell.text for cell in found.tables[0].rows[1]] == [
        *("2. fusion.12", "loop fusion", "11.2 ms", "12.5 %", "2.00"),
        "jit(step)/jvp(Model)/fusion.12/dot_general",
    ]


def test_more_kinds_of_operations_than_colours_end_as_other_ones():
    names = [f"kind-{number}" for number in range(11)]
    found = section([many.changed(examples.ok_gpu(), trace=many.trace(*names))], "trace")
    kinds = [row["kind"] for row in inline(found.plots[0].chart.to_dict())]
    assert kinds == [*names[:7], *["other"] * 4]


def test_a_trace_that_could_not_be_read_says_how_busy_the_device_was_if_that_is_known():
    unread = many.trace(busy=None).model_copy(update={"operations": ()})
    found = section([many.changed(examples.ok_gpu(), trace=unread)], "trace")
    assert found.numbers[0][0] == "n/a"
    assert found.plots == found.tables == ()


def test_forecasts_are_told_from_measurements_in_the_summary_the_table_and_the_plots():
    results = many.two_models()
    found = {one.id: one for one in document.sections(many.collection(results))}
    assert "14 results: 9 ok, 3 forecast, 1 oom, 1 failed." in found["summary"].paragraphs[0]
    rows = [[cell.text for cell in row[:2]] for row in found["results"].tables[0].rows]
    assert rows.count(["forecast · a · TPU v6 lite", "forecast"]) == 3
    for id in ("throughput", "memory"):
        (plot,) = found[id].plots
        assert "Forecasts are no measurements" in plot.caption
        kinds = {(row["series"], row["kind"]) for row in inline(plot.chart.to_dict()) if "kind" in row}
        assert kinds == {
            ("forecast · a · TPU v6 lite", "forecast"),
            ("a · NVIDIA H100 80GB HBM3", "measured"),
            ("b · NVIDIA H100 80GB HBM3", "measured"),
        }
    assert not any("forecast" in line for line in found["troubles"].lines)
    titles = [plot.title for plot in found["published"].plots]
    assert [title.partition(" ")[0] for title in titles] == ["forecast", "b", "a"]
    assert found["published"].plots[0].lines
    assert "this forecast: TPU v6 lite" in str(found["published"].plots[0].chart.to_dict())


def test_the_caption_of_the_memory_names_the_axis_that_the_limit_asks_for():
    small = section([many.point(examples.ok_gpu(), 1, 1)], "memory").plots[0]
    large = section([many.point(examples.ok_gpu(), 1, 64)], "memory").plots[0]
    assert "GiB (logarithmic)" in small.caption
    assert "GiB (from zero)" in large.caption


def test_a_page_of_forecasts_alone_still_says_so():
    found = document.sections(many.collection([many.forecast(many.point(examples.ok_gpu(), 1, 64))]))
    by_id = {one.id: one for one in found}
    assert by_id["throughput"].plots[0].lines[0].startswith("forecast · resnet50, batch 64: ")
    assert not {"roofline", "steps", "troubles"} & set(by_id)


def test_forecasts_are_a_table_of_every_kind_with_what_the_rates_rest_on(no_vega):
    alike = forecasts.beside(forecasts.compiled("v3-8", rate=8000.0), 0.3)
    rated = forecasts.compiled("v6e-1", power={"joules_per_sample": 0.1, "source": "rated, not drawn"})
    others = [forecasts.traced(), forecasts.too_large(), forecasts.failed()]
    found = section([alike, rated, *others], "forecasts")
    (table,) = found.tables
    column = {title: [row[place].text for row in table.rows] for place, title in enumerate(table.titles)}
    rows = {target: place for place, target in enumerate(column["target"])}
    assert column["expected"][rows["v3-8"]] == "2,000 images/s (1,800 to 2,200)"
    assert column["bound"][rows["v3-8"]] == "3,000"
    assert column["error"][rows["v3-8"]] == "+30.0 %"
    assert (column["expected"][rows["cpu"]], column["bound"][rows["cpu"]]) == ("-", "9,000")
    assert column["basis"][rows["cpu"]] == "traced program"
    assert column["needs"][rows["v5e-1"]] == "20.0 GiB of 16.0 GiB"
    assert [column["status"][rows[name]] for name in ("v5e-1", "v4-1")] == ["oom", "failed"]
    assert column["per watt"][rows["v6e-1"]] == "10.0"
    assert "per dollar" not in column
    assert found.lines[0] == f"calibration: {forecasts.CALIBRATION}"
    assert any("outside the interval" in line for line in found.lines)
    assert "forecasts" in Reader(made([alike, *others])).ids()


def test_a_bound_is_no_point_of_a_plot_and_an_expected_rate_has_its_interval():
    found = section([forecasts.compiled(rate=1000.0, share=0.2), forecasts.traced("v6e-1")], "throughput")
    (plot,) = found.plots
    assert plot.lines == ("forecast · resnet50, batch 256: 1,000 images/s (800 to 1,200)",)
    assert "their intervals those of the calibration" in plot.caption
    assert "Not drawn: 1 forecast." in plot.caption


def test_forecasts_of_several_sizes_are_dashed_and_pale_in_the_scaling_too():
    sizes = [forecasts.compiled(f"v6e-{count}", rate=2000.0 * count**0.9) for count in (1, 4, 16)]
    (plot,) = section([*sizes, *many.sweep()], "scaling").plots
    assert "Forecasts are no measurements" in plot.caption
    rows = inline(plot.chart.to_dict())
    assert {row["kind"] for row in rows if row["series"].startswith("forecast")} == {"forecast"}
    assert {row["kind"] for row in rows if not row["series"].startswith("forecast")} == {"measured"}
    (measured,) = section(many.sweep(), "scaling").plots
    assert "Forecasts" not in measured.caption


def test_scaling_is_relative_to_the_fewest_devices():
    (section,) = (one for one in document.sections(many.collection(many.sweep())) if one.id == "scaling")
    (plot,) = section.plots
    assert [line.rpartition(", ")[2] for line in plot.lines] == [
        *("100.0 % of ideal", "95.3 % of ideal", "90.8 % of ideal", "86.5 % of ideal")
    ]


def test_environment_tells_what_differs_from_what_is_the_same():
    other = many.changed(
        examples.ok_gpu(), id="b", software=examples.SOFTWARE.model_copy(update={"jax": "0.12.0"})
    )
    sections = document.sections(many.collection([examples.ok_gpu(), other]))
    differing, shared = next(one.tables for one in sections if one.id == "environment")
    assert [[cell.text for cell in row] for row in differing.rows] == [["jax", "0.12.0 (1); 0.10.2 (1)"]]
    assert "python" in [row[0].text for row in shared.rows]


def test_ten_thousand_results_are_all_in_the_table_and_few_in_the_plots(no_vega):
    text = made(list(many.thousands(10_000)))
    assert text.count("<tr>") > 10_000
    assert sum(len(inline(spec)) for spec in specs(text).values()) < 5_000
    assert len(specs(text)) < 30
    assert len(text) < 8_000_000
    assert "Shown for the newest 12 of 10,000 runs" in text
    assert "Drawn are 8 series of 20" in text
