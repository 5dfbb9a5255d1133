"""Which runs are paired, and what is said of each metric."""

import pytest

from tests.results import examples
from tests.results.comparing import changed, loaded, timed
from trainbench.errors import ExitCode
from trainbench.results.compare import compare
from trainbench.results.compare_gate import answer
from trainbench.results.compare_metrics import METRICS, SPEED
from trainbench.results.compare_pairing import pair
from trainbench.results.compare_pairs import Pair, Side
from trainbench.results.record import Parallel

H100 = examples.H100
OTHER_CHIP = {"device_kind": "NVIDIA A100-SXM4-80GB", "chip": "a100_sxm_80gb"}


def judged(base, new, **options):
    """The one pair of these results, judged."""
    pairing = pair(loaded(*base), loaded(*new))
    assert len(pairing.pairs) == 1
    return compare(pairing.pairs, **options)[0]


def verdict(compared, name):
    return next(one for one in compared.judged if one.metric.name == name).verdict


def test_a_slow_down_is_a_regression_and_a_speed_up_is_not():
    slow, fast = timed(0.120, seed=1), timed(0.100, seed=2)
    worse, better = judged([fast], [slow]), judged([slow], [fast])
    assert (worse.speed.verdict, better.speed.verdict) == ("regression", "improvement")
    assert worse.regressed
    assert better.improved
    assert worse.speed.ratio == pytest.approx(100 / 120, rel=0.01)
    low, high = worse.speed.interval
    assert low < worse.speed.ratio < high < 0.98
    assert answer([worse]).code == ExitCode.FAILED_CHECK
    assert answer([better]).code == ExitCode.OK
    assert answer([better, worse]).code == ExitCode.FAILED_CHECK


def test_a_significant_change_below_the_threshold_is_none():
    compared = judged([timed(0.1, seed=1)], [timed(0.1012, seed=2)])
    assert compared.speed.interval[1] < 1
    assert compared.speed.verdict == "same"
    assert judged([timed(0.1, seed=1)], [timed(0.1012, seed=2)], threshold=0.005).regressed


def test_counts_of_blocks_may_differ():
    compared = judged([timed(0.1, seed=1, blocks=12)], [timed(0.11, seed=2, blocks=60)])
    assert compared.speed.verdict == "regression"


def test_wild_scatter_leaves_the_verdict_open_and_says_what_would_have_been_seen():
    compared = judged([timed(0.1, seed=1, noise=0.1)], [timed(0.105, seed=2, noise=0.1)])
    assert compared.speed.verdict == "unclear"
    assert compared.speed.detectable > 0.05
    assert answer([compared]).code == ExitCode.OK


def test_too_few_blocks_are_shown_and_not_judged():
    compared = judged([timed(0.1, seed=1, blocks=5)], [timed(0.2, seed=2, blocks=5)])
    assert compared.speed.verdict == "shown"
    assert "fewer than 6 blocks" in compared.speed.reason
    assert compared.speed.ratio == pytest.approx(0.5, rel=0.01)


def test_repeats_are_judged_by_the_spread_between_them():
    """Blocks within 0.2 %, runs within 4 %: single runs are declared different, the sides are not."""
    base = [timed(step, seed=i) for i, step in enumerate((0.100, 0.104, 0.096))]
    new = [timed(step, seed=i + 9) for i, step in enumerate((0.103, 0.099, 0.107))]
    assert judged(base[:1], new[:1]).speed.verdict == "regression"
    assert judged(base, new).speed.verdict == "unclear"
    slower = [timed(step, seed=i + 9) for i, step in enumerate((0.150, 0.152, 0.148))]
    assert judged(base, slower).speed.verdict == "regression"
    assert judged(base, [timed(0.4, seed=30)]).speed.verdict == "regression"


def test_many_pairs_share_the_false_alarms_of_one_comparison():
    alone = compare(pair(loaded(timed(0.1, seed=1)), loaded(timed(0.1, seed=2))).pairs)[0]
    batches = range(16, 36)
    sides = [
        loaded(*(timed(0.1, seed=s, name=f"{s}-{n}", workload={"batch_size": n}) for n in batches))
        for s in (1, 2)
    ]
    among_many = compare(pair(*sides).pairs)[0]
    assert among_many.speed.interval[0] < alone.speed.interval[0]
    assert among_many.speed.ratio == pytest.approx(alone.speed.ratio)


