import pytest

from tests.results import examples
from trainbench.report.sweep import Row, best_lines, sweep_table, told

POINTS = [
    Row("batch_size=64", examples.with_rate(2500.0, (2480.0, 2510.0)), ""),
    Row("batch_size=128", examples.with_rate(2780.0, (2770.0, 2790.0)), ""),
    Row("batch_size=256", examples.with_rate(2791.4, (2779.0, 2800.0)), ""),
    Row("batch_size=512", examples.oom(), "exit code 3"),
    Row("batch_size=1024", None, "killed by signal 9"),
]


def row(table: str, label: str) -> str:
    """The table's one row of this point, before the notes, with single blanks."""
    rows = [" ".join(text.split()) for text in table.splitlines() if label in text.split()]
    assert len(rows) == 1, f"{label!r} is in {len(rows)} rows of\n{table}"
    return rows[0]


def test_a_row_has_rate_interval_step_time_mfu_memory_and_compile_time():
    table = sweep_table(POINTS)
    expected = "batch_size=64 ok 2,500 0.8 % 91.7 ms 6.9 % 61.0 GiB 34.0 s"
    assert row(table, "batch_size=64") == expected
    assert "images/s" in table.splitlines()[0]


def test_best_is_marked_and_so_is_what_cannot_be_told_from_it():
    table = sweep_table(POINTS)
    assert row(table, "batch_size=256").startswith("* ")
    assert row(table, "batch_size=128").startswith("~ ")
    assert row(table, "batch_size=64").startswith("batch_size=64")
    assert table.splitlines()[-1] == "* best of its model; ~ its 95 % interval overlaps the best one's"


def test_failed_points_are_rows_and_their_reasons_stand_below():
    table = sweep_table(POINTS)
    assert row(table, "batch_size=512") == "batch_size=512 oom - - - - - -"
    assert row(table, "batch_size=1024") == "batch_size=1024 failed - - - - - -"
    below = table.splitlines()
    assert "batch_size=512: compiling needs 91.2 GiB of 79.6 GiB; try batch_size=128; exit code 3" in below
    assert "batch_size=1024: killed by signal 9" in below


def test_only_ok_points_can_be_best():
    partial = examples.interrupted()
    table = sweep_table([Row("a", partial), Row("b", POINTS[0].result), Row("c", POINTS[1].result)])
    assert row(table, "a").startswith("a interrupted 2,792 n/a")
    assert row(table, "c").startswith("* c")


def test_one_point_alone_is_not_called_best():
    assert "*" not in sweep_table([POINTS[0], POINTS[3]])


def test_different_samples_are_not_ranked():
    table = sweep_table(
        [Row("model=resnet50", examples.ok_gpu()), Row("model=bert_base", examples.ok_text())]
    )
    assert "*" not in table
    assert "samples/s" in table.splitlines()[0]


def test_a_point_that_was_not_steady_says_so():
    assert " not steady 2,791" in row(sweep_table([Row("x", examples.not_steady())]), "x")


def test_cpu_rows_have_the_compilers_memory_and_no_mfu():
    assert row(sweep_table([Row("x", examples.ok_cpu())]), "x").endswith("91.7 ms - 1.20 GiB 34.0 s")


@pytest.mark.parametrize("width", [80, 100])
def test_table_keeps_to_its_width(width):
    lines = sweep_table(POINTS, width=width).splitlines()
    table = lines[: 2 + len(POINTS)]
    assert max(len(text) for text in table) <= width
    assert all(sum(label in text for text in table) == 1 for label in ("=64 ", "=128 ", "=256 ", "=512 "))


def test_square_brackets_in_overrides_are_not_markup():
    assert "axes=[data,fsdp]" in sweep_table([Row("axes=[data,fsdp]", examples.ok_gpu())])


