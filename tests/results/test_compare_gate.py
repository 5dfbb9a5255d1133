"""The exit code of a comparison: a gate does not pass what nobody could decide."""

import pytest

from tests.results.comparing import changed, loaded, timed
from trainbench.errors import ExitCode
from trainbench.results.compare import compare
from trainbench.results.compare_gate import answer
from trainbench.results.compare_pairing import pair

NO_MEMORY = {"memory": None, "compile": None}


def gate(base, new, **options):
    pairing = pair(loaded(*base), loaded(*new))
    return answer(compare(pairing.pairs), pairing, **options)


def wild(seed, **fields):
    return timed(0.1, seed=seed, noise=0.2, **fields)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("blocks", [5, 30])
def test_where_nothing_could_be_decided_the_code_is_2_and_says_what_to_do(strict, blocks):
    base, new = (wild(seed, blocks=blocks, **NO_MEMORY) for seed in (1, 2))
    found = gate([base], [new], strict=strict)
    assert found.code == ExitCode.USER_ERROR
    assert found.meaning.startswith("nothing could be decided: measure more blocks")


def test_a_speed_that_cannot_be_told_is_said_and_fails_a_strict_gate():
    base, new = (
        [wild(1), timed(0.1, seed=2, workload={"batch_size": 8})],
        [
            wild(3),
            timed(0.1, seed=4, workload={"batch_size": 8}),
        ],
    )
    lenient, strict = gate(base, new), gate(base, new, strict=True)
    assert (lenient.code, strict.code) == (ExitCode.OK, ExitCode.FAILED_CHECK)
    assert "the speed of 1 of 2 pairs can't be told" in lenient.meaning
    assert "the speed of 1 of 2 pairs can't be told" in strict.meaning


def test_a_strict_gate_does_not_pass_damaged_files_or_runs_without_a_partner():
    base, new = timed(0.1, seed=1), timed(0.1, seed=2)
    assert gate([base], [new], strict=True) == gate([base], [new])
    assert gate([base], [new]).meaning == "no regression"
    damaged = gate([base], [new], damaged=1, strict=True)
    assert (damaged.code, gate([base], [new], damaged=1).code) == (ExitCode.FAILED_CHECK, ExitCode.OK)
    assert "1 damaged file in NEW" in damaged.meaning
    alone = gate([base, timed(0.1, seed=3, workload={"batch_size": 8})], [new], strict=True)
    assert alone.code == ExitCode.FAILED_CHECK
    assert "1 run of BASE without a partner in NEW" in alone.meaning


def test_a_failure_that_was_there_before_passes_a_strict_gate():
    broken = timed(0.1, seed=1, status="oom", status_reason="no room", timing=None)
    assert gate([broken], [changed(broken, id="again")], strict=True).code == ExitCode.OK


def test_where_there_is_nothing_at_all_nothing_was_decided():
    assert answer([]).code == ExitCode.USER_ERROR