@pytest.mark.parametrize("status", ["oom", "failed", "invalid"])
def test_a_run_that_breaks_where_none_did_is_a_regression(status):
    ok = timed(0.1, seed=1)
    broken = changed(
        timed(0.1, seed=2), status=status, status_reason="too large", timing=None, throughput=None
    )
    assert judged([ok], [broken]).status == "regression"
    assert judged([broken], [ok]).status == "improvement"
    both = judged([broken], [changed(broken, id="other")])
    assert both.status == "same"
    assert answer([both]).code == ExitCode.OK


def test_an_interrupted_run_counts_with_its_complete_blocks_and_a_warning():
    cut = timed(0.12, seed=2, blocks=10, status="interrupted", status_reason="Ctrl-C")
    compared = judged([timed(0.1, seed=1)], [cut])
    assert compared.speed.verdict == "regression"
    assert "NEW was interrupted: only the complete blocks count" in compared.warnings


def test_a_run_that_failed_before_there_was_a_model_is_paired_by_its_configuration():
    ok = timed(0.1, seed=1)
    early = changed(examples.failed_early(), config=ok.config, id="early")
    compared = judged([ok], [early])
    assert compared.status == "regression"
    assert "no such layer" in compared.status_reason


def test_an_early_failure_is_paired_though_another_version_has_other_settings_of_measuring():
    ok = timed(0.1, seed=1)
    early = changed(examples.failed_early(), config={**ok.config, "trace": False, "seed": 3}, id="early")
    assert judged([ok], [early]).status == "regression"


def test_where_only_some_runs_broke_on_either_side_that_is_said():
    ok = [timed(0.1, seed=seed) for seed in range(4)]
    broken = [
        changed(timed(0.1, seed=seed, name=f"oom-{seed}"), status="oom", status_reason="no room")
        for seed in (8, 9)
    ]
    compared = judged([*ok[:2], broken[0]], [*ok[2:], broken[1]])
    assert (
        "some runs broke. BASE oom: no room (1 of 3 runs); NEW oom: no room (1 of 3 runs)"
        in compared.warnings
    )


def test_a_step_that_takes_next_to_no_time_has_no_speed():
    timing = {"block_s": (1e-307,) * 12, "steps_per_block": 1}
    compared = judged([timed(0.1, seed=1)], [timed(0.1, seed=2, timing=timing)])
    assert (compared.speed.verdict, compared.speed.new) == ("shown", None)


def test_runs_without_a_record_are_a_regression_too():
    lost = Pair(
        Side(loaded(timed(0.1, seed=1))), Side((), ("the process ended with code -9 and left no result",))
    )
    compared = compare([lost])[0]
    assert compared.status == "regression"
    assert "code -9" in compared.status_reason


def test_compiled_memory_is_judged_by_the_threshold_alone():
    more = {"peak_bytes_compiled": 62 * examples.GIB}
    base, new = timed(0.1, seed=1), timed(0.1, seed=2, memory=more)
    assert verdict(judged([base], [new]), "compiled peak memory") == "regression"
    assert verdict(judged([new], [base]), "compiled peak memory") == "improvement"
    assert verdict(judged([base], [new], threshold=0.05), "compiled peak memory") == "same"


def test_compile_time_is_judged_from_repeats_without_the_cache_only():
    def runs(compile_s, cache, first):
        times = [compile_s * factor for factor in (1.0, 1.01, 0.99, 1.005)]
        return [
            timed(0.1, seed=first + i, compile={"compile_s": one, "cache": cache})
            for i, one in enumerate(times)
        ]

    slow = judged(runs(30.0, "miss", 0), runs(60.0, "miss", 9))
    assert verdict(slow, "compile time") == "regression"
    assert verdict(judged(runs(30.0, "miss", 0), runs(31.5, "miss", 9)), "compile time") == "same"
    assert verdict(judged(runs(30.0, "miss", 0), runs(60.0, "hit", 9)), "compile time") == "shown"
    alone = judged(runs(30.0, "miss", 0)[:1], runs(60.0, "miss", 9)[:1])
    assert verdict(alone, "compile time") == "shown"


