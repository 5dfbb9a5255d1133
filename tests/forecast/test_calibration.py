"""The calibrations that are shipped, and their words."""

from pathlib import Path

import pytest

from trainbench.forecast.tables import documents
from trainbench.forecast.timing import calibration, score_table, scoring
from trainbench.forecast.timing.calibration import Calibration, Errors
from trainbench.forecast.timing.schedule import ROOFLINE_REACH, Parameters
from trainbench.reference import figures

DOCS = Path(__file__).parents[2] / "docs"

MADE_UP = Calibration(
    Parameters(memory_efficiency=0.4567),
    1.5432,
    12,
    ("tpu-v3", "tpu-v4"),
    ("resnet50",),
    Errors(0.123456, 0.9),
    Errors(0.2, 0.75),
)


def test_what_is_written_is_read_again_to_three_digits():
    again = calibration.parse(calibration.dump(MADE_UP))
    assert again.parameters == Parameters(memory_efficiency=0.457)
    assert (again.factor, again.without_chip.median) == (1.54, 0.123)
    assert (again.chips, again.models, again.figures) == (MADE_UP.chips, MADE_UP.models, 12)


def test_the_interval_lies_around_the_rate():
    assert MADE_UP.interval(1543.2) == pytest.approx((1000.0, 1543.2 * 1.5432))


def test_the_words_name_what_was_never_among_the_figures():
    seen = MADE_UP.words("tpu-v3", "resnet50")
    assert "12 published figures of resnet50 on TPU v3, TPU v4" in seen
    assert "none of" not in seen
    assert "their chip, 90% of them are met within 30 % (median error 12%)" in seen
    assert "their model, 75% of them are met within 30 % (median error 20%)" in seen
    assert "none of TPU v6e (Trillium) or bert_large" in MADE_UP.words("tpu-v6e", "bert_large")


def _score(row):
    rates = [float(row[name]) for name in ("published", "fitted", "without_chip", "without_model")]
    case = scoring.Case(row["id"], row["chip"], row["model"], rates[0], lambda parameters: rates[1])
    return scoring.Score(case, *rates[1:])


def shipped_scores(platform):
    return score_table.read((DOCS / f"forecast_scores_{platform}.csv").read_text())


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_shipped_calibration_is_that_of_the_shipped_scores(platform):
    shipped = calibration.load()[platform]
    rows = shipped_scores(platform)
    assert shipped.figures == len(rows)
    assert set(shipped.chips) == {row["chip"] for row in rows}
    assert set(shipped.models) == {row["model"] for row in rows}
    for key, found in (("without_chip", shipped.without_chip), ("without_model", shipped.without_model)):
        again = scoring.errors([(float(row[key]), float(row["published"])) for row in rows])
        assert found.median == pytest.approx(again.median, abs=2e-3)
        assert found.within_30 == pytest.approx(again.within_30, abs=2e-3)
    assert shipped.factor == pytest.approx(scoring.interval_factor([_score(row) for row in rows]), rel=5e-3)


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_scored_figures_are_the_published_ones(platform):
    for row in shipped_scores(platform):
        figure = figures.find(row["id"])
        published = figure.samples_per_s_per_chip or figure.value
        assert float(row["published"]) == pytest.approx(published, rel=1e-3)
        assert row["chip"] == figure.chip


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_document_has_the_shipped_scores(platform):
    table = score_table.markdown(shipped_scores(platform))
    assert not documents.differs(DOCS / "forecast_scores.md", score_table.name(platform), table)


@pytest.mark.parametrize("platform", sorted(calibration.load()))
def test_the_shipped_parameters_make_physical_sense(platform):
    parameters = calibration.load()[platform].parameters
    for share in (
        parameters.matrix_efficiency,
        parameters.memory_efficiency,
        parameters.collective_efficiency,
    ):
        assert 0.2 < share <= 1
    assert parameters.roofline_reach == ROOFLINE_REACH
    assert parameters.collective_latency_s >= 0


def test_scores_are_shown_with_their_errors():
    case = scoring.Case("a-figure", "tpu-v3", "resnet50", 2000.0, lambda parameters: 1.0)
    text = score_table.written([scoring.Score(case, 2100.4, 1500.0, 2000.0)])
    (row,) = score_table.read(text)
    assert (row["published"], row["fitted"]) == ("2000", "2100")
    shown = score_table.markdown([row])
    assert "| `a-figure` | 2,000 | 2,100 (+5%) | 1,500 (-25%) | 2,000 (+0%) |" in shown
