"""A run as log lines in the format of MLPerf training logs, which mlperf_logging's parser reads.

Line format and keys: mlperf_logging 4.1 (`mllog/mllog.py`, `mllog/constants.py`). `tracked_stats`, which is
no constant there, is what submissions use for figures by step.

This is a format, not a submission. There are no `submission_*`, `run_start` and `run_stop` lines: a
measurement of throughput trains to no target, and the record knows no clock time but that of the run's start.
"""

import json
from collections.abc import Iterator
from typing import Any

from trainbench.results.record import Result
from trainbench.results.timed_blocks import timed_blocks

NO_SUBMISSION = (
    "a throughput measurement by trainbench in MLPerf's log format; not an MLPerf result, not checked "
    "against the rules of MLPerf; every time_ms is the start of the run"
)
NOTHING_RAN = (
    "a forecast by trainbench in MLPerf's log format: nothing ran; not an MLPerf result, not checked against "
    "the rules of MLPerf; every time_ms is when it was made"
)
_TOKEN = ":::MLLOG"

Event = tuple[str, Any, dict[str, Any]]


def lines(result: Result) -> Iterator[str]:
    """The log lines of one run, without line ends. Each names the run in its metadata."""
    time_ms = int(result.created_utc.timestamp() * 1000)
    for key, value, metadata in _events(result):
        content = {
            "namespace": "",
            "time_ms": time_ms,
            "event_type": "POINT_IN_TIME",
            "key": key,
            "value": value,
            "metadata": {"run": result.id} | metadata,
        }
        # The parser takes the last token of a line for its start; a text in the record may hold one.
        text = json.dumps(content, allow_nan=False).replace(_TOKEN, f"\\u003a{_TOKEN[1:]}")
        yield f"{_TOKEN} {text}"


def _events(result: Result) -> Iterator[Event]:
    note = NO_SUBMISSION if result.kind == "measured" else NOTHING_RAN
    about = {"note": note, "kind": result.kind, "status": result.status, "command": result.command}
    yield "trainbench_result", result.id, about
    yield from (event for event in _settings(result) if event[1] is not None)
    yield from _measured(result)


def _settings(result: Result) -> Iterator[Event]:
    yield "seed", _number(result.config.get("seed")), {}
    if work := result.workload:
        yield "global_batch_size", work.global_batch_size, {"batch_size_per_device": work.batch_size}
        yield "gradient_accumulation_steps", work.gradient_accumulation, {}
        yield "max_sequence_length", work.sequence_length, {}
        yield "opt_name", work.optimizer, {}
        yield "trainbench_workload", work.model, {"precision": work.precision, "data": work.data}
    if hardware := result.hardware:
        devices = {"device_count": hardware.device_count, "process_count": hardware.process_count}
        yield "trainbench_hardware", hardware.device_kind, devices


def _measured(result: Result) -> Iterator[Event]:
    for block in timed_blocks(result):
        yield "tracked_stats", {"throughput": block.samples_per_s}, {"step_num": block.last_step}
    for step, loss in result.loss.curve if result.loss else ():
        if loss is not None:
            yield "tracked_stats", {"train_loss": loss}, {"step_num": step}
    if speed := result.throughput:
        interval = {"ci95": speed.samples_per_s_ci95, "unit": "samples/s", "scope": "over all devices"}
        what = "trainbench_throughput" if result.kind == "measured" else "trainbench_expected_throughput"
        yield what, speed.samples_per_s, interval
    if held_out := result.evaluation:
        about = {"metric": held_out.metric, "split": held_out.split}
        yield "eval_accuracy", held_out.value, about
        yield "eval_samples", held_out.samples, {}


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