def test_input_stall_is_judged_where_its_bounds_lie_apart():
    def fed(seed, low, high):
        bounds = {"mode": "real", "stall_fraction": (low + high) / 2, "stall_fraction_bounds": (low, high)}
        return timed(0.1, seed=seed, input=bounds)

    assert verdict(judged([fed(1, 0.0, 0.03)], [fed(2, 0.2, 0.3)]), "input stall") == "regression"
    assert verdict(judged([fed(1, 0.2, 0.3)], [fed(2, 0.0, 0.03)]), "input stall") == "improvement"
    assert verdict(judged([fed(1, 0.0, 0.1)], [fed(2, 0.05, 0.2)]), "input stall") == "unclear"
    assert verdict(judged([fed(1, 0.0, 0.01)], [fed(2, 0.0, 0.02)]), "input stall") == "same"
    wide = judged([fed(1, 0.0, 0.03)], [fed(2, 0.2, 0.3)], threshold=0.3)
    assert verdict(wide, "input stall") != "regression"


def test_another_number_of_flops_is_warned_of_as_another_program():
    new = timed(0.1, seed=2, workload={"flops_per_sample": 25e9})
    compared = judged([timed(0.1, seed=1)], [new])
    assert any("another program ran: FLOPs per sample" in line for line in compared.warnings)
    assert not compared.regressed


def test_every_metric_has_one_line_and_a_direction():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert SPEED.better == "higher"
    lower = [
        metric.name for metric in METRICS if metric.better == "lower" and metric.test in ("exact", "repeats")
    ]
    assert lower == ["compiled peak memory", "allocator peak memory", "compile time"]


@pytest.mark.parametrize(
    "other",
    [
        {"model": "resnet18"},
        {"batch_size": 128},
        {"precision": "fp32"},
        {"optimizer": "lars"},
        {"data": "photos"},
        {"image_size": 160},
        {"gradient_accumulation": 2},
        {"global_batch_size": 512},
    ],
)
def test_runs_of_other_work_are_not_paired(other):
    base, new = loaded(timed(0.1, seed=1)), loaded(timed(0.1, seed=2, workload=other))
    pairing = pair(base, new)
    assert pairing.pairs == ()
    assert (pairing.only_base, pairing.only_new) == (base, new)


@pytest.mark.parametrize(
    "other",
    [
        {"input": {"mode": "host"}},
        {"timing": {"steps_per_call": 4}},
        {"hardware": {"device_count": 8, "chip_count": 8}},
    ],
)
def test_neither_are_runs_that_were_fed_dispatched_or_spread_otherwise(other):
    assert pair(loaded(timed(0.1, seed=1)), loaded(timed(0.1, seed=2, **other))).pairs == ()


def test_modified_models_of_one_name_are_told_apart_by_their_architecture():
    def modified(seed, width):
        config = {"model": {"name": "resnet50", "architecture": {"width": width}}}
        return timed(0.1, seed=seed, config=config, workload={"model": "resnet50 (modified: width)"})

    assert pair(loaded(modified(1, 32)), loaded(modified(2, 48))).pairs == ()
    assert len(pair(loaded(modified(1, 32)), loaded(modified(2, 32))).pairs) == 1


def with_setting(seed, value, key="b1", **fields):
    return timed(0.1, seed=seed, name=f"{seed}", config={"optimizer": {key: value}}, **fields)


def test_a_sweep_over_a_setting_gives_a_pair_for_each_value():
    base, new = ([with_setting(first + n, 0.9 + n / 100) for n in range(3)] for first in (1, 11))
    found = pair(loaded(*base), loaded(*new))
    assert [one.settings for one in found.pairs] == [(f"optimizer.b1 {0.9 + n / 100}",) for n in range(3)]
    assert {len(side.runs) for one in found.pairs for side in (one.base, one.new)} == {1}
    fewer = pair(loaded(*base), loaded(new[1]))
    assert [one.settings for one in fewer.pairs] == [("optimizer.b1 0.91",)]
    assert len(fewer.only_base) == 2
    across = pair(loaded(*base), loaded(*(changed(run, hardware=OTHER_CHIP) for run in new)))
    assert [one.across_chips for one in across.pairs] == [True] * 3


