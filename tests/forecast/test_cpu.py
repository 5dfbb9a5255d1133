"""What a processor can do at most, from texts of /proc/cpuinfo as machines have them."""

import pytest

from trainbench.forecast.bounds import cpu
from trainbench.forecast.bounds.bound import Demand

ZEN_3 = "fpu sse2 avx fma avx2 f16c"
SAPPHIRE_RAPIDS = "fpu sse2 avx fma avx2 avx512f avx512_bf16 amx_bf16 amx_tile amx_int8"


def x86(flags, threads=2, cores=1, mhz="2450.000"):
    return "\n\n".join(
        f"processor\t: {number}\nmodel name\t: a processor\ncpu MHz\t\t: {mhz}\nphysical id\t: 0\n"
        f"core id\t\t: {number % cores}\nflags\t\t: {flags}\npower management:"
        for number in range(threads)
    )


def arm(part, features):
    return f"processor\t: 0\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n"


def found(text, usable=(0,), clock=3e9):
    return cpu.processor(text, usable, clock)


@pytest.mark.parametrize(
    ("text", "fp32", "bf16"),
    [
        (x86(ZEN_3), 32, 32),
        (x86(SAPPHIRE_RAPIDS), 64, 1024),
        (x86("sse2 avx avx2 fma avx512f avx512_bf16"), 64, 128),
        (x86("sse2 avx"), 16, 16),
        (x86("sse2"), 8, 8),
        (arm("0xd0c", "fp asimd"), 16, 16),
        (arm("0xd40", "fp asimd sve bf16"), 32, 128),
        (arm("0xd40", "fp asimd sve"), 32, 32),
    ],
    ids=["Zen 3", "Sapphire Rapids", "Zen 5", "Sandy Bridge", "SSE2", "Graviton2", "Graviton3", "no bf16"],
)
def test_a_core_does_what_its_instructions_allow(text, fp32, bf16):
    assert found(text).flop_per_cycle == {"float32": fp32, "bfloat16": bf16}
    assert found(text).rates == {"float32": fp32 * 3e9, "bfloat16": bf16 * 3e9}


@pytest.mark.parametrize("text", ["", arm("0xfff", "asimd"), x86(f"{SAPPHIRE_RAPIDS} amx_tf32")])
def test_a_core_that_is_not_known_has_no_rate_rather_than_a_guess(text):
    assert set(found(text).rates.values()) == {None}
    assert "not known" in found(text).explanation


def test_two_threads_share_the_units_of_a_core():
    text = x86(ZEN_3, threads=4, cores=2)
    assert found(text, range(4)).cores == 2
    assert found(text, (0, 1)).cores == 2
    assert found(text, (0, 2)).cores == 1


def test_a_virtual_machine_is_not_believed_that_its_threads_share_cores():
    assert found(x86(f"{ZEN_3} hypervisor", threads=4, cores=2), range(4)).cores == 4


def test_cores_that_are_not_told_count_as_many_as_may_be_used():
    assert found(arm("0xd0c", "asimd"), range(16)).cores == 16


def test_a_clock_that_is_not_stated_is_the_fastest_of_any_processor():
    unknown = found(x86(ZEN_3), clock=None)
    assert unknown.clock_hz == 6.2e9
    assert "is not known" in unknown.explanation


def test_a_clock_above_the_stated_maximum_makes_that_one_wrong():
    assert found(x86(ZEN_3, mhz="3100.0")).clock_hz == 6.2e9
    assert found(x86(ZEN_3, mhz="2900.0")).clock_hz == 3e9


def stated(tmp_path, driver, *clocks):
    for number, kilohertz in enumerate(clocks):
        files = tmp_path / f"cpu{number}" / "cpufreq"
        files.mkdir(parents=True)
        (files / "scaling_driver").write_text(f"{driver}\n")
        (files / "cpuinfo_max_freq").write_text(f"{kilohertz}\n")
    return cpu.stated_clock_hz(tmp_path, range(2))


def test_the_highest_clock_of_the_cores_counts(tmp_path):
    assert stated(tmp_path, "intel_pstate", 5_200_000, 4_100_000) == 5.2e9


@pytest.mark.parametrize(("driver", "clocks"), [("acpi-cpufreq", (3, 3)), ("amd-pstate", (3,)), ("", ())])
def test_a_clock_without_the_turbo_is_not_believed(tmp_path, driver, clocks):
    assert stated(tmp_path, driver, *clocks) is None


def test_this_machine_has_a_bound_or_says_why_not():
    made = cpu.bound(Demand({"float32*6": 1e12}, 0, 0, 0))
    assert (made.seconds or 0) > 0 or "not known" in made.explanation
    assert made.memory_bytes > 0
