"""Results in series: what they are named after, their points, best and knee."""

from tests.report import many
from tests.results import examples
from trainbench.report import series


def runs(*results):
    return series.runs(many.collection(list(results)).loaded)


def test_names_hold_what_differs_and_no_more():
    bf16 = many.point(examples.ok_gpu(), 1, 64)
    fp32 = many.point(examples.ok_gpu(), 2, 64, precision="fp32")
    assert [run.series for run in runs(bf16)] == ["resnet50"]
    assert [run.series for run in runs(bf16, fp32)] == ["resnet50 · fp32", "resnet50 · bf16"]
    assert [run.name for run in runs(bf16)] == ["resnet50 · batch 64"]


def test_a_setting_that_the_record_names_nowhere_else_tells_series_apart():
    one = many.changed(many.point(examples.ok_gpu(), 1, 64), config={"attention": "xla", "seed": 0})
    other = many.changed(many.point(examples.ok_gpu(), 2, 64), config={"attention": "cudnn", "seed": 1})
    assert {run.series for run in runs(one, other)} == {
        'resnet50 · attention="xla"',
        'resnet50 · attention="cudnn"',
    }


def test_settings_of_a_group_are_compared_within_one_choice_of_the_group():
    def of(number, model, width):
        config = {"model": {"name": model, "architecture": {"width": width}, "batch_size": number}}
        return many.changed(many.point(examples.ok_gpu(), number, 64, model=model), config=config)

    assert [run.series for run in runs(of(1, "a", 64), of(2, "b", 96))] == ["b", "a"]
    assert [run.series for run in runs(of(1, "a", 64), of(2, "a", 96))] == [
        "a · architecture.width=96",
        "a · architecture.width=64",
    ]


def test_what_follows_from_another_part_of_the_name_is_left_out():
    found = runs(many.changed(examples.ok_gpu(), id="a"), many.changed(examples.ok_text(), id="b"))
    names = {run.series for run in found}
    assert not any("tokens" in name or "adamw" in name for name in names)


def test_a_failed_run_has_a_name():
    assert [run.name for run in runs(examples.failed_early())] == ["no model"]


def test_points_best_knee_and_what_ran_out_of_memory():
    first = series.series(runs(*many.sweep()))
    by_name = {one.name: one for one in first}
    found = by_name["resnet50 · bf16"]
    assert [point.batch for point in found.points] == [8, 16, 32, 64, 128, 256]
    assert (found.best, found.knee, found.out_of_memory) == (256, 128, (512,))
    assert by_name["resnet50 · fp32"].out_of_memory == ()
    assert by_name["resnet50 · bf16 · 8 devices"].best == 64


def test_several_results_at_one_point_give_a_median_with_their_range():
    results = [many.changed(examples.with_rate(rate), id=str(rate)) for rate in (2000.0, 2100.0, 2500.0)]
    (one,) = series.series(runs(*results))
    (point,) = one.points
    assert (point.low, point.rate, point.high) == (2000.0, 2100.0, 2500.0)
    assert len(point.runs) == 3


def test_what_was_not_steady_is_a_point_only_where_nothing_was_and_never_beats_what_was():
    def unsteady(number, batch):
        result = many.point(examples.ok_gpu(), number, batch)
        timing = result.timing.model_copy(update={"steady": False})
        return many.changed(result, timing=timing)

    steady = [many.point(examples.ok_gpu(), number, batch) for number, batch in ((1, 64), (2, 16))]
    (one,) = series.series(runs(*steady, unsteady(3, 64), unsteady(4, 256)))
    assert [(point.batch, point.steady, point.passed_over) for point in one.points] == [
        (16, True, 0),
        (64, True, 1),
        (256, False, 0),
    ]
    assert (one.best, one.knee) == (64, 64)
    (alone,) = series.series(runs(unsteady(1, 64), unsteady(2, 256)))
    assert (alone.best, alone.at(alone.best).steady) == (256, False)


def test_runs_that_started_together_are_told_apart_by_their_directory():
    first = many.changed(many.point(examples.ok_gpu(), 1, 64), id="a")
    assert {run.label for run in runs(first, many.changed(first, id="b"))} == {
        "resnet50 · batch 64 · a",
        "resnet50 · batch 64 · b",
    }


def test_names_that_are_alike_as_far_as_they_are_shown_stay_apart():
    config = {f"setting_{number}": "x" * 30 for number in range(9)}
    first = many.changed(many.point(examples.ok_gpu(), 1, 64), config=config)
    other = many.changed(many.point(examples.ok_gpu(), 2, 64), config=config | {"setting_8": "y"})
    long = {"model": "m" * 100}
    found = runs(
        many.changed(first, workload=first.workload.model_copy(update=long)),
        many.changed(other, workload=other.workload.model_copy(update=long)),
    )
    assert len({run.series for run in found}) == 2
    assert all(len(run.series) <= 90 for run in found)
    assert len(series.series(found)) == 2


def test_a_probe_is_no_point_and_a_forecast_is_one_of_its_own():
    measured = many.point(examples.ok_gpu(), 1, 64)
    probe = many.changed(measured, id="probe", kind="probe")
    found = series.series(runs(measured, probe, many.forecast(measured, "NVIDIA H100 80GB HBM3")))
    assert {(one.name, one.measured) for one in found} == {
        ("resnet50", True),
        ("forecast · resnet50", False),
    }


def test_only_runs_that_are_ok_become_points():
    bad = [many.changed(make(), id=make.__name__) for make in (examples.invalid_nan, examples.interrupted)]
    assert series.series(runs(*bad, examples.failed_early())) == ()
