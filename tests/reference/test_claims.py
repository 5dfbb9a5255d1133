"""The table of claims, the rules for verdicts, and that verdicts follow from the rows."""

import re
from dataclasses import replace

import pytest

from trainbench.hardware import chips
from trainbench.reference import claim, claims, evidence, figures
from trainbench.reference.claim import Claimed
from trainbench.reference.claims import (
    CONDITIONAL,
    CONTRADICTED,
    NOT_ESTABLISHED,
    NOT_SUPPORTED,
    SUPPORTED,
    OwnFigure,
    combined,
    judge,
    word_for,
)
from trainbench.reference.found import Found, Tables

TABLE = claim.load()
CLAIMS = {one.id: one for one in TABLE.claims}
FIGURES = {figure.id: figure for figure in figures.load()}


def tables(rows=None):
    return Tables(
        tuple(FIGURES.values() if rows is None else rows), {c.id: c for c in chips.load()}, TABLE.peers
    )


def word(claimed, *values, unlike=()):
    """The word where `values` are found like for like, and `unlike` with a material difference."""
    alike = [Found("x", "x", value, claimed.agrees(value), ()) for value in values]
    others = [Found("x", "x", value, claimed.agrees(value), (), material=1) for value in unlike]
    return word_for(claimed, [*alike, *others])


def changed(name, **cells):
    return [replace(figure, **cells) if figure.id == name else figure for figure in FIGURES.values()]


def rate_scaled(name, factor):
    figure = FIGURES[name]
    return changed(name, value=figure.value * factor, value_per_chip=figure.value_per_chip * factor)


IN_THE_ISSUE = (
    ("V100 1.2", ["BERT-Large training", "V100", "1.2 samples/s"]),
    ("v3 3.5", ["BERT-Large training", "TPU v3", "3.5 samples/s"]),
    ("v4 5.8", ["BERT-Large training", "TPU v4", "5.8 samples/s"]),
    ("V100 400", ["ResNet-50 training", "V100", "400 images/s"]),
    ("v3 1000", ["ResNet-50 training", "TPU v3", "1000 images/s"]),
    ("A100", ["A100", "300 TFLOP/s mixed-precision matmul", "40-80 GB", "2 TB/s", "400 W"]),
    ("TPU v4", ["TPU v4", "275 TFLOP/s", "32 GB", "1.2 TB/s", "200 W"]),
    ("v6e", ["TPU v6e 2-3x more efficient than v4"]),
    (
        "5-50x",
        [
            "TPUs 5-50x faster than GPUs",
            "on large matmul, transformers, vision, large batches and mixed precision",
        ],
    ),
    ("3-10x", ["Neural-network training on v6e 3-10x faster than a comparable GPU"]),
    ("GPT-3", ["GPT-3-style training 3-5x faster on TPU pods"]),
    ("small", ["GPUs better at small batches"]),
    ("dollar", ["TPUs better per dollar"]),
)


@pytest.mark.parametrize(
    "words", [words for _, words in IN_THE_ISSUE], ids=[name for name, _ in IN_THE_ISSUE]
)
def test_every_claim_has_a_verdict_with_sources_or_what_was_looked_for(words):
    (one,) = [one for one in TABLE.claims if all(word in one.text for word in words)]
    verdict = judge(one, tables())
    assert verdict.word in (*claims.WORDS, NOT_ESTABLISHED)
    assert verdict.claim.conditions
    for check in verdict.checks:
        assert check.looked_for
        sources = [source for part in check.found for source in part.sources]
        assert (check.word == NOT_ESTABLISHED) == (not sources)
        assert all(source.id and source.text for source in sources)


def test_ids_are_unique_and_every_row_and_chip_named_exists():
    assert len(CLAIMS) == len(TABLE.claims)
    known = {chip.id for chip in chips.load()}
    for one in TABLE.claims:
        for check in one.checks:
            assert set(check.chips) <= known
            assert {name for pair in check.pairs for name in pair} <= set(FIGURES)
            assert not check.pairs or check.because
        assert {name for near in one.near for name in (near.numerator, near.denominator)} <= set(FIGURES)


