"""The fit, on cases whose answer is known."""

import math

import pytest

from trainbench.forecast.timing import scoring
from trainbench.forecast.timing.calibration import Errors
from trainbench.forecast.timing.schedule import FULL_RATES, Parameters
from trainbench.forecast.timing.scoring import Case

GRID = {"memory_efficiency": [1.0, 0.8, 0.6, 0.4, 0.2]}


def case(chip, model, efficiency, *, slower_by=1.0, number=0):
    """A step of 1 s at the full bandwidth of main memory, really run at this share of it."""

    def expected(parameters):
        return parameters.memory_efficiency

    real = efficiency / slower_by
    return Case(f"{chip}-{model}-{number}", chip, model, real, expected)


def test_the_fit_finds_what_the_figures_were_made_with():
    cases = [case("v3", "a", 0.4), case("v4", "a", 0.4), case("v4", "b", 0.4)]
    calibration, scores = scoring.score(cases, GRID)
    assert calibration.parameters == Parameters(memory_efficiency=0.4)
    assert calibration.without_chip == calibration.without_model == Errors(0.0, 1.0)
    assert calibration.factor == pytest.approx(1.0)
    assert [one.fitted for one in scores] == pytest.approx([one.published for one in cases])
    assert (calibration.figures, calibration.chips, calibration.models) == (3, ("v3", "v4"), ("a", "b"))


def test_one_odd_figure_moves_the_fit_little():
    cases = [case(chip, "a", 0.4) for chip in ("v2", "v3", "v4")] + [case("v5e", "a", 0.4, slower_by=5)]
    assert scoring.fit(cases, GRID) == Parameters(memory_efficiency=0.4)


def test_many_figures_of_one_chip_and_model_count_as_much_as_one_of_another():
    many = [case("v3", "a", 1.0, number=number) for number in range(20)]
    others = [case("v4", "a", 0.2), case("v5e", "a", 0.2)]
    assert scoring.fit(many + others, GRID) == Parameters(memory_efficiency=0.2)


def test_a_figure_has_no_part_in_the_fit_that_it_is_scored_by():
    # Fitted to all, the majority wins; the others' chips are met by it, v5e is not.
    cases = [case("v3", "a", 0.2), case("v4", "a", 0.2), case("v5e", "b", 1.0)]
    _, scores = scoring.score(cases, GRID)
    assert scores[2].without_chip == 0.2
    found = scoring.left_out(cases, GRID, lambda one: one.model)
    assert found == {"a": Parameters(memory_efficiency=1.0), "b": Parameters(memory_efficiency=0.2)}


@pytest.mark.parametrize(
    ("chips", "models"),
    [
        (("a100-sxm4-40gb", "a100-sxm4-80gb"), ("resnet50", "bert_large")),
        (("tpu-v3", "tpu-v4"), ("vit_b16", "vit_s16")),
    ],
)
def test_chips_and_models_that_differ_in_size_only_are_left_out_together(chips, models):
    cases = [case(chip, model, 0.2) for chip, model in zip(chips, models, strict=True)]
    cases.append(case("h100-sxm5-80gb", "gpt2_124m", 1.0))
    _, scores = scoring.score(cases, GRID)
    told = [one.without_chip if chips[0].startswith("a100") else one.without_model for one in scores[:2]]
    assert told == [1.0, 1.0]


def test_errors_are_of_the_published_rate():
    found = scoring.errors([(110.0, 100.0), (80.0, 100.0), (200.0, 100.0)])
    assert found.median == pytest.approx(0.2)
    assert found.within_30 == pytest.approx(2 / 3)


def test_the_interval_is_students_for_a_figure_not_seen():
    # Two groups, each off by a factor of e to one side: a spread of 1 with one degree of freedom.
    cases = [case("v3", "a", 1.0), case("v4", "a", 1.0)]
    scores = [
        scoring.Score(one, one.published, one.published * away, one.published)
        for one, away in zip(cases, (math.e, 1 / math.e), strict=True)
    ]
    assert math.log(scoring.interval_factor(scores)) == pytest.approx(12.706 * math.sqrt(1.5), rel=1e-4)


@pytest.mark.parametrize("left_out", ["without_chip", "without_model"])
def test_the_interval_is_that_of_the_worse_of_unseen_chips_and_unseen_models(left_out):
    rates = {"fitted": 1.0, "without_chip": 1.1, "without_model": 1.1, left_out: 1.5}
    scores = [scoring.Score(Case(chip, chip, "a", 1.0, lambda _: 1.0), **rates) for chip in ("v3", "v4")]
    spread = math.log(scoring.interval_factor(scores)) / (12.706 * math.sqrt(1.5))
    assert spread == pytest.approx(math.log(1.5), rel=1e-4)


def test_one_group_alone_says_nothing_of_others():
    one = case("v3", "a", 1.0)
    assert scoring.interval_factor([scoring.Score(one, 1.0, 1.0, 1.0)]) == math.inf


def test_what_is_not_fitted_stays_at_its_default():
    fitted = scoring.fit([case("v3", "a", 0.4)], GRID)
    assert fitted.matrix_efficiency == FULL_RATES.matrix_efficiency == 1.0


def test_of_equally_good_values_the_first_is_taken():
    cases = [case("v3", "a", 1.0), case("v4", "a", 0.2)]
    assert scoring.fit(cases, GRID) == Parameters(memory_efficiency=1.0)
    assert all(values[0] == 1.0 for name, values in scoring.GRIDS["tpu"].items() if name != "roofline_reach")
