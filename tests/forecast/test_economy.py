"""What an expected rate costs in dollars and joules: by chip, not by device, and from a source."""

import pytest

from tests.results import forecasts
from trainbench.forecast import economy, text
from trainbench.forecast.targets import find
from trainbench.hardware import chips
from trainbench.report import forecasts as shown
from trainbench.results.forecast_rate import Rate, rate


def test_energy_of_a_sample_is_rated_power_of_all_chips_over_the_rate():
    watts = chips.by_id("tpu-v3").rated_power.watts
    found = economy.power(find("v3-8"), rate=8000.0)  # 4 chips with two devices each
    assert found.joules_per_sample == pytest.approx(4 * watts / 8000)
    assert found.mean_w is None
    assert found.source.startswith("rated, not drawn: 262 W highest measured (https://")


def test_dollars_are_of_all_chips_with_the_price_of_the_table_or_of_the_user():
    price = chips.by_id("tpu-v6e").price.usd_per_hour
    found = economy.cost(find("v6e-4"), 1000.0, None)
    assert found.usd_per_million_samples == pytest.approx(4 * price / 3600 / 1000 * 1e6)
    assert "GCP" in found.price_source
    assert economy.cost(find("v6e-4"), 1000.0, 1.0).usd_per_million_samples == pytest.approx(4e6 / 3.6e6)


def test_what_no_source_gives_is_absent():
    assert economy.power(find("v6e-1"), 1000.0) is None
    assert economy.cost(find("tpu7x-1"), 1000.0, None) is None
    assert economy.power(find("cpu"), 10.0) is None
    assert economy.cost(find("cpu"), 10.0, None) is None


def with_economy(target):
    made = forecasts.compiled(target)
    speed = made.throughput.samples_per_s
    sections = {
        "power": economy.power(find(target), speed),
        "cost": economy.cost(find(target), speed, None),
    }
    return made.model_copy(update=sections)


def test_values_are_shown_per_watt_and_per_dollar_with_what_they_rest_on():
    one = with_economy("v3-1")
    assert shown.per_watt(one) == pytest.approx(3000 / 262)
    assert shown.per_dollar(one) == pytest.approx(3000 * 3600 / 2.0)
    watt, dollar = shown.economy(one)
    assert watt.startswith("11.5 images/s per watt · rated, not drawn: 262 W highest measured")
    assert dollar.startswith("5,400,000 images per dollar · $2.00/h, GCP")


def test_columns_are_those_of_which_something_is_known():
    found = shown.economy_columns([with_economy("v3-1"), with_economy("v6e-1"), forecasts.too_large()])
    assert list(found) == ["images/s/W", "images/$"]
    assert found["images/s/W"][1:] == [None, None]
    assert found["images/$"][1] == pytest.approx(3000 * 3600 / 2.7)
    assert shown.economy_columns([forecasts.traced("tpu7x-1"), forecasts.failed()]) == {}


def test_the_table_of_several_targets_has_them_as_columns_with_their_basis_below():
    drawn = text.table([with_economy("v3-1"), with_economy("v6e-1"), forecasts.too_large()]).splitlines()
    assert "images/s/W" in drawn[0]
    assert "images/$" in drawn[0]
    first, second, third = (line.split() for line in drawn[2:5])
    assert (first[-6:-4], second[-6:-4]) == (["11.5", "5,400,000"], ["-", "4,000,000"])
    assert third.count("-") >= 5
    assert "v3-1: images/s/W: rated, not drawn: 262 W highest measured" in drawn
    assert "v6e-1: images/$: $2.70/h, GCP, us-central1 (also us-east1), undated, host not stated" in drawn
    assert "images/$" not in text.table([forecasts.traced(), forecasts.failed()])


def test_a_bound_has_neither_and_is_called_at_most():
    bound = forecasts.traced("v3-8", bound=8000.0)
    assert (shown.per_watt(bound), shown.per_dollar(bound), shown.economy(bound)) == (None, None, [])
    assert rate(bound) == Rate(2000.0, "at most")
    assert shown.words(bound) == "at most 2,000 images/s per chip (traced program)"


def test_an_expected_rate_is_per_chip_with_its_interval_and_limit():
    one = forecasts.compiled("v3-8", rate=8000.0, share=0.2)
    assert rate(one) == Rate(2000.0, "expected", (1600.0, 2400.0))
    said = "expected 2,000 images/s per chip, 95 %: 1,600 to 2,400 (compiled program) · HBM 60.0 %"
    assert shown.words(one) == said


def test_why_there_is_no_rate_stands_in_its_place():
    assert shown.words(forecasts.too_large()).startswith("oom: the step needs 20.0 GiB")
    assert shown.words(forecasts.failed()) == "failed: INTERNAL: no"
    assert rate(forecasts.failed()) is None


def test_a_run_beside_it_is_told_with_the_error_and_whether_the_interval_holds_it():
    near = forecasts.beside(forecasts.compiled("v3-8", rate=920.0), -0.08, "jax: run 0.10.1, forecast 0.10.2")
    assert shown.beside(near) == [
        ("measured", "1,000 images/s, run run-on-the-chip"),
        ("error", "-8.0 % (expected / measured - 1); the run is inside the interval"),
        ("unlike", "jax: run 0.10.1, forecast 0.10.2"),
    ]
    far = forecasts.beside(forecasts.compiled(rate=1200.0), 0.2)
    assert shown.beside(far)[1][1].endswith("the run is outside the interval")
    bound = forecasts.beside(forecasts.traced(), 0.25)
    text = "+25.0 % (bound / measured - 1); the run reached 80.0 % of the bound"
    assert shown.beside(bound)[1] == ("error", text)
    wrong = forecasts.beside(forecasts.traced(), -0.1)
    assert shown.beside(wrong)[1][1].endswith("the run is faster than the bound: one of the two is wrong")
    assert shown.beside(forecasts.compiled()) == []
