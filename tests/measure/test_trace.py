"""Traces: recorded with JAX's profiler, read with xprof."""

import subprocess

import jax
import jax.numpy as jnp
import pytest
from jax.profiler import ProfileData
from xprof import profile_data

from trainbench.measure import trace, trace_reader
from trainbench.measure.trace_events import Event, alone_ns, busy_ns, innermost, self_times_ns
from trainbench.measure.trace_reader import FILES

# A stream of a GPU with two kernels of one instruction of program 4, and one that copies meanwhile.
GPU = """
planes { name: "/device:GPU:0"
  stat_metadata { key: 1 value { id: 1 name: "hlo_op" } }
  event_metadata { key: 1 value { id: 1 name: "gemm_kernel" } }
  event_metadata { key: 2 value { id: 2 name: "MemcpyH2D" } }
  lines { id: 13 name: "Stream #13(Compute)"
    events { metadata_id: 1 offset_ps: 1000000000 duration_ps: 3000000000 }
    events { metadata_id: 1 offset_ps: 5000000000 duration_ps: 1000000000 } }
  lines { id: 14 name: "Stream #14(MemcpyH2D)"
    events { metadata_id: 2 duration_ps: 2000000000 } } }
"""
# A loop of a TPU with a fusion in it, and that fusion once more after it; steps tell the same time again.
TPU = """
planes { name: "/device:TPU:0"
  stat_metadata { key: 1 value { id: 1 name: "hlo_category" } }
  stat_metadata { key: 2 value { id: 2 name: "tf_op" } }
  stat_metadata { key: 3 value { id: 3 name: "program_id" } }
  stat_metadata { key: 4 value { id: 4 name: "symbol_id" } }
  event_metadata { key: 1 value { id: 1 name: "%while.1 = (s32[]) while(%t)" display_name: "while.1"
    stats { metadata_id: 1 str_value: "while" }
    stats { metadata_id: 3 uint64_value: 4 } stats { metadata_id: 4 uint64_value: 11 } } }
  event_metadata { key: 2 value { id: 2 name: "%fusion.2 = f32[8] fusion(%p)" display_name: "fusion.2"
    stats { metadata_id: 1 str_value: "convolution fusion" }
    stats { metadata_id: 2 str_value: "jit(step)/attention/dot_general:" }
    stats { metadata_id: 3 uint64_value: 4 } stats { metadata_id: 4 uint64_value: 12 } } }
  event_metadata { key: 3 value { id: 3 name: "0" } }
  lines { id: 1 name: "Steps" events { metadata_id: 3 duration_ps: 10000000000 } }
  lines { id: 3 name: "XLA Ops"
    events { metadata_id: 1 offset_ps: 1000000000 duration_ps: 4000000000 }
    events { metadata_id: 2 offset_ps: 2000000000 duration_ps: 3000000000 }
    events { metadata_id: 2 offset_ps: 6000000000 duration_ps: 1000000000 } } }
"""


class Layer:
    """A program of one matrix product under a name."""

    def __init__(self):
        def step(x):
            with jax.named_scope("my_layer"):
                return jnp.tanh(x @ x)

        self.value = jnp.ones((64, 64))
        self.compiled = jax.jit(step).lower(self.value).compile()
        self.calls = 0

    def issue(self):
        self.value = self.compiled(self.value)
        self.calls += 1

    def fence(self):
        self.value.block_until_ready()


@pytest.fixture(scope="module")
def layer():
    return Layer()


@pytest.fixture(scope="module")
def traced(layer, tmp_path_factory):
    before, directory = layer.calls, tmp_path_factory.mktemp("run") / "trace"
    found = trace.trace_steps(layer, 5, 2, directory, layer.compiled.as_text)
    return found, layer.calls - before, directory


@pytest.fixture
def session(tmp_path):
    """Makes a session of a trace's text or bytes."""

    def made(content):
        text = isinstance(content, str)
        data = ProfileData.text_proto_to_serialized_xspace(content) if text else content
        (tmp_path / "host.xplane.pb").write_bytes(data)
        return tmp_path

    return made


def test_whole_calls_are_traced_and_kept_where_xprof_looks_for_them(traced):
    found, calls, directory = traced
    assert found.problem is None
    assert (calls, found.recording.steps) == (3, 6), "5 steps are 3 calls of 2"
    assert found.recording.wall_s > 0
    assert [file.parent.parent for file in directory.rglob(FILES)] == [directory / "plugins" / "profile"]
    assert {file.suffix for file in found.recording.session.iterdir()} == {".pb", ".gz"}, "nothing of xprof's"


