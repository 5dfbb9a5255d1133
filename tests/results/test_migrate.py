"""Files of every earlier schema stay readable, and nobody forgets it when the schema changes."""

import json
import re
from pathlib import Path

import pytest

from tests.building import tree
from trainbench import config
from trainbench.errors import UserError
from trainbench.levers import registry
from trainbench.levers.lever import Situation
from trainbench.levers.registry import RESOLVED
from trainbench.levers.values import PLAIN
from trainbench.results import migrate, record, store
from trainbench.results.record import SCHEMA_VERSION, Result

FILES = Path(__file__).parent / "files"
OLDER = range(1, SCHEMA_VERSION)


def test_every_earlier_schema_has_a_migration_a_real_file_and_a_word_in_the_history():
    assert set(migrate.MIGRATIONS) == set(OLDER), (
        "add a migration from the schema before to results/migrate.py"
    )
    history = record.__doc__.partition("Schema history")[2]
    for version in OLDER:
        assert (FILES / f"schema_{version}.json").exists(), (
            "keep a result file of the schema before as a fixture"
        )
    for version in (*OLDER, SCHEMA_VERSION):
        assert re.search(rf"^  {version} \w", history, re.MULTILINE)


@pytest.mark.parametrize("file", sorted(FILES.glob("schema_*.json")), ids=lambda file: file.stem)
def test_older_files_are_read_whole_and_can_be_written_in_the_present_schema(file, tmp_path):
    before = json.loads(file.read_text())
    assert before["schema_version"] < SCHEMA_VERSION
    result = store.read(file)
    assert result.schema_version == SCHEMA_VERSION
    assert result.throughput is not None
    assert result.throughput.samples_per_s == before["throughput"]["samples_per_s"]
    after = json.loads(store.write(result, tmp_path).read_text())
    changed = {"schema_version": SCHEMA_VERSION}
    assert {key: value for key, value in after.items() if key in before} | changed == completed(
        before, after
    ) | changed


def completed(before: dict, after: dict) -> dict:
    """`before` with the fields that are new below its first level."""
    old = json.loads(json.dumps(before))
    old["config"] = after["config"] | old["config"]
    old["workload"].setdefault("gradient_accumulation", after["workload"]["gradient_accumulation"])
    if old["memory"]:
        old["memory"].setdefault("largest_batch_size", None)
    for one in old["comparisons"]:
        for name in ("per_watt", "per_dollar", "basis"):
            one.setdefault(name, None)
    return old


def test_the_first_files_lack_what_was_added_to_schema_1_later():
    result = store.read(FILES / "schema_1_first.json")
    assert result.workload is not None
    assert result.workload.gradient_accumulation == 1
    assert result.comparisons
    assert all(one.per_watt is one.per_dollar is one.basis is None for one in result.comparisons)
    assert result.reproduction is result.trace is None


def test_accumulation_that_an_older_file_tells_is_kept():
    content = json.loads((FILES / "schema_1.json").read_text())
    content["workload"]["gradient_accumulation"] = 4
    assert migrate.to_present(content)["workload"]["gradient_accumulation"] == 4


def test_migrations_are_applied_one_after_the_other(monkeypatch):
    steps = {
        0: lambda content: content | {"first": True},
        1: lambda content: content | {"second": content["first"]},
    }
    monkeypatch.setattr(migrate, "MIGRATIONS", steps)
    monkeypatch.setattr(migrate, "SCHEMA_VERSION", 2)
    assert migrate.to_present({"schema_version": 0}) == {"schema_version": 2, "first": True, "second": True}


@pytest.mark.parametrize("section", [None, [], "text", 3])
def test_damage_in_an_older_file_is_named_not_migrated(tmp_path, section):
    content = json.loads((FILES / "schema_1.json").read_text()) | {"workload": section}
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"is not a valid result: .*workload"):
        store.read(tmp_path)


def test_what_is_read_equals_what_a_second_migration_reads():
    content = json.loads((FILES / "schema_1.json").read_text())
    migrated = migrate.to_present(content)
    assert Result.model_validate_json(json.dumps(migrate.to_present(migrated))) == store.read(
        FILES / "schema_1.json"
    )


@pytest.mark.parametrize(("model", "norm"), [("resnet50", "synchronised"), ("vit_b16", None)])
def test_earlier_runs_on_several_devices_were_data_parallel_with_synchronised_statistics(model, norm):
    content = {"schema_version": 3, "hardware": {"device_count": 8}, "workload": {"model": model}}
    content["config"] = {"seed": 0}
    present = migrate.to_present(content)
    assert present["config"].get("batch_norm") == norm, "so that a rerun has them too"
    split = present["parallel"]
    assert split == {"data": 8, "fsdp": 1, "tensor": 1, "batch_norm": norm}
    record.Parallel.model_validate(split)
    assert "parallel" not in migrate.to_present(content | {"hardware": {"device_count": 1}})


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize("model", ["resnet50", "resnet_tiny", "vit_b16", "gpt2_124m"])
def test_runs_before_there_were_levers_ran_in_the_plain_way(model, platform):
    without = {key: value for key, value in tree(f"model={model}").items() if key not in RESOLVED}
    then = migrate.to_present({"schema_version": 4, "config": without})["config"]
    assert {key: then[key] for key in without} == without
    again = config.parse(tree(f"model={model}") | then)
    levers, _ = registry.resolve(Situation(again, platform, 9.0 if platform == "gpu" else None))
    assert levers == PLAIN


@pytest.mark.parametrize("damaged", [{}, None, {"model": None}, {"model": "vit"}])
def test_a_file_without_a_whole_configuration_is_given_none(damaged):
    assert migrate.to_present({"schema_version": 4, "config": damaged})["config"] == damaged