def test_one_setting_a_side_is_a_pair_that_says_what_differs():
    (one,) = pair(loaded(with_setting(1, 0.9)), loaded(with_setting(2, 0.8))).pairs
    assert one.settings == ()
    assert compare([one])[0].environment == ("optimizer.b1 0.9 → 0.8",)


@pytest.mark.parametrize(
    "repeat",
    [
        *({"seed": 7}, {"trace": 5}, {"steps": 40}, {"measure": {"blocks": 12}}, {"image_size": 224}, {}),
        *({"timeout_s": 60}, {"distributed": {"coordinator": "127.0.0.1:4711"}}, {"global_batch_size": 256}),
        *({"checkpoint": {"dir": "elsewhere"}}, {"parallel": {"data": 1}}),
    ],
)
def test_repeats_may_differ_in_how_they_are_measured(repeat):
    """Also where a record of an older program lacks the key."""
    plain = {"seed": 0, "trace": False, "steps": 30, "measure": {"blocks": 30}, "image_size": None}
    plain |= {
        "timeout_s": "default",
        "distributed": {"coordinator": "127.0.0.1:815"},
        "global_batch_size": None,
    }
    plain |= {"checkpoint": {"dir": "default"}, "parallel": {"data": "rest"}}
    base = [
        timed(0.1, seed=seed, config=config) for seed, config in enumerate((plain, {**plain, **repeat}, {}))
    ]
    (one,) = pair(loaded(*base), loaded(timed(0.1, seed=9, config=plain))).pairs
    assert len(one.base.runs) == 3


def test_chips_are_compared_with_themselves_and_across_only_if_nothing_else_pairs():
    here, there = timed(0.1, seed=1), timed(0.2, seed=2, hardware=OTHER_CHIP)
    both = pair(loaded(here, there), loaded(timed(0.1, seed=3), timed(0.2, seed=4, hardware=OTHER_CHIP)))
    assert [one.across_chips for one in both.pairs] == [False, False]
    assert not any(one.regressed for one in compare(both.pairs))
    partly = pair(loaded(here), loaded(timed(0.1, seed=3), there))
    assert (len(partly.pairs), len(partly.only_new)) == (1, 1)
    across = pair(loaded(here), loaded(there))
    compared = compare(across.pairs)[0]
    assert compared.regressed
    assert compared.warnings[0].startswith("ON DIFFERENT CHIPS")
    assert "chip h100_sxm → a100_sxm_80gb" in compared.environment


def test_probes_and_runs_that_say_nothing_are_not_paired():
    nothing = examples.failed_early()
    assert pair(loaded(nothing), loaded(changed(nothing, id="other"))).pairs == ()
    probe = changed(nothing, kind="probe", config={"probe": "matmul"})
    assert pair(loaded(probe), loaded(changed(probe, id="other"))).pairs == ()


def test_what_differs_around_the_runs_is_listed_and_what_does_not_is_not():
    base = timed(0.1, seed=1, software={"git_commit": "a" * 40})
    new = timed(
        0.1,
        seed=2,
        software={"jax": "0.12.0", "git_commit": "b" * 40 + "-dirty", "driver": "550.54"},
        config={**base.config, "seed": 7},
        compile={"cache": "hit"},
    )
    base = changed(base, config={**base.config, "seed": 0})
    assert judged([base], [new]).environment == (
        "jax 0.10.2 → 0.12.0",
        "commit aaaaaaaaaa → bbbbbbbbbb-dirty",
        "driver none → 550.54",
        "compilation cache miss → hit",
        "seed 0 → 7",
    )
    assert judged([base], [changed(base, id="same")]).environment == ()


def test_a_value_that_was_chosen_then_and_given_now_does_not_differ():
    chosen = timed(0.1, seed=1, config={"batch_size": "default", "data": {"workers": "default"}}, autos={})
    chosen = changed(chosen, autos={"data.workers": {"value": 2, "reason": "cores"}})
    given = timed(0.1, seed=2, config={"batch_size": 256, "data": {"workers": 2}})
    assert judged([chosen], [given]).environment == ()


