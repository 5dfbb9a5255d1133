"""Forecasts among what is compared: with what they pair, the ratio and its interval, and never a verdict."""

import pytest

from tests.results import forecasts
from tests.results.comparing import changed, loaded, timed
from trainbench.report import compare as report
from trainbench.results import compare, compare_gate
from trainbench.results.compare_pairing import pair

V6E = {"chip": "tpu-v6e", "device_kind": "TPU v6 lite"}


def compared(base, new):
    pairing = pair(loaded(*base), loaded(*new))
    return pairing, compare.compare(pairing.pairs)


def said(base, new, *, strict=False):
    pairing, found = compared(base, new)
    answer = compare_gate.answer(found, pairing, strict=strict)
    return answer, " ".join(report.text(report.words(found, answer, pairing)).split())


def test_two_forecasts_are_a_ratio_with_an_interval_and_no_verdict():
    old = forecasts.compiled(rate=3000.0, share=0.1)
    new = forecasts.compiled(rate=1500.0, share=0.2, id="new")
    _, (one,) = compared([old], [new])
    assert one.speed.ratio == pytest.approx(0.5)
    assert one.speed.interval == (pytest.approx(1200 / 3300), pytest.approx(1800 / 2700))
    assert one.verdicts == ()
    answer, text = said([old], [new])
    assert answer.code == 0
    assert "0.500 [0.364, 0.667]" in text
    assert "not judged: forecast" in text
    assert "no verdict (forecasts are never judged, and the pair has one" in text
    assert "1 pair: 0 worse, 0 better, 0 the same, 0 can't tell, 1 not judged" in text
    assert "warnings: BASE is a forecast by the compiled program: 42 published TPU figures" in text


def test_rates_are_per_chip():
    _, (one,) = compared([forecasts.compiled("v6e-4", rate=8000.0)], [forecasts.compiled("v6e-4", id="n")])
    assert (one.speed.base, one.speed.new) == (pytest.approx(2000), pytest.approx(750))


def test_more_memory_or_none_that_fits_is_no_regression_either():
    old = forecasts.compiled("v6e-1")
    more = changed(old, id="more", memory={"peak_bytes_compiled": 30 * forecasts.GIB})
    assert compared([old], [more])[1][0].verdicts == ()
    answer, text = said([old], [forecasts.too_large("v6e-1", id="none")])
    assert answer.code == 0
    assert "NEW oom: the step needs 20.0 GiB" in text


def test_a_strict_gate_does_not_pass_on_forecasts():
    answer, _ = said([forecasts.compiled()], [forecasts.compiled(id="new")], strict=True)
    assert answer.code == 1
    assert "forecasts are never judged" in answer.meaning


def test_a_forecast_pairs_with_a_measurement_of_the_same_work_where_nothing_else_pairs():
    run = timed(0.1, seed=1, hardware=V6E)
    other = timed(0.1, seed=2, hardware=V6E, workload={"precision": "fp32"})
    forecast = forecasts.compiled(rate=3000.0, config=run.config)
    pairing, (one,) = compared([run, other], [forecast])
    assert one.pair.base.results == (run,)
    assert [left.result for left in pairing.only_base] == [other]
    assert one.speed.ratio == pytest.approx(3000 / 2560, rel=0.01)
    low, high = one.speed.interval
    assert low < one.speed.ratio < high
    _, text = said([run, other], [forecast])
    assert "NEW is a forecast by the compiled program" in text
    assert "kind measured → forecast" in text


def test_measurements_that_pair_leave_forecasts_out():
    run, again = timed(0.1, seed=1, hardware=V6E), timed(0.12, seed=2, hardware=V6E)
    pairing, (one,) = compared([run], [again, forecasts.compiled()])
    assert one.pair.new.results == (again,)
    assert len(pairing.only_new) == 1
    assert one.regressed


def test_a_run_that_was_fed_and_a_forecast_are_of_the_same_step():
    fed = timed(0.1, seed=1, hardware=V6E, workload={"data": "imagenet"}, input={"mode": "real"})
    _, (one,) = compared([forecasts.compiled()], [fed])
    assert "data synthetic → imagenet" in one.environment


def test_a_bound_has_no_interval_and_says_that_it_is_one():
    run = timed(0.1, seed=1, hardware=V6E)
    _, (one,) = compared([run], [forecasts.traced("v6e-1", bound=9000.0)])
    assert one.speed.new == pytest.approx(9000)
    assert one.speed.interval is None
    assert "NEW is a bound by the traced program: it can be no faster, and will be slower" in one.warnings


def test_of_another_chip_it_is_said():
    _, (one,) = compared([forecasts.compiled("v5e-1")], [forecasts.compiled("v6e-1")])
    assert one.warnings[0].startswith("ON DIFFERENT CHIPS")


def test_forecasts_beside_a_regression_do_not_hide_it():
    base = [timed(0.1, seed=1, hardware=V6E), forecasts.compiled("v5e-1")]
    new = [timed(0.2, seed=2, hardware=V6E), forecasts.compiled("v5e-1", id="new")]
    answer, text = said(base, new)
    assert answer.code == 1
    assert "1 worse, 0 better, 0 the same, 0 can't tell, 1 not judged" in text


def test_forecasts_that_all_failed_are_compared_without_a_number():
    broken = forecasts.failed(config={"model": {"name": "resnet50"}})
    _, (one,) = compared([broken], [changed(broken, id="again")])
    assert (one.speed.base, one.speed.new, one.verdicts) == (None, None, ())
