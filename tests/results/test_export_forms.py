"""Logs, dashboards and event files: what their own readers make of them."""

import json
import struct
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from mlperf_logging.compliance_checker.mlp_parser import parse_file
from mlperf_logging.mllog import constants

from tests.results import examples, forecasts
from trainbench.results import export_mlperf, export_tensorboard
from trainbench.results.export_dashboard import dashboard, passed_over
from trainbench.results.record import Loss, Result
from trainbench.results.timed_blocks import timed_blocks

# Bencher's own schema, https://bencher.dev/bmf.json
BENCHER = {
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "number"},
                        "lower_value": {"type": "number"},
                        "upper_value": {"type": "number"},
                    },
                    "required": ["value"],
                }
            },
        }
    },
}


def changed(**changes: object) -> Result:
    return Result.model_validate(dict(examples.ok_gpu()) | changes)


def parsed(tmp_path: Path, *results: Result) -> list:
    log = tmp_path / "run.log"
    log.write_text("".join(f"{line}\n" for one in results for line in export_mlperf.lines(one)))
    lines, errors = parse_file(str(log), ruleset="5.1.0")
    assert not errors
    return lines


def test_blocks_are_a_series_of_speeds_by_step():
    series = list(timed_blocks(examples.ok_gpu()))
    assert [block.last_step for block in series] == [30, 40, 50]
    assert series[0].samples_per_s == pytest.approx(2560 / 0.915)
    assert not list(timed_blocks(examples.failed_early()))


def test_a_block_without_duration_has_no_speed():
    timing = dict(examples.TIMING) | {"block_s": (0.0, 5e-324, 1.0)}
    assert [block.last_step for block in timed_blocks(changed(timing=timing))] == [50]


def test_mlperfs_own_parser_reads_every_line(tmp_path):
    lines = parsed(tmp_path, *(example() for example in examples.ALL))
    assert len(lines) == sum(len(list(export_mlperf.lines(example()))) for example in examples.ALL)


def test_mlperf_lines_carry_settings_and_figures_under_the_formats_own_keys(tmp_path):
    lines = parsed(tmp_path, changed(config={"seed": 7}))
    values = {line.key: line.value["value"] for line in lines}
    assert values[constants.SEED] == 7
    assert values[constants.GLOBAL_BATCH_SIZE] == 256
    assert values[constants.GRADIENT_ACCUMULATION_STEPS] == 1
    assert values[constants.OPT_NAME] == "sgd"
    assert values["trainbench_throughput"] == 2791.4
    steps = [line.value for line in lines if line.key == "tracked_stats"]
    assert [one["metadata"][constants.STEP_NUM] for one in steps] == [30, 40, 50, 0, 29]
    assert {line.timestamp for line in lines} == {1767323045000.0}
    evaluated = {line.key: line.value["value"] for line in parsed(tmp_path, examples.ok_cpu())}
    assert (evaluated[constants.EVAL_ACCURACY], evaluated[constants.EVAL_SAMPLES]) == (0.941, 360)


def test_an_mlperf_log_claims_no_submission(tmp_path):
    lines = parsed(tmp_path, examples.ok_gpu())
    assert "not an MLPerf result" in lines[0].value["metadata"]["note"]
    claimed = {line.key for line in lines} & {constants.RUN_START, constants.RUN_STOP}
    assert not claimed
    assert not any(line.key.startswith("submission") for line in lines)


def test_a_text_that_looks_like_a_log_line_stays_a_text(tmp_path):
    evil = 'x\n:::MLLOG {"key": "run_stop"} é'
    lines = parsed(tmp_path, changed(id=evil))
    assert lines[0].key == "trainbench_result"
    assert lines[0].value["value"] == evil


def test_a_dashboard_gets_the_newest_run_that_was_steady():
    later = Result.model_validate(
        dict(examples.not_steady()) | {"id": "later", "created_utc": datetime(2027, 1, 1, tzinfo=UTC)}
    )
    entries = dashboard([later, examples.ok_gpu()], "github")
    assert entries == dashboard([examples.ok_gpu()], "github")
    assert dashboard([later], "bencher") == {}
    assert [passed_over([one]) for one in (later, examples.ok_gpu(), examples.oom())] == [1, 0, 0]


