import json
import re
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from tests.results import examples
from trainbench.results import store
from trainbench.results.record import SCHEMA_VERSION, Auto, Loss, Result, StepTime, Throughput, schema


def shipped_schema() -> dict:
    return json.loads(resources.files("trainbench.results").joinpath("result.schema.json").read_text("utf-8"))


def as_json(result: Result) -> dict:
    return json.loads(result.model_dump_json())


def test_shipped_schema_is_the_generated_one():
    regenerate = "python -m trainbench.results.record > trainbench/results/result.schema.json"
    assert shipped_schema() == schema(), f"the record has changed; regenerate its schema with: {regenerate}"


def test_schema_is_itself_valid():
    jsonschema.Draft202012Validator.check_schema(shipped_schema())


@pytest.mark.parametrize("example", examples.ALL)
def test_examples_are_valid_under_the_shipped_schema(example):
    jsonschema.validate(as_json(example()), shipped_schema())


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        (None, "status", "fine"),
        (None, "surprise", 1),
        ("timing", "block_s", [-1.0]),
        ("loss", "finite", None),
        ("throughput", "samples_per_s", "fast"),
    ],
)
def test_schema_and_record_refuse_the_same_damage(section, field, value):
    content = as_json(examples.ok_gpu())
    (content[section] if section else content)[field] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, shipped_schema())
    with pytest.raises(ValidationError):
        Result.model_validate_json(json.dumps(content), strict=True)


def test_schema_wants_every_field_in_a_file():
    content = as_json(examples.ok_gpu())
    del content["power"]
    with pytest.raises(jsonschema.ValidationError, match="'power' is a required property"):
        jsonschema.validate(content, shipped_schema())


def test_schema_version_is_in_record_and_schema():
    assert as_json(examples.ok_gpu())["schema_version"] == SCHEMA_VERSION
    assert shipped_schema()["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_records_are_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        examples.ok_gpu().status = "failed"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_impossible_numbers_are_refused(bad):
    with pytest.raises(ValidationError):
        Throughput(samples_per_s=bad)


def test_nan_is_refused_in_free_form_values_too():
    with pytest.raises(ValidationError, match="finite"):
        Auto(value={"deep": [float("nan")]}, reason="none")


def test_swapped_interval_is_refused():
    with pytest.raises(ValidationError, match="above the upper end"):
        StepTime(median=1.0, mean=1.0, ci95=(1.1, 0.9))


@pytest.mark.parametrize("status", ["oom", "interrupted", "failed", "invalid"])
def test_a_run_that_is_not_ok_must_say_why(status):
    with pytest.raises(ValidationError, match="needs a status_reason"):
        Result.model_validate(dict(examples.ok_gpu()) | {"status": status})


@pytest.mark.parametrize("section", ["workload", "hardware", "timing", "throughput"])
def test_an_ok_measurement_without_its_figures_is_refused(section):
    with pytest.raises(ValidationError, match=f"an ok measurement needs {section}"):
        Result.model_validate(dict(examples.ok_gpu()) | {section: None})


def test_a_forecast_has_no_timing():
    forecast = Result.model_validate(dict(examples.ok_gpu()) | {"kind": "forecast", "timing": None})
    assert forecast.timing is None


def test_mfu_above_one_is_evidence_of_an_invalid_run_and_never_ok():
    impossible = dict(examples.ok_gpu()) | {"utilization": {"mfu": 1.04}}
    with pytest.raises(ValidationError, match="above the chip's peak"):
        Result.model_validate(impossible)
    kept = Result.model_validate(impossible | {"status": "invalid", "status_reason": "MFU above 1"})
    assert kept.utilization is not None
    assert kept.utilization.mfu == 1.04


def test_finite_losses_are_kept():
    assert Loss.from_curve([(0, 2.5), (9, 0.5)]) == Loss(
        first=2.5, last=0.5, finite=True, curve=((0, 2.5), (9, 0.5))
    )


def test_losses_that_are_not_finite_become_none_and_are_reported():
    loss = Loss.from_curve([(0, 2.5), (5, float("inf")), (9, float("nan"))])
    assert (loss.first, loss.last, loss.finite) == (2.5, None, False)
    assert loss.curve == ((0, 2.5), (5, None), (9, None))


def test_a_bad_loss_in_the_middle_is_not_forgotten():
    loss = Loss.from_curve([(0, 2.5), (5, float("nan")), (9, 1.5)])
    assert (loss.last, loss.finite) == (1.5, False)


def test_the_reason_for_an_unknown_field_is_found_by_its_name():
    result = examples.ok_cpu()
    assert result.reason("mfu") == "no published peak for device kind 'cpu'"
    assert result.reason("hfu") is None


def test_every_class_of_the_schema_is_closed_to_unknown_fields():
    definitions = shipped_schema()["$defs"]
    objects = {name for name, body in definitions.items() if "properties" in body}
    open_ones = {name for name in objects if definitions[name].get("additionalProperties") is not False}
    assert objects
    assert not open_ones


KEPT = sorted((Path(__file__).parents[2] / "results").rglob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_the_results_that_the_readme_quotes_are_valid_and_say_nothing_of_the_machines_folders(path):
    result = store.read(path)
    assert result.status == "ok"
    # Not the file itself: one of an earlier schema stays as it was measured.
    jsonschema.validate(as_json(result), shipped_schema())
    assert not re.search(r'"/|=/', path.read_text())


def test_there_are_results():
    assert KEPT
