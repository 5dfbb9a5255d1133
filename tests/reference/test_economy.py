"""Ratios per watt and per dollar, and the words that say what they rest on."""

import dataclasses

import pytest

from trainbench.hardware import chips
from trainbench.reference import economy, figures

FIGURE = next(
    figure for figure in figures.load() if figure.model == "resnet50" and figure.samples_per_s_per_chip
)


def figure(chip, rate=1000.0, board=""):
    """A published figure of `rate` images/s on one chip."""
    return dataclasses.replace(FIGURE, chip=chip, board=board, num_chips=1, value=rate, value_per_chip=rate)


def test_per_watt_and_per_dollar_weigh_the_rates_with_both_sides():
    """An H100 at 2,000 images/s against an A100 at 1,000: 700 and 400 W, 3.99 and 2.79 dollars."""
    found = economy.compare("h100-sxm5-80gb", None, 2000.0, figure("a100-sxm4-80gb"))
    assert found.per_watt == pytest.approx(2 * 400 / 700)
    assert found.per_dollar == pytest.approx(2 * 2.79 / 3.99)


def test_the_basis_names_powers_and_prices_with_source_provider_region_and_date():
    basis = economy.compare("tpu-v6e", None, 1.0, figure("a100-sxm4-40gb")).basis
    here, there = chips.by_id("tpu-v6e").price, chips.by_id("a100-sxm4-40gb").price
    assert "$2.70/h, GCP, us-central1 (also us-east1), undated, host not stated" in basis
    assert "$2.745/h, AWS p4d.24xlarge/8, us-east-1, 2026-08-17, host included" in basis
    assert "400 W TDP (" in basis
    assert all(source in basis for source in (*here.source, *there.source))
    assert basis.startswith("per dollar: GCP undated / AWS 2026-08-17, hosts unknown; power: ")


def test_a_price_without_a_date_is_called_undated():
    assert "undated" in economy.price_of(chips.by_id("h100-sxm5-80gb")).words


def test_a_power_that_is_no_tdp_says_what_it_is():
    assert economy.power_of(chips.by_id("tpu-v4")).words == "192 W highest measured"
    assert "whole module" in economy.power_of(chips.by_id("gh200")).words


def test_prices_of_which_one_has_no_host_are_said_to_be_unlike():
    found = economy.compare("a100-sxm4-80gb", None, 1.0, figure("v100-sxm2-16gb"))
    assert found.per_dollar is not None
    assert found.basis.endswith(economy.ONE_HOST)
    assert "per dollar: Lambda undated / GCP undated, a host in one price only; " in found.basis


@pytest.mark.parametrize("chip", [chip for chip in chips.load() if chip.price], ids=lambda chip: chip.id)
@pytest.mark.parametrize("other", [chip for chip in chips.load() if chip.price], ids=lambda chip: chip.id)
def test_prices_go_unmarked_only_if_both_say_the_same_of_the_host(chip, other):
    basis = economy.compare(chip.id, None, 1.0, figure(other.id)).basis
    marked = basis.endswith((economy.ONE_HOST, economy.UNKNOWN_HOST))
    both = {chip.price.host, other.price.host}
    assert marked == (both not in ({chips.HOST_INCLUDED}, {chips.GPU_ONLY}) and chip.price != other.price)


def test_what_a_given_price_includes_is_not_known():
    basis = economy.compare("a100-sxm4-80gb", 2.0, 1.0, figure("v100-sxm2-16gb")).basis
    assert "per dollar: yours / GCP undated, hosts unknown; " in basis
    assert basis.endswith(economy.UNKNOWN_HOST)


def test_the_basis_begins_with_the_kinds_of_power_and_says_where_they_differ():
    alike = economy.compare("tpu-v3", None, 1.0, figure("tpu-v4")).basis
    assert alike.startswith("per watt: measured; per dollar: GCP undated, hosts unknown; power: 262 W")
    unlike = economy.compare("tpu-v4", None, 1.0, figure("a100-sxm4-80gb")).basis
    assert unlike.startswith("per watt: measured / TDP; ")
    assert economy.TWO_KINDS in unlike
    assert economy.TWO_KINDS not in alike


def test_without_a_ratio_there_is_no_short_form():
    assert economy.compare("rtx-4090", None, 1.0, figure("tpu-v6e")).basis.startswith("power: ")


@pytest.mark.parametrize(
    ("here", "there", "per_watt", "per_dollar"),
    [
        ("tpu-v6e", "a100-sxm4-80gb", False, True),
        ("a100-sxm4-80gb", "tpu-v5e", False, True),
        ("rtx-4090", "a100-sxm4-80gb", True, False),
        ("a100-sxm4-80gb", "v100-sxm2-32gb", True, False),
        ("tpu-7x", "tpu-7x", False, False),
        ("a100-sxm4-80gb", None, False, False),
        (None, "a100-sxm4-80gb", False, False),
        (None, None, False, False),
    ],
)
def test_one_side_without_a_source_leaves_the_ratio_unknown(here, there, per_watt, per_dollar):
    found = economy.compare(here, None, 1.0, figure(there))
    assert (found.per_watt is not None, found.per_dollar is not None) == (per_watt, per_dollar)
    assert ("unknown" in found.basis) == (not (per_watt and per_dollar))


def test_a_given_price_wins_on_the_runs_side_only():
    found = economy.compare("h100-sxm5-80gb", 2.0, 2000.0, figure("h100-sxm5-80gb"))
    assert found.per_dollar == pytest.approx(2 * 3.99 / 2.0)
    assert "$2.00/h, given by price_per_hour here, $3.99/h, Lambda" in found.basis


def test_a_cpu_has_a_price_if_it_is_given_but_no_power():
    found = economy.compare(None, 0.5, 10.0, figure("a100-sxm4-80gb"))
    assert found.per_watt is None
    assert found.per_dollar == pytest.approx(10 / 1000 * 2.79 / 0.5)


def test_the_power_limit_that_a_source_states_wins_over_the_chips_rating():
    found = economy.compare(
        "a100-sxm4-80gb", None, 1000.0, figure("v100-sxm2-32gb", board="SXM3 32GB 450W (DGX-2H)")
    )
    assert found.per_watt == pytest.approx(450 / 400)
    assert f"450 W as published ({FIGURE.source})" in found.basis


def test_a_run_without_a_rate_has_a_basis_but_no_ratio():
    found = economy.compare("a100-sxm4-80gb", None, None, figure("a100-sxm4-80gb"))
    assert (found.per_watt, found.per_dollar) == (None, None)
    assert "400 W" in found.basis


def test_the_same_chip_is_as_fast_per_watt_and_per_dollar_as_per_chip():
    found = economy.compare("l4", None, 730.0, figure("l4"))
    assert found.per_watt == pytest.approx(0.73)
    assert found.per_dollar == pytest.approx(0.73)


def test_every_chip_of_a_published_figure_is_in_the_table_of_chips():
    for published in figures.load():
        assert published.chip is None or chips.by_id(published.chip).id == published.chip


@pytest.mark.parametrize(("price", "words"), [(2.7, "$2.70"), (0.8048, "$0.8048"), (0.00004, "$4e-05")])
def test_prices_keep_their_cents(price, words):
    assert economy.price_of(None, price).words.startswith(f"{words}/h")