def test_a_dashboard_gets_what_is_better_when_bigger_apart_from_the_rest():
    bigger = dashboard([examples.ok_gpu()], "github")
    smaller = dashboard([examples.ok_gpu()], "github-smaller")
    assert [one["name"].rpartition(": ")[2] for one in bigger] == ["throughput", "mfu"]
    assert [one["name"].rpartition(": ")[2] for one in smaller] == [
        "step-time",
        "compile-time",
        "compiled-peak-memory",
    ]
    for entry in (*bigger, *smaller):
        assert {"name", "unit", "value", "extra"} <= set(entry) <= {"name", "unit", "value", "extra", "range"}
        assert isinstance(entry["value"], (int, float))
        assert all(isinstance(value, str) for key, value in entry.items() if key != "value")
    assert bigger[0]["value"] == 2791.4
    assert bigger[0]["range"] == "95 % interval 2779 to 2800"
    assert bigger[0]["unit"] == "samples/s"


def test_benchers_schema_takes_its_form():
    content = dashboard([examples.ok_gpu(), examples.ok_text()], "bencher")
    jsonschema.validate(json.loads(json.dumps(content)), BENCHER)
    first = content[
        "resnet50 bf16 batch 256 224 px sgd synthetic resident input on 1 x NVIDIA H100 80GB HBM3"
    ]
    assert first["throughput"] == {"value": 2791.4, "lower_value": 2779, "upper_value": 2800}
    assert first["compile-time"]["value"] == pytest.approx(34)


def test_a_dashboard_follows_the_newest_run_of_each_benchmark():
    later = changed(id="later", created_utc=examples.ok_gpu().created_utc.replace(year=2027))
    for order in ([later, examples.ok_gpu()], [examples.ok_gpu(), later]):
        entries = dashboard([*order, examples.ok_text()], "github")
        assert [one["extra"].partition(",")[0] for one in entries if "throughput" in one["name"]] == [
            "run later",
            f"run {examples.ok_text().id}",
        ]


def test_other_conditions_are_another_benchmark():
    work = examples.ok_gpu().workload
    assert work is not None
    others = [
        changed(workload=work.model_copy(update={"batch_size": 128})),
        changed(workload=work.model_copy(update={"gradient_accumulation": 4})),
        changed(workload=work.model_copy(update={"image_size": 160})),
        changed(timing=examples.TIMING.model_copy(update={"steps_per_call": 8})),
        *(
            changed(
                workload=work.model_copy(update={"model": "resnet50 (modified: width)"}),
                config={"model": {"architecture": {"width": width}}},
            )
            for width in (32, 48)
        ),
        changed(kind="forecast"),
        examples.ok_cpu(),
    ]
    names = {one["name"] for one in dashboard([examples.ok_gpu(), *others], "github")}
    assert len([name for name in names if name.endswith("throughput")]) == 9


def test_runs_that_are_not_ok_and_compilers_that_were_not_asked_give_no_figure():
    assert dashboard([examples.oom(), examples.failed_early(), examples.invalid_nan()], "github") == []
    assert "compile-time" not in next(iter(dashboard([examples.ok_cpu()], "bencher").values()))


def test_a_bound_has_no_place_on_a_dashboard_and_an_expected_rate_has_its_interval():
    content = dashboard([forecasts.compiled(), forecasts.traced(), forecasts.too_large()], "bencher")
    ((name, measures),) = content.items()
    assert name.startswith("forecast resnet50 bf16 batch 256")
    assert measures["throughput"] == pytest.approx(
        {"value": 3000.0, "lower_value": 2700.0, "upper_value": 3300.0}
    )
    assert dashboard([forecasts.traced()], "github") == []


def test_a_log_of_a_forecast_says_that_nothing_ran():
    for one in (forecasts.compiled(), forecasts.traced(), forecasts.failed()):
        lines = [json.loads(line.partition(" ")[2]) for line in export_mlperf.lines(one)]
        assert lines[0]["metadata"]["kind"] == "forecast"
        assert "nothing ran" in lines[0]["metadata"]["note"]
        assert "trainbench_throughput" not in {line["key"] for line in lines}
    keys = [line.split('"key": "')[1].partition('"')[0] for line in export_mlperf.lines(forecasts.compiled())]
    assert keys[-1] == "trainbench_expected_throughput"


