"""What limits a step, and which operations take most of it."""

from dataclasses import replace

import pytest

from tests.compiled.programs import program
from tests.forecast.chip import CHIP
from trainbench.forecast.timing import limits
from trainbench.forecast.timing.schedule import FULL_RATES, Operation, Parameters, Schedule
from trainbench.forecast.timing.time_model import times


def _operation(kind="memory", time_s=1.0, **changes):
    rates = {"compiler_s": None, "matrix_s": 0.0, "memory_s": 0.0, "network_s": 0.0}
    return Operation("x", "fusion", changes.pop("origin", ""), kind, time_s=time_s, **{**rates, **changes})


@pytest.mark.parametrize(
    ("operation", "limit"),
    [
        (_operation("matrix", matrix_s=1.0, memory_s=0.5), limits.MATRIX),
        (_operation("matrix", matrix_s=1.0, memory_s=0.5, compiler_s=1.5), limits.MATRIX),
        (_operation("matrix", matrix_s=0.5, memory_s=1.0), limits.MEMORY),
        (_operation("memory", memory_s=1.0, compiler_s=1.1), limits.MEMORY),
        (_operation("memory", memory_s=0.1, compiler_s=1.0), limits.VECTOR),
        # An addition of arrays in main memory, as libtpu estimates it for v5p.
        (_operation("memory", memory_s=0.4, compiler_s=1.0), limits.MEMORY),
        # What the compiler says did not come into the time.
        (_operation("memory", memory_s=1.0, compiler_s=9.0), limits.MEMORY),
        (_operation("memory", compiler_s=1.0), limits.VECTOR),
        (_operation("memory", memory_s=1.0, overlapped=True), limits.MEMORY),
        (_operation("collective", network_s=1.0), limits.COLLECTIVES),
        (_operation("collective", memory_s=1.0), limits.COLLECTIVES),
        (_operation("matrix", matrix_s=0.1, network_s=1.0), limits.COLLECTIVES),
        (_operation("overhead"), limits.OVERHEAD),
        (_operation("custom"), limits.OVERHEAD),
    ],
)
def test_the_longest_of_the_times_is_the_limit(operation, limit):
    assert limits.limit_of(operation) == limit


def test_rates_that_are_not_reached_decide_what_limits():
    one = _operation("matrix", matrix_s=1.0, memory_s=0.8, time_s=4.0)
    assert limits.limit_of(replace(one, time_s=1.6), Parameters(memory_efficiency=0.5)) == limits.MEMORY
    assert limits.limit_of(one, Parameters(matrix_efficiency=0.25)) == limits.MATRIX
    (part,) = limits.limits(Schedule((one,), Parameters(matrix_efficiency=0.25)))
    assert part.name == limits.MATRIX


def test_the_limits_share_the_whole_step():
    operations = (
        _operation("matrix", matrix_s=1.0, time_s=1.0, count=4),
        _operation("memory", memory_s=0.25, time_s=0.25, count=2),
        _operation("memory", memory_s=3.0, time_s=1.0, overlapped=True),
        _operation("overhead", time_s=0.5),
    )
    schedule = Schedule(operations, FULL_RATES)
    parts = limits.limits(schedule)
    assert [(part.name, part.seconds) for part in parts] == [
        (limits.MATRIX, 4.0),
        (limits.MEMORY, 1.5),
        (limits.OVERHEAD, 0.5),
    ]
    assert sum(part.seconds for part in parts) == schedule.expected_s
    assert sum(part.share for part in parts) == pytest.approx(1)


def test_operations_of_one_place_are_taken_together():
    schedule = Schedule(
        (_operation(origin="mlp"), _operation(origin="norm", time_s=1.5), _operation(origin="mlp")),
        FULL_RATES,
    )
    assert [(part.name, part.seconds) for part in limits.top(schedule)] == [("mlp", 2.0), ("norm", 1.5)]
    assert len(limits.top(schedule, most=1)) == 1


def test_an_empty_program_has_no_limits():
    schedule = times(program("  ROOT %a = f32[8] parameter(0)"), CHIP)
    assert limits.limits(schedule) == limits.top(schedule) == ()
