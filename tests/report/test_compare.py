"""The comparison as text, Markdown and JSON."""

import json
import re

import pytest

from tests.results.comparing import changed, loaded, timed
from trainbench.report import compare as report
from trainbench.report.compare_files import as_json, escaped, markdown
from trainbench.results.compare import compare
from trainbench.results.compare_gate import answer
from trainbench.results.compare_pairing import pair

HOSTILE = "<script>alert(1)</script>|`x`*_@team #12 \x1b[31m\n# title https://example.org"


def said(base, new):
    pairing = pair(loaded(*base), loaded(*new))
    compared = compare(pairing.pairs)
    return report.words(compared, answer(compared), pairing), compared, pairing


def text(base, new, width=120):
    """Wide enough for every row to be one line."""
    return report.text(said(base, new)[0], width)


def row(shown, label):
    """The table's row that begins so, with single blanks."""
    (found,) = [line for line in shown.split("\n\n")[0].splitlines() if line.startswith(label)]
    return " ".join(found.split())


def test_a_row_says_what_how_fast_the_ratio_with_its_interval_and_the_verdict():
    shown = text([timed(0.1, seed=1)], [timed(0.11, seed=2)])
    line = row(shown, "resnet50 bf16 batch")
    assert line.startswith("resnet50 bf16 batch 256 2,560 images/s 2,327 images/s 0.909 [0.9")
    assert line.endswith("9.1 % slower")
    assert "9.8 % faster" not in shown
    assert shown.splitlines()[-1].endswith("exit code 1: a regression")
    assert "1 pair: 1 worse, 0 better, 0 the same, 0 can't tell (99% sure" in shown


def test_the_other_verdicts_have_words_too():
    fast, same = timed(0.09, seed=2), timed(0.1, seed=3)
    wild = timed(0.1, seed=4, noise=0.2)
    assert row(text([timed(0.1, seed=1)], [fast]), "resnet50").endswith("faster")
    assert "same within 0." in row(text([timed(0.1, seed=1)], [same]), "resnet50")
    unclear = text([timed(0.1, seed=1)], [wild])
    assert "can't tell below" in row(unclear, "resnet50")
    assert "speed: could not have seen a change below" in unclear
    assert "exit code 0: no regression" in unclear


def test_a_long_label_leaves_the_verdict_whole():
    fed = {"data": "photographs", "optimizer": "adamw"}
    base, new = (
        [timed(0.1, seed=seed), timed(0.1, seed=seed + 5, noise=0.1, workload=fed)] for seed in (1, 20)
    )
    shown = text(base, new, width=100).split("\n\n")[0]
    assert re.search(r"can't tell below \d+\.\d %", shown)


def test_two_rounds_can_see_nothing_and_say_so_in_plain_words():
    base, new = ([timed(step, seed=i + n) for i, step in enumerate((0.1, 0.13))] for n in (0, 5))
    shown = text(base, new)
    assert "speed: could not have seen any change; more blocks or runs are needed" in shown
    assert row(shown, "resnet50").endswith("can't tell")


def test_other_metrics_have_a_row_where_they_changed_and_stand_below_in_any_case():
    more = timed(0.1, seed=2, memory={"peak_bytes_compiled": 66 * 2**30})
    shown = text([timed(0.1, seed=1)], [more])
    assert row(shown, "  compiled peak memory").endswith("60.0 GiB 66.0 GiB 1.100 regression: 10.0 % more")
    assert "host dispatch 400 µs; MFU 6.9 %" in " ".join(shown.split())
    assert "compiled peak memory 60.0 GiB → 66.0 GiB" in shown


def test_a_run_that_broke_says_how():
    broken = changed(timed(0.1, seed=2), status="oom", status_reason="needs 91 GiB of 80 GiB", timing=None)
    shown = text([timed(0.1, seed=1)], [broken])
    assert "NEW oom: needs" in " ".join(shown.split())
    assert "exit code 1" in shown


def test_a_side_that_got_slower_where_the_other_broke_shows_both():
    broken = changed(timed(0.1, seed=9), status="oom", status_reason="no room", timing=None, id="broken")
    base = [*(timed(0.1, seed=seed) for seed in range(3)), broken]
    shown = text(base, [timed(0.13, seed=seed) for seed in range(4, 7)])
    assert "improvement: BASE oom: no room (1 of 4 runs)" in " ".join(shown.split())
    assert row(shown, "  speed").endswith("% slower")
    assert "exit code 1" in shown


def test_an_input_that_cost_nothing_and_now_does_is_called_a_regression():
    def fed(seed, low, high):
        return timed(
            0.1,
            seed=seed,
            input={"mode": "real", "stall_fraction": low, "stall_fraction_bounds": (low, high)},
        )

    shown = text([fed(1, 0.0, 0.01)], [fed(2, 0.25, 0.3)])
    assert row(shown, "  input stall").endswith("25.0 % - regression")
    assert "exit code 1" in shown