def test_every_row_filter_of_a_rate_finds_rows_and_every_accelerator_in_the_file_is_known():
    names = {figure.accelerator for figure in FIGURES.values()}
    assert set(TABLE.peers) | set(TABLE.peers.values()) <= names
    for one in TABLE.claims:
        for check in one.checks:
            if check.kind == "rate":
                assert evidence.gather(check, tables())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: bert_large", "modle: bert_large", "figures have no modle"),
        ("kind: rate", "kind: speed", "'speed'"),
        ("  combine: any\n", "  combine: some\n", "'some'"),
        ("per: core", "each: core", "no each"),
    ],
)
def test_a_slip_in_the_file_of_claims_is_refused(old, new, said):
    text = claim.resources.files("trainbench.reference").joinpath("claims.yaml").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(said)):
        claim.parse(text.replace(old, new, 1))


ABOUT = Claimed(400, 400, "images/s")
FASTER = Claimed(3, 5, "x")
BETTER = Claimed(1, None, "x")


def test_a_number_agrees_within_a_tenth():
    assert ABOUT.agrees(440)
    assert not ABOUT.agrees(441)
    assert ABOUT.agrees(361)
    assert not ABOUT.agrees(359)
    assert FASTER.agrees(2.7)
    assert not FASTER.agrees(2.69)


def test_better_than_has_no_tolerance():
    assert BETTER.agrees(1.001)
    assert not BETTER.agrees(1.0)


def test_the_word_follows_from_what_agrees():
    assert word(ABOUT) == NOT_ESTABLISHED
    assert word(ABOUT, 400, 390, 410) == SUPPORTED
    assert word(ABOUT, 400, 1200) == CONDITIONAL
    assert word(ABOUT, 500, 2000) == NOT_SUPPORTED
    assert word(ABOUT, 900, 2000) == CONTRADICTED
    assert word(ABOUT, 100, 190) == CONTRADICTED


def test_numbers_on_both_sides_of_a_claim_do_not_agree_with_it():
    assert word(ABOUT, 300, 500) == NOT_SUPPORTED


def test_a_claimed_advantage_that_is_a_disadvantage_everywhere_is_contradicted():
    slight = Claimed(1.3, 1.3, "x")
    assert word(slight, 0.9, 0.95) == CONTRADICTED
    assert word(slight, 0.9, 1.05) == NOT_SUPPORTED
    assert word(BETTER, 0.9) == CONTRADICTED


def test_what_is_not_like_for_like_is_not_counted_beside_what_is():
    assert word(FASTER, 4, unlike=[1.0]) == SUPPORTED
    assert word(FASTER, 2, unlike=[4.0]) == NOT_SUPPORTED
    assert word(FASTER, 1, unlike=[4.0]) == CONTRADICTED


def test_evidence_that_is_not_like_for_like_supports_nothing_without_conditions():
    assert word(FASTER, unlike=[4.0, 4.5]) == CONDITIONAL
    assert word(FASTER, unlike=[4.0, 1.0]) == CONDITIONAL
    assert word(FASTER, unlike=[1.0, 2.0]) == NOT_SUPPORTED
    assert word(FASTER, unlike=[1.0, 1.2]) == CONTRADICTED
    assert word(BETTER, unlike=[0.9]) == NOT_SUPPORTED


def test_where_all_must_hold_the_worst_established_decides():
    assert combined("all", [SUPPORTED, SUPPORTED]) == SUPPORTED
    assert combined("all", [SUPPORTED, NOT_ESTABLISHED]) == CONDITIONAL
    assert combined("all", [CONDITIONAL, NOT_SUPPORTED]) == NOT_SUPPORTED
    assert combined("all", [NOT_SUPPORTED, CONTRADICTED, NOT_ESTABLISHED]) == CONTRADICTED
    assert combined("all", [NOT_ESTABLISHED]) == NOT_ESTABLISHED