def test_event_files_hold_what_is_expected_apart_from_what_was_measured(tmp_path):
    (expected,) = export_tensorboard.write([forecasts.compiled()], tmp_path)
    tags = {tag: value for tag, _, value in written(expected)}
    assert tags["expected_throughput/samples_per_s"] == 3000
    assert tags["bound/samples_per_s"] == 4500
    assert not any(tag.startswith("throughput/") for tag in tags)


def read_events(path: Path) -> list:
    """The events of a file: length, its checksum, content, its checksum; checksums are verified."""
    from tensorboardX.crc32c import crc32c
    from tensorboardX.proto.event_pb2 import Event

    def checked(content: bytes, masked: bytes) -> bytes:
        sum32 = crc32c(content)
        rotated = ((sum32 >> 15) | (sum32 << 17)) + 0xA282EAD8
        assert struct.unpack("<I", masked)[0] == rotated & 0xFFFFFFFF
        return content

    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", checked(data[:8], data[8:12]))
        events.append(Event.FromString(checked(data[12 : 12 + length], data[12 + length : 16 + length])))
        data = data[16 + length :]
    return events


def written(path: Path) -> list[tuple[str, int, float]]:
    first, *events = read_events(path)
    assert first.file_version == "brain.Event:2"
    return [(event.summary.value[0].tag, event.step, event.summary.value[0].simple_value) for event in events]


def test_event_files_give_back_blocks_losses_and_figures_of_the_run(tmp_path):
    (path,) = export_tensorboard.write([examples.ok_gpu()], tmp_path)
    assert path.relative_to(tmp_path).as_posix() == (
        f"{examples.ok_gpu().id}/events.out.tfevents.1767323045.trainbench"
    )
    found = written(path)
    assert [(tag, step) for tag, step, _ in found] == [
        *[("throughput/samples_per_s_of_block", step) for step in (30, 40, 50)],
        ("loss/train", 0),
        ("loss/train", 29),
        ("throughput/samples_per_s", 50),
        ("utilization/mfu", 50),
        ("utilization/hfu", 50),
        ("memory/peak_bytes_allocator", 50),
        ("memory/peak_bytes_compiled", 50),
    ]
    assert {tag: value for tag, _, value in found}["utilization/mfu"] == pytest.approx(0.0691)


def test_a_second_export_shows_no_run_twice(tmp_path):
    results = [examples.ok_gpu(), changed(id="other")]
    first = {path: path.read_bytes() for path in export_tensorboard.write(results, tmp_path)}
    export_tensorboard.write(results, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first
    assert len(first) == 2


@pytest.mark.parametrize("name", ["../../x", "..", ".", "", "/etc/x", "a/b", "nul\x00", "x" * 400])
def test_a_runs_name_cannot_lead_out_of_the_directory(tmp_path, name):
    (path,) = export_tensorboard.write([changed(id=name)], tmp_path / "logs")
    assert path.parent.parent == tmp_path / "logs"
    assert path.resolve().is_relative_to((tmp_path / "logs").resolve())


def test_names_that_look_alike_stay_two_runs(tmp_path):
    paths = export_tensorboard.write([changed(id="a/b"), changed(id="a.b"), changed(id="a_b")], tmp_path)
    assert len(set(paths)) == 3


def test_runs_without_a_figure_and_losses_that_are_not_finite_are_left_out(tmp_path):
    assert export_tensorboard.write([examples.failed_early()], tmp_path) == []
    (path,) = export_tensorboard.write([examples.invalid_nan()], tmp_path)
    assert [step for tag, step, _ in written(path) if tag == "loss/train"] == [0]


def test_the_largest_counts_a_record_may_hold_are_written(tmp_path):
    timing = dict(examples.TIMING) | {"warmup_steps": 2**63 - 1, "steps_per_block": 2**63 - 1}
    huge = changed(timing=timing, loss=Loss.from_curve([(2**63 - 1, 1e300)]))
    (path,) = export_tensorboard.write([huge], tmp_path)
    assert max(step for _, step, _ in written(path)) == 2**63 - 1