def test_pairs_of_a_sweep_over_a_setting_are_named_by_it():
    base, new = (
        [timed(0.1, seed=s + n, config={"optimizer": {"b1": b1}}) for n, b1 in enumerate((0.9, 0.8))]
        for s in (1, 5)
    )
    shown = text(base, new, width=140)
    assert row(shown, "resnet50 bf16 batch 256 optimizer.b1 0.8")
    assert row(shown, "resnet50 bf16 batch 256 optimizer.b1 0.9")


def test_json_holds_no_number_that_json_has_not():
    base = timed(0.1, seed=1, compile={"program_flops": 1e-308})
    words, compared, pairing = said([base], [timed(0.1, seed=2)])
    content = json.loads(as_json(compared, words, pairing, 0, ["broken.json is damaged"]))
    assert content["pairs"][0]["metrics"]["FLOPs in the program"]["ratio"] is None
    assert content["left_out"] == ["broken.json is damaged"]


def test_differences_of_the_environment_are_listed_once_and_name_their_pairs():
    def both(seed, **fields):
        small = timed(0.1, seed=seed, name=f"small-{seed}", workload={"batch_size": 64}, **fields)
        return [timed(0.1, seed=seed + 10, name=f"large-{seed}", **fields), small]

    base, new = both(1), both(2, software={"jax": "0.12.0"})
    new[1] = changed(new[1], software={"driver": "550.54"})
    shown = text(base, new)
    assert shown.count("jax 0.10.2 → 0.12.0") == 1
    assert "  jax 0.10.2 → 0.12.0\n" in shown
    assert "driver none → 550.54 (resnet50 bf16 batch 64)" in shown


def test_one_run_a_side_is_said_not_to_see_the_spread_between_processes():
    sentence = "one run a side cannot see"
    assert sentence in text([timed(0.1, seed=1)], [timed(0.1, seed=2)])
    several = [timed(0.1, seed=seed) for seed in range(3)], [timed(0.1, seed=seed + 5) for seed in range(3)]
    assert sentence not in text(*several)


def test_pairs_that_are_alike_by_name_are_told_apart():
    def both(seed):
        return [timed(0.1, seed=seed), timed(0.1, seed=seed + 5, input={"mode": "host"})]

    shown = text(both(1), both(2))
    assert "input host" in " ".join(shown.split())
    assert "input resident" in " ".join(shown.split())


def test_left_over_runs_and_skipped_files_are_counted_and_named():
    pairing = pair(
        loaded(timed(0.1, seed=1), *(timed(0.1, seed=n, workload={"batch_size": n}) for n in range(2, 10))),
        loaded(timed(0.1, seed=20)),
    )
    compared = compare(pairing.pairs)
    words = report.words(compared, answer(compared), pairing, ["broken.json is damaged"])
    shown = " ".join(report.text(words).split())
    assert "8 only in BASE: run-2-0.1.json" in shown
    assert "and 3 more" in shown
    assert "left out: broken.json is damaged" in shown


@pytest.mark.parametrize("width", [80, 100])
def test_text_keeps_to_its_width(width):
    hostile = {"software": {"jax": HOSTILE}, "memory": {"peak_bytes_compiled": 1}}
    shown = text([timed(0.1, seed=1)], [timed(0.13, seed=2, noise=0.1, **hostile)], width=width)
    assert max(map(len, shown.splitlines())) <= width


def test_nothing_from_a_file_reaches_the_terminal_or_the_page_as_more_than_text():
    base = timed(0.1, seed=1, workload={"model": HOSTILE}, software={"jax": HOSTILE})
    new = timed(0.1, seed=2, workload={"model": HOSTILE}, software={"jax": "0.1 | x"})
    words, compared, pairing = said([base], [new])
    assert "\x1b" not in report.text(words)
    page = markdown(words)
    assert "\x1b" not in page
    assert "<script>" not in page.replace("\\<", "")
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 3
    assert all(line.replace("\\|", "").count("|") == 6 for line in table)
    assert "@team" not in page
    assert "#12" not in page
    content = json.loads(as_json(compared, words, pairing, 0))
    assert content["pairs"][0]["work"]["model"] == HOSTILE


@pytest.mark.parametrize("text", ["|", "`", "*", "_", "<", ">", "[", "]", "\\", "~", "#", "&", "!"])
def test_what_markdown_reads_is_escaped(text):
    assert escaped(f"a{text}b").startswith(f"a\\{text}")


def test_json_has_every_metric_with_its_direction_and_verdict():
    words, compared, pairing = said([timed(0.1, seed=1)], [timed(0.11, seed=2)])
    content = json.loads(as_json(compared, words, pairing, 1))
    speed = content["pairs"][0]["metrics"]["speed"]
    assert (speed["better"], speed["verdict"]) == ("higher", "regression")
    assert speed["interval"][0] < speed["ratio"] < speed["interval"][1] < 1
    assert content["exit_code"] == 1
    assert content["pairs"][0]["base"]["runs"][0]["id"] == "run-1-0.1"