def test_of_several_readings_the_plain_one_decides_and_another_makes_it_conditional():
    assert combined("any", [SUPPORTED, CONTRADICTED]) == SUPPORTED
    assert combined("any", [CONTRADICTED, SUPPORTED]) == CONDITIONAL
    assert combined("any", [CONTRADICTED, NOT_SUPPORTED]) == CONTRADICTED
    assert combined("any", [NOT_ESTABLISHED, SUPPORTED]) == CONDITIONAL
    assert combined("any", [CONDITIONAL, SUPPORTED]) == CONDITIONAL
    assert combined("any", [NOT_SUPPORTED, NOT_SUPPORTED]) == NOT_SUPPORTED


def test_the_researched_verdicts_come_out_of_the_rows():
    words = {name: judge(one, tables()).word for name, one in CLAIMS.items()}
    assert words["bert-large-v100"] == CONTRADICTED
    assert words["resnet50-v100"] == CONDITIONAL
    assert words["resnet50-tpu-v3"] == CONDITIONAL
    assert words["a100-specification"] == CONDITIONAL
    assert words["tpu-5-50x"] == CONTRADICTED
    assert words["gpt3-tpu-pods"] == CONTRADICTED
    assert words["gpu-small-batches"] == NOT_ESTABLISHED


def test_one_core_of_a_v3_does_a_thousand_images_and_a_chip_twice_that():
    chip, core, _ = judge(CLAIMS["resnet50-tpu-v3"], tables()).checks
    assert core.word == CONDITIONAL
    assert sum(one.agrees for one in core.found) == 4
    assert len(core.found) == 5
    assert round(max(one.value for one in core.found)) == 1011
    assert chip.word == NOT_SUPPORTED
    assert [one.value for one in chip.found] == pytest.approx([2 * one.value for one in core.found])


def test_changing_a_row_changes_the_verdict_on_a_rate():
    only = [figure for figure in FIGURES.values() if figure.precision == "fp32"]
    assert judge(CLAIMS["resnet50-v100"], tables(only)).word == CONDITIONAL
    agreeing = [figure for figure in only if 360 <= (figure.samples_per_s_per_chip or 0) <= 440]
    assert judge(CLAIMS["resnet50-v100"], tables(agreeing)).word == SUPPORTED
    mixed = [figure for figure in FIGURES.values() if figure.precision == "fp16-amp"]
    assert judge(CLAIMS["resnet50-v100"], tables(mixed)).word == NOT_SUPPORTED
    assert judge(CLAIMS["resnet50-v100"], tables([])).word == NOT_ESTABLISHED


def test_changing_a_row_changes_the_verdict_on_a_ratio():
    one = CLAIMS["bert-large-v3-over-v100"]
    row = "bert-large-tpu-v3-x32-bf16-s512-tensorflow"
    assert judge(one, tables(rate_scaled(row, 1.5))).word == CONDITIONAL
    assert judge(one, tables(rate_scaled(row, 0.3))).word == CONTRADICTED


def test_changing_a_chip_changes_the_verdict_on_a_specification():
    one, known = CLAIMS["tpu-v4-specification"], tables()
    chip = known.chips["tpu-v4"]
    power = replace(chip, power_w={"mean": 80, "max": 90})
    hungry = replace(known, chips=dict(known.chips) | {"tpu-v4": power})
    assert [check.word for check in judge(one, known).checks][-1] == CONDITIONAL
    assert judge(one, hungry).word == CONTRADICTED


def test_changing_a_price_changes_the_ratio_per_dollar():
    check, known = CLAIMS["tpu-per-dollar"].checks[0], tables()
    before = evidence.gather(check, known)
    chip = known.chips["tpu-v6e"]
    cheap = replace(chip, price=replace(chip.price, usd_per_hour=chip.price.usd_per_hour / 2))
    after = evidence.gather(check, replace(known, chips=dict(known.chips) | {"tpu-v6e": cheap}))
    assert max(one.value for one in after if "v6e" in one.label) == pytest.approx(
        2 * max(one.value for one in before if "v6e" in one.label)
    )
    assert all("$" in side.words for side in before[0].divisors)


def test_a_chip_without_a_price_or_power_is_unknown_not_guessed():
    known = tables()
    priceless = {name: replace(chip, price=None, rated_power=None) for name, chip in known.chips.items()}
    verdict = judge(CLAIMS["tpu-per-dollar"], replace(known, chips=priceless))
    assert verdict.word == NOT_ESTABLISHED
    assert "price" in verdict.checks[0].looked_for


