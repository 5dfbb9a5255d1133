"""The calibrations that are shipped, and their words."""

import csv
import math
from pathlib import Path

import pytest

from trainbench.forecast import calibration, scoring
from trainbench.forecast.calibration import Calibration, Errors
from trainbench.forecast.schedule import Parameters
from trainbench.reference import figures

DOCS = Path(__file__).parents[2] / "docs"

MADE_UP = Calibration(
    Parameters(compiler_excess=0.4567),
    1.5432,
    12,
    ("tpu-v3", "tpu-v4"),
    ("resnet50",),
    Errors(0.123456, 0.9),
    Errors(0.2, 0.75),
)


def test_what_is_written_is_read_again_to_three_digits():
    again = calibration.parse(calibration.dump(MADE_UP))
    assert again.parameters == Parameters(compiler_excess=0.457)
    assert (again.factor, again.without_chip.median) == (1.54, 0.123)
    assert (again.chips, again.models, again.figures) == (MADE_UP.chips, MADE_UP.models, 12)


def test_the_interval_lies_around_the_rate():
    assert MADE_UP.interval(1543.2) == pytest.approx((1000.0, 1543.2 * 1.5432))


def test_the_words_name_what_was_never_among_the_figures():
    seen = MADE_UP.words("tpu-v3", "resnet50")
    assert "12 published figures of resnet50 on TPU v3, TPU v4" in seen
    assert "none of" not in seen
    assert "12%" in seen
    assert "none of TPU v6e (Trillium) or bert_large" in MADE_UP.words("tpu-v6e", "bert_large")


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_shipped_calibration_is_that_of_the_shipped_scores(platform):
    shipped = calibration.load()[platform]
    with (DOCS / f"forecast_scores_{platform}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert shipped.figures == len(rows)
    assert set(shipped.chips) == {row["chip"] for row in rows}
    assert set(shipped.models) == {row["model"] for row in rows}
    for key, found in (("without_chip", shipped.without_chip), ("without_model", shipped.without_model)):
        again = scoring.errors([(float(row[key]), float(row["published"])) for row in rows])
        assert found.median == pytest.approx(again.median, abs=2e-3)
        assert found.within_30 == pytest.approx(again.within_30, abs=2e-3)
    assert 1 < shipped.factor < math.inf


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_scored_figures_are_the_published_ones(platform):
    with (DOCS / f"forecast_scores_{platform}.csv").open() as file:
        for row in csv.DictReader(file):
            figure = figures.find(row["id"])
            published = figure.samples_per_s_per_chip or figure.value
            assert float(row["published"]) == pytest.approx(published, rel=1e-3)
            assert row["chip"] == figure.chip


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_shipped_parameters_make_physical_sense(platform):
    parameters = calibration.load()[platform].parameters
    for share in (
        parameters.matrix_efficiency,
        parameters.memory_efficiency,
        parameters.collective_efficiency,
    ):
        assert 0.2 < share <= 1
    assert 0 <= parameters.compiler_excess <= 1.5
    assert parameters.collective_latency_s >= 0
