"""What devices send each other: from a compiled step to the record's section and its warnings."""

from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from tests.test_assemble import OK, parts_of
from trainbench.assemble import assemble
from trainbench.measure.trace import Recording, Trace
from trainbench.measure.trace_reader import Reading
from trainbench.placement import PlacedStep
from trainbench.training.parallel_settings import AXES
from trainbench.training.state import TrainState

CHIP = "NVIDIA H100 80GB HBM3"
STEP = """HloModule step, is_scheduled=true, num_partitions=8

%add (...) -> ... {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}

ENTRY %main () -> () {
  %x = f32[1000] parameter(0)
  %g = f32[8000] all-gather(%x), replica_groups={}, dimensions={0}
  ROOT %r = f32[ELEMENTS] all-reduce(%y), replica_groups={}, to_apply=%add
  %y = f32[ELEMENTS] parameter(1)
}
"""


@dataclass(frozen=True)
class Compiled:
    """Stands for the compiled step."""

    text: str

    def as_text(self):
        return self.text


def placed(sizes=(8, 1, 1), spec=(), elements=8000):
    """Where the state of one table lies: (mesh, state)."""
    mesh = AbstractMesh(sizes, AXES)
    split = NamedSharding(mesh, PartitionSpec(*spec))
    table = jax.ShapeDtypeStruct((elements,), np.float32, sharding=split)
    return mesh, TrainState({"table": table}, {}, None, None, None)


def communicating(*overrides, reduced=8000, at=None, **changes):
    """A finished run on eight devices whose step reduces so many elements."""
    parts = parts_of(CHIP, 8, 0.2, "precision=fp32", *overrides, **changes)
    call = Compiled(STEP.replace("ELEMENTS", str(reduced)))
    mesh, state = at or placed()
    step = PlacedStep(parts.config, None, mesh, state, {}, stacked=False)
    return replace(parts, executable=replace(parts.executable, call=call), placed=step)


def about(result, word):
    return [line for line in result.warnings if line.startswith(word)]


def test_the_section_has_kinds_bytes_and_what_theory_expects():
    found = assemble(communicating(), OK).communication
    reduce, gather = found.collectives
    assert (reduce.kind, reduce.group_size, reduce.count, reduce.bytes) == ("all-reduce", 8, 1, 1.75 * 32_000)
    assert (gather.kind, gather.bytes) == ("all-gather", 7 / 8 * 32_000)
    assert found.bytes_per_step == reduce.bytes + gather.bytes
    assert found.expected_bytes_per_step == 1.75 * 32_000


def test_several_steps_of_a_call_share_its_collectives():
    found = assemble(communicating("steps_per_call=4"), OK).communication
    assert found.collectives[0].count == 0.25
    assert found.bytes_per_step == (1.75 + 7 / 8) * 32_000 / 4


def test_more_than_expected_is_told():
    (line,) = about(assemble(communicating(), OK), "communication:")
    assert line == "communication: the compiled step sends 1.50 times what is expected"


def test_a_table_that_is_reduced_twice_is_named():
    result = assemble(communicating(reduced=12_000), OK)
    assert (
        "the gradient of table were reduced once for each of two uses" in about(result, "communication:")[0]
    )


def test_whole_gradients_in_place_of_their_parts_are_named_where_the_sum_is_as_expected_too():
    """Gathered once and reduced whole: as much as gathered twice and reduced in parts."""
    result = assemble(communicating(at=placed((1, 8, 1), ("fsdp",))), OK)
    assert result.communication.bytes_per_step == result.communication.expected_bytes_per_step
    (line,) = about(result, "communication:")
    assert "as much as is expected, by other collectives: parameters are gathered once and kept" in line
    assert "sends twice as much as a reduce-scatter" in line


def test_split_layers_have_no_theory_and_the_record_says_why():
    result = assemble(communicating(at=placed((4, 1, 2))), OK)
    assert result.communication.expected_bytes_per_step is None
    assert "split layers" in result.reason("expected_bytes_per_step")


def test_one_device_has_no_section_and_the_record_says_why():
    result = assemble(communicating(at=placed((1, 1, 1))), OK)
    assert result.communication is None
    assert "several devices" in result.reason("communication")


@pytest.mark.parametrize("text", ["", STEP.replace("all-gather(%x)", "all-gather(%nowhere)")])
def test_a_program_that_is_not_understood_costs_the_section_and_no_result(text):
    parts = communicating()
    parts = replace(parts, executable=replace(parts.executable, call=Compiled(text)))
    result = assemble(parts, OK)
    assert (result.status, result.communication) == ("ok", None)
    assert result.reason("communication") == "unknown program text"


def traced(tmp_path, communicating_s):
    recording = Recording(steps=5, wall_s=2.0, session=tmp_path)
    return Trace(recording, Reading((), 1.0, (1.5, 1.5), "a source", communicating_s))


def test_the_share_of_time_is_that_of_the_traced_steps(tmp_path):
    found = assemble(communicating("trace=true", trace=traced(tmp_path, (0.4, 0.6))), OK)
    assert found.communication.time_fraction == pytest.approx(0.25)
    assert found.reason("time_fraction") is None


@pytest.mark.parametrize(
    ("seconds", "reason"), [((), "no collective"), (None, "trace=true only"), ((0.0,), None)]
)
def test_a_share_that_is_not_known_is_no_zero(tmp_path, seconds, reason):
    trace = None if seconds is None else traced(tmp_path, seconds)
    result = assemble(communicating(trace=trace), OK)
    assert result.communication.time_fraction == (0.0 if reason is None else None)
    assert (result.reason("time_fraction") is None) == (reason is None)
    assert reason is None or reason in result.reason("time_fraction")
