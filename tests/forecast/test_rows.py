"""Forecasts as rows: per chip, as CSV and back, with the figure of the same chip; and tables in documents."""

import pytest

from tests.results import forecasts
from trainbench.errors import UserError
from trainbench.forecast.tables import documents, rows
from trainbench.reference import figures

IMAGES = {"task": "image_classification"}
COMMAND = "python -m trainbench forecast model=resnet50"


def of(result):
    return rows.row(result, f"{COMMAND} target={result.forecast.target}", figures.load())


def test_rates_are_per_chip_with_interval_limit_and_share_of_collectives():
    found = of(forecasts.compiled("v3-8", rate=8000.0, share=0.1, workload=IMAGES))
    assert (found.model, found.size, found.batch_size, found.target) == ("resnet50", "224 px", 256, "v3-8")
    assert (found.chips, found.devices) == (4, 8)
    assert (found.bound, found.compiler) == (3000, 2400)
    assert (found.expected, found.low, found.high) == (2000, 1800, 2200)
    assert (found.limit, found.limit_share, found.collectives) == ("HBM", 0.6, 0.1)
    assert (found.jax, found.libtpu, found.date) == ("0.10.2", "0.0.42.1", "2026-02-02")


def test_the_figure_of_the_same_chip_that_is_nearest_stands_beside_it():
    found = of(forecasts.compiled("v3-8", workload=IMAGES))
    figure = figures.find(found.published_id)
    assert (figure.chip, figure.model) == ("tpu-v3", "resnet50")
    assert found.published == figure.samples_per_s_per_chip
    none = of(forecasts.compiled("v6e-1", workload=IMAGES | {"model": "vit_b16"}))
    assert (none.published, none.published_id) == (None, "")


def test_a_bound_and_what_failed_have_no_expected_rate():
    bound = of(forecasts.traced("v6e-1"))
    assert (bound.expected, bound.low, bound.bound, bound.collectives) == (None, None, 9000, None)
    full = of(forecasts.too_large())
    assert (full.status, full.needs_bytes, full.bound) == ("oom", 20 * forecasts.GIB, None)
    failed = of(forecasts.failed())
    assert (failed.status, failed.model, failed.batch_size) == ("failed", "resnet50", None)


def test_rows_come_back_from_csv_as_they_were(tmp_path):
    made = [
        of(one)
        for one in (forecasts.compiled(), forecasts.traced("v4-1"), forecasts.too_large(), forecasts.failed())
    ]
    file = tmp_path / "x.csv"
    file.write_text(rows.written(made))
    assert rows.read(file) == made
    assert rows.read(tmp_path / "none.csv") == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "model,target\nresnet50,v3-1,more\n"])
def test_another_table_is_refused(tmp_path, text):
    file = tmp_path / "x.csv"
    file.write_text(text)
    with pytest.raises(UserError, match="is not a table of forecasts"):
        rows.read(file)


def test_a_row_made_again_takes_its_old_place():
    first, second = of(forecasts.compiled("v3-1")), of(forecasts.compiled("v4-1"))
    again = of(forecasts.compiled("v3-1", rate=1.0))
    assert rows.merged([first, second], again) == [again, second]
    assert rows.merged([first], second) == [first, second]


def test_a_table_is_replaced_between_its_comments_and_nothing_else():
    before, after = documents.comments("x")
    text = f"above\n{before}\nold\n{after}\nbelow\n"
    once = documents.replaced(text, "x", "| new |\n")
    assert once == f"above\n{before}\n| new |\n{after}\nbelow\n"
    assert documents.replaced(once, "x", "| new |") == once


def test_a_document_without_one_place_for_the_table_is_a_mistake(tmp_path):
    before, after = documents.comments("x")
    for text in ("", before, f"{after}\n{before}", f"{before}{after}" * 2):
        file = tmp_path / "x.md"
        file.write_text(text)
        with pytest.raises(UserError, match="one place for the table"):
            documents.write(file, "x", "| new |")