TPU = FIGURES["resnet-50-tpu-v3-x8-bf16-r224-jax-flax-2"]
GPU = FIGURES["resnet-50-v100-x8-fp16-amp-r224-jax-flax-2"]


def test_models_that_differ_are_never_like_for_like():
    check = CLAIMS["tpu-v6e-efficiency"].checks[0]
    pairs = evidence.gather(check, tables())
    assert pairs
    assert all(any(words.startswith("model: ") for words in one.differences) for one in pairs)
    assert judge(CLAIMS["tpu-v6e-efficiency"], tables()).checks[0].word == CONDITIONAL


def test_pairs_that_differ_do_not_count_where_some_are_like_for_like():
    (check,) = judge(CLAIMS["resnet50-v3-over-v100"], tables()).checks
    assert check.like_for_like
    assert 0 < len(check.basis) < len(check.found)
    assert not any(one.agrees for one in check.basis)
    assert any(one.agrees for one in check.found)
    assert check.word == NOT_SUPPORTED


def test_a_check_that_departs_from_the_printed_rule_for_pairs_says_in_what():
    departing = [
        check
        for one in TABLE.claims
        for check in one.checks
        if check.pairs or not set(claim.SAME) - {"image_size", "padding"} <= set(check.same)
    ]
    assert len(departing) > 5
    assert all(check.because for check in departing)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_check_that_is_shown_explains_the_verdict(name):
    verdict = judge(CLAIMS[name], tables())
    shown = verdict.deciding
    assert shown in verdict.checks
    if verdict.claim.combine == "any" and shown is not verdict.checks[0]:
        assert verdict.checks[0].word not in (SUPPORTED, CONDITIONAL)
        assert (verdict.word, shown.word in (SUPPORTED, CONDITIONAL)) == (CONDITIONAL, True)
    else:
        assert shown.word == verdict.word


def test_a_v3_is_shown_with_the_core_that_agrees_not_with_the_chip_that_does_not():
    assert judge(CLAIMS["resnet50-tpu-v3"], tables()).deciding.check.per == "core"


def test_a_board_of_several_chips_is_shown_but_not_counted():
    verdict = judge(CLAIMS["tpu-5-50x"], tables())
    board, chip = verdict.near[0], verdict.near[1]
    assert board.agrees
    assert board.value == pytest.approx(4 * chip.value)
    assert verdict.word == CONTRADICTED


def test_minutes_to_train_are_compared_at_equal_chip_count_only():
    _, minutes = judge(CLAIMS["gpt3-tpu-pods"], tables()).checks
    assert minutes.found
    for one in minutes.found:
        above, below = (FIGURES[source.id] for source in one.sources)
        assert above.num_chips == below.num_chips
        times = [float(re.search(r"time to train ([\d.]+)", figure.note)[1]) for figure in (above, below)]
        assert one.value == pytest.approx(times[1] / times[0])


def test_an_own_figure_stands_beside_the_claim_and_leaves_the_verdict():
    one = CLAIMS["resnet50-v3-over-v100"]
    mine = replace(TPU, id="mine.json", value=4000, value_per_chip=1000)
    verdict = judge(one, tables(), [OwnFigure("forecast", "mine.json", mine)])
    (own,) = verdict.own
    assert own.kind == "forecast"
    assert FIGURES[own.against].accelerator == "V100"
    assert own.ratio == pytest.approx(1000 / FIGURES[own.against].value_per_chip)
    assert verdict.word == judge(one, tables()).word


def test_two_own_figures_are_compared_with_each_other():
    one = CLAIMS["gpu-small-batches"]
    small = {"global_batch": 8, "num_chips": 1, "per_device_batch": None}
    rows = [replace(TPU, id="tpu.json", **small), replace(GPU, id="gpu.json", **small)]
    verdict = judge(one, tables(), [OwnFigure("measured", row.id, row) for row in rows])
    (own,) = verdict.own
    assert (own.file, own.against) == ("gpu.json", "tpu.json")
    assert own.ratio == pytest.approx(GPU.value_per_chip / TPU.value_per_chip)