def test_no_escape_codes_even_when_colour_is_forced(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert "\x1b" not in sweep_table(POINTS)


def test_points_without_intervals_are_ranked_by_their_rates():
    table = sweep_table([Row("a", examples.with_rate(10.0)), Row("b", examples.with_rate(9.0))])
    assert row(table, "a").startswith("* a")
    assert row(table, "b").startswith("b")


def at_batch(batch_size, samples_per_s, **settings):
    result = examples.with_rate(samples_per_s)
    assert result.workload is not None
    work = result.workload.model_copy(update={"batch_size": batch_size})
    return result.model_copy(
        update={"workload": work, "config": {"batch_size": batch_size, "steps": 30, **settings}}
    )


def test_the_last_line_names_the_best_point_and_the_knee():
    rows = [
        Row(f"batch_size={batch}", at_batch(batch, rate))
        for batch, rate in ((64, 2500.0), (128, 2780.0), (256, 2791.0))
    ]
    assert best_lines(rows) == [
        "best: batch_size=256, 2,791 images/s; knee (within 5 % of it): batch_size=128, 2,780"
    ]


def test_the_knee_is_that_of_the_series_which_the_best_point_belongs_to():
    rows = [
        Row("batch_size=8 seed=0", at_batch(8, 100.0, seed=0)),
        Row("batch_size=16 seed=0", at_batch(16, 101.0, seed=0)),
        Row("batch_size=8 seed=1", at_batch(8, 90.0, seed=1)),
        Row("batch_size=16 seed=1", at_batch(16, 200.0, seed=1)),
    ]
    assert best_lines(rows) == [
        "best: batch_size=16 seed=1, 200 images/s; knee (within 5 % of it): batch_size=16, 200"
    ]


def test_without_several_batches_there_is_no_knee_and_without_several_points_no_best():
    rows = [Row(f"seed={seed}", at_batch(8, 100.0 + seed, seed=seed)) for seed in (0, 1)]
    assert best_lines(rows) == ["best: seed=1, 101 images/s"]
    assert best_lines(rows[:1]) == []
    assert best_lines([Row("a", examples.oom()), Row("b", None)]) == []


def of_model(model, batch_size, samples_per_s):
    result = at_batch(batch_size, samples_per_s, model=model)
    return result.model_copy(update={"workload": result.workload.model_copy(update={"model": model})})


def test_each_model_has_a_best_of_its_own():
    rows = [
        Row(f"model={model} batch_size={batch}", of_model(model, batch, rate))
        for model, batch, rate in (
            ("vit", 8, 50.0),
            ("vit", 16, 60.0),
            ("resnet", 8, 900.0),
            ("resnet", 16, 905.0),
        )
    ]
    assert best_lines(rows) == [
        "best for vit: model=vit batch_size=16, 60.0 images/s; knee (within 5 % of it): batch_size=16, 60.0",
        "best for resnet: model=resnet batch_size=16, 905 images/s; "
        "knee (within 5 % of it): batch_size=8, 900",
    ]
    assert sum(line.startswith("*  model=") for line in sweep_table(rows).splitlines()) == 2


def test_what_was_not_steady_is_best_only_where_nothing_was_steady_and_says_so():
    unsteady = examples.not_steady()
    rows = [Row("a", unsteady), Row("b", at_batch(8, 10.0)), Row("c", at_batch(16, 12.0))]
    assert best_lines(rows)[0].startswith("best: c, 12.0 images/s")
    assert best_lines([Row("a", unsteady), Row("b", unsteady)]) == ["best: a, 2,791 images/s, not steady"]


@pytest.mark.parametrize(
    ("row_of", "said"),
    [
        (Row("a", examples.with_rate(10.0, (9.0, 11.0))), "10.0 images/s ± 10.0 %"),
        (Row("a", examples.not_steady()), "2,791 images/s ± 0.4 %, not steady"),
        (Row("a", examples.oom()), "oom"),
        (Row("a", None, "killed by signal 9"), "failed: killed by signal 9"),
    ],
)
def test_one_line_tells_how_a_point_ended(row_of, said):
    assert told(row_of) == said
