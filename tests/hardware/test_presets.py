import pytest

from trainbench.errors import UserError
from trainbench.hardware import presets
from trainbench.hardware.flags import YNN_FUSION
from trainbench.training.compile import accepted

NAMES = list(presets.presets())


def anything(options):
    return True


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_says_what_it_does_and_where_that_is_said_and_has_text_for_values(name):
    preset = presets.presets()[name]
    assert preset.platform in ("cpu", "gpu", "tpu")
    assert preset.does
    assert "https://" in preset.source
    assert preset.flags
    assert all(isinstance(value, str) for value in preset.flags.values())
    assert name != presets.NONE


@pytest.mark.parametrize("name", [name for name in NAMES if presets.presets()[name].platform == "cpu"])
def test_this_compiler_knows_the_presets_of_its_platform(name):
    assert accepted(presets.presets()[name].flags)


def test_no_preset_turns_on_what_computes_wrong_values():
    flags = {flag for preset in presets.presets().values() for flag in preset.flags}
    assert not flags & {YNN_FUSION, "xla_cpu_enable_fast_math", "xla_cpu_enable_fast_min_max"}


def test_none_gives_the_compiler_nothing():
    assert presets.options("none", {}, anything) == ({}, "")


def test_what_the_user_sets_wins_and_is_told():
    environment = {"XLA_FLAGS": "--xla_gpu_enable_pipelined_all_gather=false"}
    kept, left_out = presets.options("overlap", environment, anything)
    assert "xla_gpu_enable_pipelined_all_gather" not in kept
    assert kept["xla_gpu_enable_latency_hiding_scheduler"] == "True"
    assert left_out == "without xla_gpu_enable_pipelined_all_gather is set in the environment"
    bare = {"XLA_FLAGS": "--xla_gpu_enable_pipelined_all_gather --xla_dump_to=x"}
    assert presets.options("overlap", bare, anything)[0] == kept
    # Another flag whose name begins alike is not this one.
    assert presets.options("latency_hiding", {"XLA_FLAGS": "--xla_gpu_enable_latency=1"}, anything)[1] == ""


def test_flags_that_this_compiler_does_not_know_are_left_out_and_told():
    def older(options):
        return not any("pipelined" in option for option in options)

    kept, left_out = presets.options("overlap", {}, older)
    assert not any("pipelined" in flag for flag in kept)
    assert "xla_gpu_enable_pipelined_all_reduce is unknown to this compiler" in left_out


def test_a_preset_of_which_nothing_is_left_is_refused():
    with pytest.raises(UserError) as error:
        presets.options("vmem", {"LIBTPU_INIT_ARGS": "--xla_tpu_scoped_vmem_limit_kib=65536"}, anything)
    assert "nothing is left of it" in error.value.problem
    assert "set in the environment" in error.value.problem
    with pytest.raises(UserError, match="unknown to this compiler"):
        presets.options("vmem", {}, lambda options: False)


def test_the_other_options_remain_without_the_preset():
    options = {YNN_FUSION: "", "xla_cpu_prefer_vector_width": "512"}
    assert presets.without(options, "wide_vectors") == {YNN_FUSION: ""}
    assert presets.without(options, "none") == options
