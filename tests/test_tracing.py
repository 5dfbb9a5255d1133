"""trace=true: from what is asked for to the record and the screen."""

import importlib.util
import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.building import request
from tests.results import examples
from tests.test_assemble import OK, parts_of
from trainbench import run
from trainbench.assemble import assemble
from trainbench.errors import UserError
from trainbench.measure.trace import Recording, Trace
from trainbench.measure.trace_reader import Operation, Reading
from trainbench.report import console
from trainbench.report.progress import ProgressLine
from trainbench.results import record

CHIP = "NVIDIA H100 80GB HBM3"
OPERATIONS = (
    Operation("fusion.1", "convolution fusion", "jit(step)/attention/dot_general", 0.6, 20),
    Operation("a_kernel_with_a_name_of_more_than_thirty_letters", None, None, 0.3, 10),
)
READING = Reading(OPERATIONS, self_time_s=1.0, busy_s=(0.9, 0.5), source="hlo_stats of xprof 2.24.2")


def recording(directory, wall_s=1.0):
    (directory / "host.xplane.pb").write_bytes(bytes(2**20))
    return Recording(steps=5, wall_s=wall_s, session=directory)


def traced(trace, *overrides):
    return assemble(parts_of(CHIP, 2, 0.2, *overrides, trace=trace), OK)


@pytest.mark.parametrize(("asked", "steps"), [("true", 5), ("false", None), ("1", 1), ("20", 20)])
def test_a_trace_is_asked_for_by_yes_no_or_a_number_of_steps(asked, steps):
    assert request(f"trace={asked}").trace == steps
    assert request().trace is None


@pytest.mark.parametrize("asked", ["0", "-1", "yes please", "1.5", "null", "1000", "[5]"])
def test_other_traces_are_refused(asked):
    with pytest.raises(UserError, match="trace=") as caught:
        request(f"trace='{asked}'" if " " in asked else f"trace={asked}")
    assert "true, false, or a number of steps" in caught.value.allowed
    assert caught.value.fix.endswith("trace=true")


def test_without_xprof_a_trace_is_refused_before_the_run(monkeypatch):
    found = importlib.util.find_spec

    def without_xprof(name, *rest):
        return None if name == "xprof" else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without_xprof)
    assert request("trace=false").trace is None
    with pytest.raises(UserError, match="trace=true needs xprof") as caught:
        request("trace=true")
    assert "pip install xprof" in caught.value.fix


def test_the_record_tells_times_per_step_and_device(tmp_path):
    result = traced(Trace(recording(tmp_path), READING), "trace=true")
    first, second = result.trace.operations
    assert first.self_time_s == pytest.approx(0.6 / 5 / 2)
    assert (first.share, first.occurrences) == (pytest.approx(0.6), 2)
    assert first.origin == "jit(step)/attention/dot_general"
    assert (second.category, second.origin) == (None, None)
    assert result.trace.device_busy_fraction == pytest.approx(0.7), "the mean of 0.9 and 0.5"
    assert (result.trace.steps, result.trace.path, result.trace.size_bytes) == (5, "trace", 2**20)
    assert not any(line.startswith(("trace:", "tracing:")) for line in result.warnings)


def test_a_device_busier_than_possible_is_not_believed(tmp_path):
    within = traced(Trace(recording(tmp_path, wall_s=0.697), READING), "trace=true")
    assert within.trace.device_busy_fraction == 1
    beyond = traced(Trace(recording(tmp_path, wall_s=0.5), READING), "trace=true")
    assert beyond.trace.device_busy_fraction is None
    assert "1.40 times" in beyond.reason("device_busy_fraction")


def test_a_trace_without_operations_says_so(tmp_path):
    empty = Reading((), self_time_s=0.0, busy_s=(), source="x")
    result = traced(Trace(recording(tmp_path), empty), "trace=true")
    assert result.trace.operations == ()
    assert result.trace.device_busy_fraction is None
    assert "no operation" in result.reason("device_busy_fraction")


@pytest.mark.parametrize("kept", [False, True])
def test_a_problem_of_the_profiler_is_shown_and_costs_nothing_else(tmp_path, kept):
    trace = Trace(recording(tmp_path) if kept else None, problem="no permission")
    result = traced(trace, "trace=true")
    assert result.status == "ok"
    assert (result.trace is not None) == kept
    assert "warning: tracing: no permission" in console.warnings(result)
    plain = traced(None)
    assert (result.timing, result.throughput) == (plain.timing, plain.throughput)


def test_a_run_that_ended_before_its_trace_says_so():
    assert "warning: tracing: the run ended before it" in console.warnings(traced(None, "trace=true"))


def test_without_a_trace_nothing_is_said():
    result = traced(None)
    assert result.reason("trace") == "recorded with trace=true only"
    assert not any("trac" in line for line in console.warnings(result))
    assert not any(line.startswith("trace") for line in console.summary(result))


def test_the_screen_has_one_line_with_the_longest_operations(tmp_path):
    section = traced(Trace(recording(tmp_path), READING), "trace=true").trace
    shown = record.Result.model_validate(dict(examples.ok_gpu()) | {"trace": section})
    lines = console.summary(shown, tmp_path / "result.json")
    (line,) = (text for text in lines if text.startswith("trace "))
    assert "top ops: attention/dot_general 60.0 %, a_kernel_with_a_name_of_more_" in line
    assert "device busy 70.0 %" in line
    assert "5 steps in trace/ (1.00 MiB)" in line
    assert len(lines) <= 10
    assert len(line) <= 170


@pytest.mark.parametrize(
    ("index", "count", "profiler_starts", "steps"),
    [(0, 1, True, 6), (0, 1, False, 0), (0, 2, True, 6), (0, 2, False, 6), (1, 2, True, 6)],
)
def test_every_process_takes_the_steps_that_one_traces(monkeypatch, index, count, profiler_starts, steps):
    program = SimpleNamespace(steps=0)

    def take(program, steps, steps_per_call):
        program.steps += -(-steps // steps_per_call) * steps_per_call

    def trace_steps(program, steps, steps_per_call, directory, text):
        if profiler_starts:
            take(program, steps, steps_per_call)
        return Trace(problem=None if profiler_starts else "busy")

    monkeypatch.setattr(run, "run_calls", take)
    monkeypatch.setattr(run, "trace_steps", trace_steps)
    parts = parts_of(CHIP, 2, 0.2, "trace=true")
    parts.directory = None if index else Path("out")
    parts.team = SimpleNamespace(index=index, names=("a", "b")[:count])
    run.trace(parts, 5, program, 3, ProgressLine(io.StringIO()))
    assert program.steps == steps