def test_a_cpus_trace_tells_its_operations_by_name_kind_and_origin(traced):
    found, calls, _ = traced
    reading = found.reading
    assert "XLA's events" in reading.source
    assert len(reading.busy_s) == 1
    assert 0 < reading.busy_s[0] <= found.recording.wall_s
    product = next(each for each in reading.operations if "dot" in (each.origin or ""))
    assert "my_layer" in product.origin
    assert product.category in ("dot", "custom fusion", "output fusion", "loop fusion")
    assert product.occurrences == calls
    assert sum(each.self_time_s for each in reading.operations) == pytest.approx(reading.self_time_s)


def test_a_tpus_operations_come_from_xprofs_table_and_a_loop_has_no_time_of_those_inside_it(session):
    reading = trace_reader.read(session(TPU))
    assert "hlo_stats" in reading.source
    assert reading.busy_s == (pytest.approx(0.005),)
    fusion, loop = reading.operations
    assert (fusion.name, fusion.category) == ("fusion.2", "convolution fusion")
    assert fusion.origin == "jit(step)/attention/dot_general"
    assert (fusion.self_time_s, fusion.occurrences) == (pytest.approx(0.004), 2)
    assert (loop.name, loop.self_time_s) == ("while.1", pytest.approx(0.001))


def test_each_device_is_busy_by_itself(session):
    reading = trace_reader.read(session(TPU + TPU.replace("TPU:0", "TPU:1").replace("4000000000", "1")))
    assert reading.busy_s == (pytest.approx(0.005), pytest.approx(0.004))


def test_a_gpu_without_its_program_shows_its_kernels_and_overlaps_count_once(session):
    reading = trace_reader.read(session(GPU))
    assert reading.busy_s == (pytest.approx(0.005),), "1 ms of copying ran beside the product"
    assert [each.name for each in reading.operations] == ["gemm_kernel", "MemcpyH2D"]
    assert reading.self_time_s == pytest.approx(0.006)


def test_a_gpus_operations_come_from_the_program_that_its_trace_holds(traced, session):
    """The trace of the CPU holds the program; a GPU's kernels point to its instructions."""
    (file,) = traced[0].recording.session.glob(FILES)
    name = traced[0].reading.operations[0].name
    stats = f'stats {{ metadata_id: 1 str_value: "{name}" }} stats {{ metadata_id: 2 uint64_value: NUMBER }}'
    kernels = GPU.replace('name: "hlo_op" } }', 'name: "hlo_op" } }\n' + PROGRAM_ID)
    kernels = kernels.replace("000000000 }", "000000000 " + stats + " }")
    number = program_number(file)
    gpu = ProfileData.text_proto_to_serialized_xspace(kernels.replace("NUMBER", number))
    reading = trace_reader.read(session(file.read_bytes() + gpu))
    assert "hlo_stats" in reading.source
    assert reading.operations[0].name == name
    assert reading.operations[0].category is not None


PROGRAM_ID = 'stat_metadata { key: 2 value { id: 2 name: "program_id" } }'


def program_number(file):
    # Not JAX's reader, which warns of itself (jax 0.12).
    planes = profile_data.ProfileData.from_file(file).planes
    events = (event for plane in planes for line in plane.lines for event in line.events)
    return next(str(value) for event in events for key, value in event.stats if key == "program_id")


def test_a_trace_of_nothing_has_no_operations(session):
    reading = trace_reader.read(session(b""))
    assert (reading.operations, reading.busy_s) == ((), ())


@pytest.mark.parametrize(
    "content", [b"no trace", ProfileData.text_proto_to_serialized_xspace(TPU)[:-40]], ids=["other", "cut"]
)
def test_what_cannot_be_read_is_a_problem_and_no_crash(session, content):
    with pytest.raises(trace.TraceError, match="the trace was not read: ValueError"):
        trace.read(session(content), "")


def test_a_session_without_files_is_a_problem(tmp_path):
    with pytest.raises(trace.TraceError, match="no trace was written"):
        trace.read(tmp_path, "")


def test_a_reader_that_dies_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(trace.sys, "executable", "/bin/false")
    with pytest.raises(trace.TraceError, match="xprof ended with code 1"):
        trace.read(tmp_path, "")


def test_a_reader_that_does_not_end_is_a_problem(tmp_path, monkeypatch):
    def late(*arguments, timeout, **options):
        raise subprocess.TimeoutExpired(arguments, timeout)

    monkeypatch.setattr(trace.subprocess, "run", late)
    with pytest.raises(trace.TraceError, match="longer than 600 s"):
        trace.read(tmp_path, "")


def test_a_profiler_that_is_in_use_costs_the_trace_only(layer, tmp_path):
    jax.profiler.start_trace(tmp_path / "other")
    try:
        found = trace.trace_steps(layer, 1, 1, tmp_path / "trace", layer.compiled.as_text)
    finally:
        jax.profiler.stop_trace()
    assert found.recording is None
    assert "no trace was recorded" in found.problem
    assert "one profile" in found.problem.lower()


