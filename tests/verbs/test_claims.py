"""The verb: what it prints and writes, whose results it takes, and mistakes."""

import itertools
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.results import forecasts
from tests.results.examples import ok_cpu, ok_gpu, oom
from trainbench import cli
from trainbench.errors import UserError
from trainbench.reference import claim
from trainbench.results import store
from trainbench.results.record import Result
from trainbench.verbs import claims

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"
IDS = [one.id for one in claim.load().claims]
RUNS = itertools.count()


def result(base=ok_gpu, workload=(), hardware=(), **changes):
    one = base()
    fields = {name: getattr(one, name) for name in Result.model_fields} | {"id": f"run-{next(RUNS)}"}
    fields["workload"] = one.workload.model_copy(update={"task": "image_classification"} | dict(workload))
    fields["hardware"] = one.hardware.model_copy(update=dict(hardware))
    return Result.model_validate(fields | changes)


def on_a_tpu(chip="tpu-v3", **changes):
    return result(hardware={"chip": chip, "device_kind": "TPU", "chip_count": 1}, **changes)


@pytest.fixture
def shown(capsys):
    def show(*arguments):
        assert claims.show([str(word) for word in arguments]) == 0
        return capsys.readouterr().out

    return show


def test_the_page_in_the_documents_is_what_the_program_writes(shown, tmp_path):
    shown("--markdown", tmp_path / "claims.md")
    assert (tmp_path / "claims.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    assert "python -m trainbench claims --markdown docs/claims.md" in PAGE.read_text().splitlines()[0]


def test_all_claims_are_printed_within_the_width_and_without_escape_codes(shown):
    output = shown()
    assert all(f"[{name}]" in output for name in IDS)
    assert max(len(line) for line in output.splitlines()) <= 110
    assert all(letter.isprintable() or letter == "\n" for letter in output)


@pytest.mark.parametrize(
    "arguments", [["resnet50-v100"], ["claim=resnet50-v100"], ["id=resnet50-v100"], ["ResNet50-V100"]]
)
def test_one_claim_is_shown_with_every_source(shown, arguments):
    output = shown(*arguments)
    assert "[resnet50-v100]" in output
    assert "[resnet50-tpu-v3]" not in output
    assert "resnet-50-v1-5-v100-x1-fp32-r224-tensorflow: NVIDIA/DeepLearningExamples" in output
    assert "2023-04-17" in output


@pytest.mark.parametrize("part", ["resnet50", "RESNET50-", "id=esnet5"])
def test_a_part_of_an_id_shows_all_claims_that_have_it(shown, part):
    content = json.loads(shown(part, "resnet50-v100", "--json"))
    assert [one["claim"]["id"] for one in content["claims"]] == [
        name for name in IDS if name.startswith("resnet50-")
    ]


def test_many_claims_by_a_part_of_their_ids_are_listed_and_one_is_shown_with_every_source(shown):
    assert "\n  sources\n" not in shown("resnet50")
    assert "\n  sources\n" in shown("resnet50-tpu")


def test_a_claim_of_several_checks_says_how_they_combine(shown):
    said = "the plain one, listed first, decides"
    assert said in " ".join(shown("bert-large-v100").split())
    assert said not in " ".join(shown("resnet50-v100").split())


def test_a_whole_id_is_not_taken_for_a_part_of_another():
    first, second = claim.load().claims[:2]
    longer = replace(second, id=f"{first.id}-again")
    assert claims._find(first.id, [longer, first]) == [first]


def test_json_has_every_claim_with_its_numbers_and_sources(shown):
    content = json.loads(shown("--json"))
    assert [one["claim"]["id"] for one in content["claims"]] == IDS
    by_id = {one["claim"]["id"]: one for one in content["claims"]}
    assert by_id["resnet50-v3-over-v100"]["like_for_like"]
    assert not by_id["bert-large-v3-over-v100"]["like_for_like"]
    assert by_id["resnet50-tpu-v3"]["deciding_check"] == "images per TensorCore (half a chip)"
    first = content["claims"][0]["checks"][0]
    assert first["word"] == "contradicted"
    assert first["found"][0]["sources"][0]["id"].startswith("bert-large-v100")


def test_a_measurement_and_a_forecast_stand_beside_the_claims_they_fit(shown, tmp_path):
    store.write(on_a_tpu(), tmp_path / "here")
    store.write(on_a_tpu("tpu-v6e", kind="forecast"), tmp_path / "there")
    rate = shown("claim=resnet50-tpu-v3", "--results", tmp_path)
    rate = " ".join(rate.split())
    assert "measured here: 2,791 images/s, 2.79x the claim as 'images per chip" in rate
    assert "in a batch'; batch 256, bf16, TPU v3" in rate
    assert "1,396 images/s, 1.40x the claim as 'images per TensorCore" in rate
    assert "forecast" not in rate
    ratio = " ".join(shown("tpu-v6e-training", "--results", tmp_path).split())
    assert "forecast: 2,791 images/s per chip, batch 256, bf16: " in ratio
    assert "with resnet-50-v1-5-h100" in ratio
    assert "measured here" not in ratio


def test_a_forecast_comes_with_its_interval_and_a_bound_or_one_too_large_is_left_out(shown, tmp_path):
    work = {"task": "image_classification"}
    store.write(forecasts.compiled("v3-1", rate=2000.0, share=0.15, workload=work), tmp_path / "expected")
    store.write(forecasts.traced("v3-1"), tmp_path / "bound")
    store.write(forecasts.too_large("v3-1", id="full"), tmp_path / "full")
    store.write(forecasts.failed(), tmp_path / "failed")
    content = json.loads(shown("resnet50-tpu-v3", "--json", "--results", tmp_path))
    assert {Path(own["file"]).parent.name for own in content["claims"][0]["own"]} == {"expected"}
    bound, failed, full = content["left_out"]
    assert "it is a bound, and expects no samples/s" in bound
    assert "its status is failed" in failed
    assert "its status is oom" in full
    said = " ".join(shown("resnet50-tpu-v3", "--results", tmp_path).split())
    assert "forecast: 2,000 images/s, 2.00x the claim as 'images per chip" in said
    assert "batch 512, bf16, ± 15.0 %" in said
    assert "4 results read: 0 measured beside claims, 1 forecast beside claims" in said


def test_a_forecast_that_stands_against_a_measurement_is_called_one():
    file = Path("there/result.json")
    assert claims._figure(forecasts.compiled(), file).id == "there/result.json (forecast)"
    assert claims._figure(on_a_tpu(), file).id == "there/result.json"


def test_a_file_and_its_directory_name_one_result(shown, tmp_path):
    file = store.write(on_a_tpu(), tmp_path)
    content = json.loads(shown("resnet50-v3-over-v100", "--json", "--results", tmp_path, file))
    assert len(content["claims"][0]["own"]) == 1


def test_a_copy_of_a_result_is_named_and_counts_once(shown, tmp_path):
    one = on_a_tpu()
    store.write(one, tmp_path / "first")
    store.write(one, tmp_path / "second")
    content = json.loads(shown("resnet50-v3-over-v100", "--json", "--results", tmp_path))
    assert len(content["claims"][0]["own"]) == 1
    assert "is a copy of" in content["left_out"][0]
    assert shown("--results", tmp_path).startswith("2 results read: ")
    assert "1 left out, 0 damaged" in " ".join(shown("--results", tmp_path).split())


def test_another_size_or_precision_is_not_compared(shown, tmp_path):
    store.write(on_a_tpu(workload={"image_size": 160}), tmp_path / "small")
    store.write(on_a_tpu(workload={"precision": "tf32"}), tmp_path / "other")
    content = json.loads(shown("resnet50-v3-over-v100", "--json", "--results", tmp_path))
    assert content["claims"][0]["own"] == []


def test_a_cpu_and_an_unknown_chip_are_other_hardware(shown, tmp_path):
    store.write(result(ok_cpu), tmp_path / "cpu")
    store.write(result(hardware={"chip": None, "device_kind": "Strange 9"}), tmp_path / "strange")
    content = json.loads(shown("--json", "--results", tmp_path))
    assert len(content["other_hardware"]) == 2
    assert "resnet50 on Strange 9" in content["other_hardware"][1]
    assert not any(one["own"] for one in content["claims"])


def test_damaged_failed_and_probing_files_are_named_and_left_out(shown, tmp_path):
    (tmp_path / "torn.json").write_text('{"schema_version": 1, "kind"')
    store.write(oom(), tmp_path / "full")
    store.write(on_a_tpu(kind="probe"), tmp_path / "probe")
    store.write(on_a_tpu(), tmp_path / "fine")
    content = json.loads(shown("resnet50-tpu-v3", "--json", "--results", tmp_path))
    full, probe, torn = content["left_out"]
    assert "its status is oom" in full
    assert "a probe trains no model" in probe
    assert "torn.json is damaged" in torn
    assert {Path(own["file"]).parent.name for own in content["claims"][0]["own"]} == {"fine"}


def test_the_first_line_counts_what_was_read(shown, tmp_path):
    store.write(on_a_tpu(), tmp_path / "fine")
    store.write(on_a_tpu(kind="forecast"), tmp_path / "forecast")
    store.write(on_a_tpu(workload={"model": "none_such"}), tmp_path / "unheard_of")
    store.write(result(ok_cpu), tmp_path / "cpu")
    store.write(result(ok_cpu), tmp_path / "again")
    store.write(oom(), tmp_path / "full")
    (tmp_path / "torn.json").write_text("{")
    first, second, *_ = shown("resnet50-tpu-v3", "--results", tmp_path).split("\n\n")
    assert " ".join(first.split()) == (
        "7 results read: 1 measured beside claims, 1 forecast beside claims, 1 that none of these claims is "
        "about, 2 on other hardware (a CPU), 1 left out, 1 damaged"
    )
    _, word, mine, *_ = second.splitlines()
    assert word == "  SUPPORTED WITH CONDITIONS"
    assert mine.startswith("  measured here: ")
    assert shown("--results", tmp_path).startswith("7 results read: ")
    assert shown("--html", tmp_path / "page.html", "--results", tmp_path).startswith("7 results read: ")
    assert "results read" not in shown()


def test_your_results_stand_directly_under_the_verdict_on_both_pages(shown, tmp_path):
    store.write(on_a_tpu(), tmp_path / "fine")
    pages = tmp_path / "claims.md", tmp_path / "claims.html"
    shown("resnet50-tpu-v3", "--results", tmp_path, "--markdown", pages[0], "--html", pages[1])
    for page in pages:
        section = page.read_text(encoding="utf-8").partition('resnet50-tpu-v3">')[2].partition("<details")[0]
        before = section.rpartition("Your results")[0]
        assert "One TensorCore" in before
        assert "| Check |" not in before.partition("## ")[2]
        assert "Found:" not in before


def test_every_form_says_how_several_readings_combine(shown, tmp_path):
    pages = tmp_path / "claims.md", tmp_path / "claims.html"
    shown("--markdown", pages[0], "--html", pages[1])
    said = "Of several readings of a claim the plain one, listed first, decides, and another that"
    for text in (shown(), *(page.read_text(encoding="utf-8") for page in pages)):
        assert said in " ".join(text.split())


def test_the_help_names_every_option_and_only_commands_that_work(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("results", "outputs"):
        (tmp_path / name).mkdir()
    for option in ("ID", "--results", "--markdown", "--html", "--json"):
        assert f"\n  {option} " in claims.HELP
    examples = [line for line in claims.HELP.splitlines() if line.startswith("  python -m trainbench claims")]
    assert len(examples) > 3
    for line in examples:
        assert shown(*line.split()[4:])


def test_an_empty_directory_is_named(shown, tmp_path):
    assert f"left out: {tmp_path.name}" in shown("--results", tmp_path).replace(f"{tmp_path.parent}/", "")


class _Tags(HTMLParser):
    """Which tags and attributes a page really has, whatever its text says."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_html_is_self_contained_and_escapes_what_files_say(shown, tmp_path):
    evil = '<script>alert("&")</script>'
    directory = tmp_path / '<img src=x onerror="alert(1)">'
    store.write(on_a_tpu(), directory)
    store.write(result(hardware={"chip": None, "device_kind": evil}), tmp_path / "strange")
    (tmp_path / "<b>torn.json").write_text("{")
    shown("--html", tmp_path / "claims.html", "--results", tmp_path)
    text = (tmp_path / "claims.html").read_text(encoding="utf-8")
    page = _Tags(text)
    assert not page.tags & {"script", "img", "b", "link"}
    assert not page.attributes & {"src", "onerror", "onclick"}
    assert "&lt;script&gt;" in text
    assert "&lt;img src=x" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert all(f'id="{name}"' in text for name in IDS)


def test_markdown_and_text_show_what_files_say_as_it_is(shown, tmp_path):
    kind = "\x1b[31m|<b>*[x](y)"
    store.write(result(hardware={"chip": None, "device_kind": kind}), tmp_path)
    assert "\x1b" not in shown("--results", tmp_path)
    shown("--markdown", tmp_path / "claims.md", "--results", tmp_path)
    page = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert r"?\[31m\|\<b\>\*\[x\](y)" in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet5O-v100"], "claims resnet50-v100"),
        (["id="], "there is no claim ''"),
        (["claim=qqq"], "there is no claim 'qqq'"),
        (["--results", "nowhere"], "there is nothing at nowhere"),
        (["--results"], "expected at least one argument"),
        (["--pdf", "x"], "--pdf"),
        (["--results", ""], "an empty path names nothing"),
        (["--html", ""], "an empty path names nothing"),
        (["--html", "/"], "/ is a directory"),
        (["--html", "/dev/null/claims.html"], "cannot write /dev/null/claims.html: File exists"),
    ],
)
def test_mistakes_are_one_short_screen(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        claims.show(arguments)
    assert said in str(caught.value)
    assert caught.value.fix
    assert cli.main(["claims", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) <= 4


def test_a_page_that_cannot_be_written_leaves_the_old_one(shown, tmp_path, monkeypatch):
    page = tmp_path / "claims.md"
    page.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        shown("--markdown", page)
    assert page.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["claims.md"]


def test_the_table_of_all_claims_shows_the_check_that_decided(shown, tmp_path):
    shown("--markdown", tmp_path / "claims.md")
    (row,) = [
        line for line in (tmp_path / "claims.md").read_text().splitlines() if "(#resnet50-tpu-v3)" in line
    ]
    assert "| images per TensorCore (half a chip): " in row
    assert "4 of 5 agree" in row


def test_every_claim_names_its_sources_with_dates_on_one_line(shown):
    blocks = [" ".join(block.split()) for block in shown().split("\n\n")[1:-1]]
    assert len(blocks) == len(IDS)
    for block in blocks:
        sources = block.rpartition(" sources: ")[2]
        assert "(" in sources
        assert sources.count("(") <= 4
    assert blocks[IDS.index("bert-large-tpu-v3")].endswith(
        "sources: mlcommons/training_results_v0.7 (2020-07-09)"
    )


def test_checks_on_the_same_pairs_say_so_and_count_rows_beside_pairs(shown):
    output = " ".join(shown("tpu-5-50x").split())
    assert "(3 pairs of 3 rows with 1 row, 0 of 3 agree)" in output
    assert "TPU v3 / V100, resnet50 only" in output
    assert output.count("; the same pairs as 'vision: ResNet, ViT'") == 2


def test_ratios_per_dollar_print_both_prices_with_provider_date_and_host(shown):
    output = " ".join(shown("tpu-per-dollar").split())
    prices = output.partition("divided by: ")[2].partition(" conditions: ")[0].split("; ")
    assert len(prices) > 10
    for price in prices:
        assert "$" in price
        assert "undated" in price or "20" in price
        assert "host" in price
    assert "prices are undated" in output.partition("conditions, ")[2][:80].lower()
    assert "pairs with prices that are not known to be alike" in output


def test_a_verdict_on_evidence_that_is_not_like_for_like_says_so(shown, tmp_path):
    said = "NOT SUPPORTED, on evidence that is not like for like"
    assert said in shown("bert-large-v3-over-v100")
    assert said not in shown("resnet50-v3-over-v100")
    shown("--html", tmp_path / "claims.html")
    assert "not supported, on evidence that is not like for like" in (tmp_path / "claims.html").read_text()