def test_another_mesh_of_as_many_devices_is_named():
    split = {"data": 1, "fsdp": 1, "tensor": 1}
    eight = {"device_count": 8, "chip_count": 8}
    base, new = (
        timed(
            0.1,
            seed=seed,
            hardware=eight,
            parallel=Parallel(**(split | {axis: 8})),
            config={"parallel": {"name": axis, **split, axis: "rest"}, "remat": remat},
        )
        for seed, (axis, remat) in enumerate([("data", "none"), ("fsdp", "full")])
    )
    assert judged([base], [new]).environment == (
        "parallel.name data → fsdp",
        "parallel.data 8 → 1",
        "parallel.fsdp 1 → 8",
        "remat none → full",
    )


def test_a_side_that_mixes_versions_is_warned_of():
    mixed = [timed(0.1, seed=1), timed(0.1, seed=2, software={"jax": "0.12.0"})]
    assert "BASE mixes jax 0.10.2, 0.12.0" in judged(mixed, [timed(0.1, seed=3)]).warnings


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        ({"steady": False}, "NEW was not steady"),
        ({"drift_fraction": -0.05}, "NEW drifts by more than 3% over its window"),
    ],
)
def test_doubtful_runs_are_warned_of(timing, words):
    new = timed(0.1, seed=2)
    assert words in judged([timed(0.1, seed=1)], [changed(new, timing=timing)]).warnings


def test_a_run_beside_itself_is_pointed_out():
    one = timed(0.1, seed=1, name="twin")
    assert "the same run is on both sides: twin" in judged([one], [one]).warnings


def test_rounds_measured_in_turn_are_compared_round_by_round():
    """The machine gets slower by 4 % a round, far more than B differs from A."""
    wander = [1.04**i for i in range(6)]
    base = loaded(*(timed(0.1 * pace, seed=i) for i, pace in enumerate(wander)))
    new = loaded(*(timed(0.104 * pace, seed=i + 50) for i, pace in enumerate(wander)))
    in_turn = compare([Pair(Side(base), Side(new), in_turn=True)])[0]
    apart = compare([Pair(Side(base), Side(new))])[0]
    assert (in_turn.speed.verdict, apart.speed.verdict) == ("regression", "unclear")


def test_a_pair_whose_base_was_stopped_before_any_block_is_not_judged():
    cut = changed(examples.interrupted_in_warmup(), config=timed(0.1, seed=1).config, id="cut")
    for base, new in ((cut, timed(0.1, seed=2)), (timed(0.1, seed=2), cut)):
        compared = judged([base], [new])
        assert "before any block was complete" in compared.speed.reason
        assert compared.verdicts == ()
        assert not any("only the complete blocks count" in line for line in compared.warnings)
        assert answer([compared]).code == ExitCode.USER_ERROR


def test_a_failure_that_a_stopped_run_did_not_reach_is_no_improvement():
    broken = timed(0.1, seed=1, status="oom", status_reason="no room", timing=None)
    cut = changed(examples.interrupted_in_warmup(), config=broken.config, id="cut")
    compared = judged([broken], [cut])
    assert compared.status == "unclear"
    assert answer([compared]).code == ExitCode.USER_ERROR


def test_losses_are_compared_at_the_last_step_that_both_curves_have():
    def learnt(seed, *curve):
        return timed(0.1, seed=seed, loss=examples.Loss.from_curve(curve))

    def loss(base, new):
        return next(one for one in judged([base], [new]).judged if one.metric.name == "loss")

    long = learnt(1, (1, 6.0), (20, 3.0), (40, 2.0), (80, 1.0))
    found = loss(long, learnt(2, (1, 6.0), (40, 2.1), (50, 1.9)))
    assert (found.base, found.new, found.reason) == (2.0, 2.1, "at step 40")
    assert loss(long, learnt(2, (2, 6.0), (41, 2.1))).base is None
    diverged = learnt(2, (1, 6.0), (20, 3.1), (40, float("nan")), (80, float("nan")))
    assert loss(long, diverged).reason == "at step 20"
