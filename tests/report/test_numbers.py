import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbench.report.numbers import clip, count, duration, number, percent, plus_minus, size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1,234,567"),
        (999.6, "1,000"),
        (99.96, "100"),
        (9.996, "10.0"),
        (0.9996, "1.00"),
        (-0.05, "-0.0500"),
        (0.00000123, "1.23e-06"),
        (0.0, "0"),
    ],
)
def test_number_keeps_three_significant_digits(value, text):
    assert number(value) == text


@given(st.floats(1e-9, 1e12))
def test_number_is_never_off_by_more_than_half_a_unit_in_the_third_digit(value):
    assert math.isclose(float(number(value).replace(",", "")), value, rel_tol=0.0051)


def test_a_small_share_is_not_shown_as_none():
    assert percent(1e-5) == "< 0.1 %"
    assert percent(0.0) == "0.0 %"


def test_plus_minus_takes_the_wider_side():
    assert plus_minus(100.0, (97.0, 101.0)) == "± 3.0 %"
    assert plus_minus(100.0, (99.5, 102.0)) == "± 2.0 %"


@pytest.mark.parametrize(("value", "interval"), [(100.0, None), (0.0, (0.0, 1.0))])
def test_plus_minus_without_a_meaning_says_so(value, interval):
    assert plus_minus(value, interval) == "± n/a"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0004, "400 µs"),
        (0.9, "900 ms"),
        (1.0, "1.00 s"),
        (119.4, "119 s"),
        (3725, "62 min 5 s"),
    ],
)
def test_duration_chooses_its_unit(seconds, text):
    assert duration(seconds) == text


def test_sizes_and_counts():
    assert size(2**30) == "1.00 GiB"
    assert size(2**30 - 2**20) == "1,023 MiB"
    assert count(999_999) == "999,999"
    assert count(10**6) == "1.00 M"


def test_clip_cuts_on_one_line_and_shows_it():
    assert clip("two\n lines", 20) == "two lines"
    assert clip("abcdefgh", 8) == "abcdefgh"
    assert clip("abcdefghi", 8) == "abcdefg…"
