"""The table: one row a result, the record's fields as columns, and the files it is written to."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import polars
import pytest

from tests.results import examples
from trainbench.results import export_tables
from trainbench.results.collect import Collection, Loaded
from trainbench.results.columns import Column, columns
from trainbench.results.record import Result
from trainbench.results.table import frame

BY_NAME = {column.name: column for column in columns()}


def collection(*results: Result) -> Collection:
    return Collection(tuple(Loaded(Path(f"{n}/result.json"), one) for n, one in enumerate(results)), ())


def changed(**changes: object) -> Result:
    return Result.model_validate(dict(examples.ok_gpu()) | changes)


def everything() -> polars.DataFrame:
    return frame(collection(*(example() for example in examples.ALL)))


def cells(table: polars.DataFrame) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export_tables.csv(table).decode(), newline="")))


def test_every_field_of_the_record_is_a_column_with_the_records_own_value():
    result = examples.ok_gpu()
    row = frame(collection(result)).row(0, named=True)
    assert row["file"] == "0/result.json"
    assert row["workload_model"] == "resnet50"
    assert row["throughput_samples_per_s"] == 2791.4
    assert (row["throughput_samples_per_s_ci95_low"], row["throughput_samples_per_s_ci95_high"]) == (
        2779,
        2800,
    )
    assert row["timing_step_time_s_median"] == 0.0917
    assert row["timing_block_s"] == [0.915, 0.917, 0.921]
    assert row["hardware_host_cores"] == 16
    assert row["created_utc"] == result.created_utc
    assert row["warnings"] == ["power: this driver reports none"]
    assert json.loads(row["comparisons"])[0]["accelerator"] == "H100"
    assert json.loads(row["loss_curve"]) == [[0, 6.93], [29, 6.41]]
    assert row["config.model.name"] == "resnet50"
    assert (row["config.batch_size"], row["config.steps"]) == ("auto", "30")
    assert json.loads(row["autos"])["batch_size"]["value"] == 256


def test_unknown_is_null_and_never_zero():
    table = everything()
    rows = {row["status_reason"]: row for row in table.iter_rows(named=True)}
    failed = rows["ValueError: no such layer"]
    known = {"file", "schema_version", "kind", "status", "status_reason", "id", "created_utc", "command"}
    assert {name for name, value in failed.items() if value is not None} == known | {
        "outcome",
        "autos",
        "comparisons",
        "levers",
        "processes",
        "segments",
        "warnings",
    }
    assert frame(collection(examples.ok_cpu()))["utilization_mfu"].to_list() == [None]


def test_the_outcome_stands_beside_the_status_and_tells_what_was_not_steady():
    table = frame(collection(examples.ok_gpu(), examples.not_steady(), examples.oom()))
    assert table.columns[table.columns.index("status") + 1] == "outcome"
    assert table["status"].to_list() == ["ok", "ok", "oom"]
    assert table["outcome"].to_list() == ["ok", "not steady", "oom"]


def test_a_loss_that_is_not_finite_stays_unknown():
    row = frame(collection(examples.invalid_nan())).row(0, named=True)
    assert row["loss_last"] is None
    assert row["loss_finite"] is False
    assert json.loads(row["loss_curve"])[1] == [10, None]


def test_the_types_of_the_columns_do_not_depend_on_the_results():
    some = frame(collection(examples.failed_early())).schema
    assert {name: some[name] for name in some if not name.startswith("config.")} == {
        name: kind for name, kind in everything().schema.items() if not name.startswith("config.")
    }
    assert frame(collection()).schema == frame(collection(examples.failed_early())).schema


def test_names_are_unique_and_every_column_says_what_it_is():
    assert len(BY_NAME) == len(columns())
    assert all(column.scope for column in columns())
    silent = {column.name for column in columns() if not column.description}
    assert silent == {"schema_version", "kind", "status"}


@pytest.mark.parametrize(
    ("name", "unit", "scope"),
    [
        ("throughput_samples_per_s", "samples/s", "over all devices"),
        ("throughput_samples_per_s_ci95_low", "samples/s", "over all devices"),
        ("throughput_samples_per_s_per_chip", "samples/s/chip", "per chip"),
        ("workload_batch_size", "", "per device"),
        ("hardware_memory_bytes", "bytes", "of one chip"),
        ("hardware_host_memory_bytes", "bytes", "of process 0"),
        ("memory_peak_bytes_allocator", "bytes", "of the fullest device"),
        ("timing_step_time_s_median", "s", "run"),
        ("timing_step_time_s_ci95_high", "s", "run"),
        ("timing_step_time_s_cv", "fraction", "run"),
        ("utilization_mfu", "fraction", "run"),
        ("power_mean_w", "W", "over all devices"),
        ("forecast_bound_samples_per_s", "samples/s", "over all devices"),
        ("forecast_compiler_samples_per_s", "samples/s", "over all devices"),
        ("forecast_beside_samples_per_s", "samples/s", "over all devices"),
        ("forecast_beside_error", "fraction", "run"),
        ("forecast_unestimated_fraction", "fraction", "run"),
    ],
)
def test_units_and_scopes(name, unit, scope):
    assert (BY_NAME[name].unit, BY_NAME[name].scope) == (unit, scope)


def test_each_number_that_names_a_unit_has_one():
    def unnamed(column: Column) -> bool:
        marks = ("_s", "bytes", "fraction", "flops", "per_s", "_w")
        return column.kind in ("number", "integer") and column.name.endswith(marks) and not column.unit

    assert not [column.name for column in columns() if unnamed(column)]


def test_a_time_of_another_zone_and_the_first_day_of_the_calendar_are_utc():
    zone = timezone(timedelta(hours=14))
    times = [datetime(2026, 1, 2, 14, tzinfo=zone), datetime(1, 1, 1, tzinfo=zone)]
    table = frame(collection(*(changed(created_utc=time) for time in times)))
    assert table["created_utc"].to_list()[0] == datetime(2026, 1, 2, tzinfo=UTC)
    assert table["created_utc"].null_count() == 0


def test_a_name_that_is_no_text_is_shown_with_escapes():
    path = Path("caf\udce9.json")
    table = frame(Collection((Loaded(path, examples.ok_gpu()),), ()))
    assert table["file"].to_list() == ["caf\\xe9.json"]


def test_parquet_gives_back_the_same_table():
    table = everything()
    assert polars.read_parquet(io.BytesIO(export_tables.parquet(table))).equals(table)


def test_csv_gives_back_every_number_text_and_list():
    table = everything()
    for row, cell in zip(table.iter_rows(named=True), cells(table), strict=True):
        assert set(cell) == set(row)
        for name, value in row.items():
            if value is None or value == "":
                assert cell[name] == ""
            elif isinstance(value, bool):
                assert cell[name] == str(value).lower()
            elif isinstance(value, (int, float)):
                assert float(cell[name]) == value
            elif isinstance(value, list):
                assert json.loads(cell[name]) == value
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(cell[name]) == value
            else:
                assert cell[name] == value


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)", "\tx", "-", "--1", "-1-1"]
)
def test_what_a_spreadsheet_would_run_is_quoted_in_csv_and_in_csv_only(text):
    table = frame(collection(changed(command=text)))
    assert cells(table)[0]["command"] == f"'{text}"
    assert polars.read_parquet(io.BytesIO(export_tables.parquet(table)))["command"].to_list() == [text]


@pytest.mark.parametrize("value", [-1, -0.5, 1e-8, "+3", "-2.5e-3", ".5"])
def test_numbers_are_not_quoted(value):
    text = value if isinstance(value, str) else json.dumps(value)
    assert cells(frame(collection(changed(config={"key": value}))))[0]["config.key"] == text
    drift = dict(examples.TIMING) | {"drift_fraction": -0.25}
    assert cells(frame(collection(changed(timing=drift))))[0]["timing_drift_fraction"] == "-0.25"


def test_commas_quotes_and_lines_stay_in_their_cell_and_control_characters_do_not_reach_a_terminal():
    text = 'a,"b"\nc;\x1b[31md\x00'
    assert cells(frame(collection(changed(command=text))))[0]["command"] == 'a,"b"\nc;?[31md?'
    hostile_key = frame(collection(changed(config={'=x,"\n': 1})))
    assert cells(hostile_key)[0]['config.=x,"\n'] == "1"


def test_ten_thousand_rows_make_a_table():
    table = frame(collection(*[examples.ok_gpu()] * 10_000))
    assert table.height == 10_000
    assert table["throughput_samples_per_s"].sum() == pytest.approx(27_914_000)