def test_a_directory_that_cannot_be_written_costs_the_trace_only(layer, tmp_path):
    (tmp_path / "trace").write_text("in the way")
    found = trace.trace_steps(layer, 1, 1, tmp_path / "trace", layer.compiled.as_text)
    assert found.recording is None
    assert "File exists" in found.problem
    # The next trace works again.
    assert trace.trace_steps(layer, 1, 1, tmp_path / "next", layer.compiled.as_text).problem is None


def test_a_program_that_fails_while_it_is_traced_leaves_the_profiler_free(layer, tmp_path):
    class Failing(Layer):
        def fence(self):
            raise RuntimeError("RESOURCE_EXHAUSTED: too much\nat some place")

    found = trace.trace_steps(Failing(), 1, 1, tmp_path / "trace", layer.compiled.as_text)
    assert found.problem == "no trace was recorded: RESOURCE_EXHAUSTED: too much"
    assert trace.trace_steps(layer, 1, 1, tmp_path / "next", layer.compiled.as_text).problem is None


def test_time_that_several_operations_share_counts_once():
    assert busy_ns([]) == 0
    assert busy_ns([Event("b", 5, 15), Event("a", 0, 10), Event("in a", 1, 2), Event("c", 20, 21)]) == 16


def test_what_runs_inside_an_operation_is_not_its_own_time():
    line = [Event("loop", 0, 100), Event("body", 10, 60), Event("dot", 20, 50), Event("after", 100, 110)]
    own = {event.name: ns for event, ns in self_times_ns(line)}
    assert own == {"loop": 50, "body": 20, "dot": 30, "after": 10}
    assert sum(own.values()) == busy_ns(line)


# Between two collectives a product runs, for a part of the time of the first on another stream.
COLLECTIVES = """
planes { name: "/device:GPU:0"
  event_metadata { key: 1 value { id: 1 name: "a_kernel" } }
  event_metadata { key: 2 value { id: 2 name: "ncclDevKernel_AllReduce_Sum_f32_RING_LL" } }
  lines { id: 13 name: "Stream #13(Compute)"
    events { metadata_id: 1 duration_ps: 3000000000 } }
  lines { id: 14 name: "Stream #14(Compute)"
    events { metadata_id: 2 offset_ps: 2000000000 duration_ps: 3000000000 }
    events { metadata_id: 2 offset_ps: 6000000000 duration_ps: 500000000 } } }
"""
# On a TPU the time that a transfer is waited for is in the second half; the loop around them is no work.
TPU_COLLECTIVES = TPU.replace("%fusion.2 = f32[8] fusion(%p)", "%all-reduce-done.1 = f32[8] x(%s)")
PROGRAM = """HloModule test, is_scheduled=true, num_partitions=2

ENTRY %main () -> () {
  %p = f32[8] parameter(0)
  %all-reduce-start.1 = f32[8] all-reduce-start(%p), replica_groups={{0,1}}
  ROOT %all-reduce-done.1 = f32[8] all-reduce-done(%all-reduce-start.1)
}
"""


@pytest.mark.parametrize(("content", "alone_s"), [(COLLECTIVES, 0.0025), (TPU_COLLECTIVES, 0.004)])
def test_time_with_a_collective_and_nothing_else_is_communication(session, content, alone_s):
    reading = trace_reader.read(session(content), program=PROGRAM)
    assert reading.communicating_s == (pytest.approx(alone_s),)
    assert reading.communicating_s < reading.busy_s


@pytest.mark.parametrize("content", [GPU, TPU])
def test_a_trace_without_a_collective_says_nothing_of_communication(session, content):
    assert trace_reader.read(session(content), program=PROGRAM).communicating_s == ()


def test_a_program_that_is_not_understood_costs_the_share_alone(session):
    reading = trace_reader.read(session(COLLECTIVES), program="words")
    assert reading.communicating_s == ()
    assert reading.operations


def test_what_ran_beside_others_was_not_alone():
    some = [Event("a", 0, 10), Event("b", 5, 15), Event("c", 30, 40)]
    assert alone_ns(some, []) == 25
    assert alone_ns(some, [Event("d", 8, 35)]) == 8 + 5
    assert alone_ns([], [Event("d", 8, 35)]) == 0


def test_only_what_nothing_runs_inside_is_innermost():
    line = [Event("loop", 0, 100), Event("body", 10, 60), Event("dot", 20, 50), Event("after", 100, 110)]
    assert [event.name for event in innermost(reversed(line))] == ["dot", "after"]
    assert list(innermost([])) == []
