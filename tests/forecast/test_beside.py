"""A forecast beside a run: what is forecast for a run, the error, and in what the two are unlike."""

import pytest

from tests.building import tree
from tests.forecast import outcomes
from tests.results import examples, forecasts
from tests.results.comparing import changed
from trainbench import cli
from trainbench.errors import ExitCode, UserError
from trainbench.forecast import beside
from trainbench.forecast.compiler import build, compilers
from trainbench.recompose import compose
from trainbench.results import record, store


def ran(*overrides, **fields):
    """A measured run of ResNet-50 with these overrides on one v6e chip; `fields` as of `changed`."""
    config = tree("model=resnet50", "batch_size=8", *overrides)
    base = changed(examples.ok_gpu(), config=config, autos={}, hardware=v6e(1))
    return changed(base, **fields)


def v6e(count):
    return record.Hardware(
        device_kind="TPU v6 lite", chip="tpu-v6e", device_count=count, chip_count=count, process_count=1
    )


@pytest.mark.parametrize(
    ("kind", "chip", "devices", "count", "name"),
    [
        ("TPU v6 lite", "tpu-v6e", 4, 4, "v6e-4"),
        ("TPU v3", "tpu-v3", 8, 4, "v3-8"),
        ("TPU v4", "tpu-v4", 4, 4, "v4-8"),
        ("TPU v3", "tpu-v3", 2, 1, "v3-1"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb", 8, 8, "h100-8"),
        ("NVIDIA H100 PCIe", "h100-pcie-80gb", 1, 1, "h100-pcie-80gb-1"),
        ("cpu", None, 1, None, "cpu"),
    ],
)
def test_what_a_run_was_on_is_a_target(kind, chip, devices, count, name):
    hardware = record.Hardware(
        device_kind=kind, chip=chip, device_count=devices, chip_count=count, process_count=1
    )
    found = beside.target_of(changed(examples.ok_gpu(), hardware=hardware))
    assert found.name == name
    assert found.devices == devices


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        (record.Hardware(device_kind="Strange 9", device_count=2, process_count=1), "2 x Strange 9"),
        (record.Hardware(device_kind="cpu", device_count=4, process_count=1), "4 x cpu"),
        (v6e(3), "3 chips tpu-v6e, of which there is no slice"),
    ],
)
def test_what_is_no_target_is_named(hardware, words):
    with pytest.raises(UserError, match=words):
        beside.target_of(changed(examples.ok_gpu(), hardware=hardware))


def test_the_forecast_is_of_the_runs_step_with_what_was_chosen_and_on_synthetic_data():
    autos = {"batch_size": record.Auto(value=48, reason="largest that fits")}
    run = ran("data=photos", "batch_size=auto", "precision=fp32", "image_size=160", "input=real", autos=autos)
    found = compose(beside.overrides(run))
    assert found == tree("model=resnet50", "batch_size=48", "precision=fp32", "image_size=160")


def test_a_reproduction_is_forecast_by_its_conditions():
    run = ran(
        "reproduce=resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch", "gradient_accumulation=2", "trace=true"
    )
    assert compose(beside.overrides(run)) == tree("model=resnet50", "batch_size=8", "gradient_accumulation=2")


def test_versions_that_a_side_does_not_say_are_no_difference():
    run = ran(software={"prng": "rbg", "libtpu": None})
    assert list(beside.differences(forecasts.compiled("v6e-1"), run)) == []


def test_the_error_is_of_the_expected_rate_and_else_of_the_bound():
    run = ran()  # 2,791.4 images/s
    expected = beside.with_run(forecasts.compiled(rate=3000.0), run).forecast.beside
    assert expected.error == pytest.approx(3000 / 2791.4 - 1)
    assert (expected.result_id, expected.samples_per_s) == (run.id, 2791.4)
    bound = beside.with_run(forecasts.traced(bound=9000.0), run).forecast.beside
    assert bound.error == pytest.approx(9000 / 2791.4 - 1)


def test_a_forecast_without_a_rate_has_a_warning_instead():
    found = beside.with_run(forecasts.too_large("v6e-1"), ran())
    assert found.forecast.beside is None
    assert "has no rate (status oom)" in found.reason("beside")


def test_what_is_unlike_is_listed_and_what_is_alike_is_not():
    alike = forecasts.compiled("v6e-1", software=examples.SOFTWARE)
    assert list(beside.differences(alike, ran())) == []
    fed = examples.ok_gpu().input.model_copy(update={"mode": "real", "stall_fraction": 0.25})
    run = ran(input=fed, workload={"data": "imagenet"}, software={"jax": "0.9.0"}, timing={"steady": False})
    found = list(beside.differences(alike, run))
    assert found[0].startswith("the run was not steady: ")
    assert found[1].startswith(
        "input: the run was fed (real), which costs 25.0 % of a step; the forecast has"
    )
    assert found[2:] == ["data: run imagenet, forecast synthetic", "jax: run 0.9.0, forecast 0.10.2"]


def test_a_bound_for_another_processor_says_so():
    cpu = record.Hardware(
        device_kind="cpu", device_count=1, process_count=1, host=record.Host(cpu="Some processor")
    )
    run = ran(hardware=cpu, software=examples.SOFTWARE)
    (line,) = (one for one in beside.differences(forecasts.traced(), run) if one.startswith("processor"))
    assert line.startswith("processor: run Some processor, forecast ")


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Stands for the compiler; what it was asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compilers, "missing", lambda target: None)
    asked = []

    def built(composed, target, *others):
        asked.append((target.name, composed["model"]["name"], composed["batch_size"]))
        return outcomes.sampled("resnet_v3" if target.chip == "tpu-v3" else "matmul_v6e", target.name)

    monkeypatch.setattr(build, "built", built)
    return asked


def test_the_verb_forecasts_for_a_run_prints_both_and_stores_the_error(compiler, tmp_path, capsys):
    run = ran("batch_size=16")
    store.write(run, tmp_path / "run")
    assert cli.main(["forecast", "beside=run", "--dir", "out"]) == ExitCode.OK
    assert compiler == [("v6e-1", "resnet50", 16)]
    said = capsys.readouterr().out
    assert f"2,791 images/s, run {run.id}" in said
    assert "measured - 1)" in said
    found = store.read(tmp_path / "out" / "v6e-1").forecast.beside
    assert found.result_id == run.id
    assert "batch size: run 256, forecast 8" in found.differences


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["beside=nowhere"], "there is no result at"),
        (["beside="], "what is beside=?"),
        (["beside=run", "target=v6e-1"], "what is target=v6e-1?"),
        (["beside=run", "precision=fp32"], "what is precision=fp32?"),
        (["beside=above"], "below it: above/run/result.json"),
        (["beside=forecast"], "is a forecast, which ran no benchmark"),
        (["beside=oom"], "has no rate to set a forecast beside: its status is oom"),
    ],
)
def test_mistakes_are_told_before_anything_is_compiled(compiler, tmp_path, capsys, arguments, words):
    for place, result in {
        "run": ran(),
        "above/run": ran(),
        "forecast": forecasts.compiled(),
        "oom": examples.oom(),
    }.items():
        store.write(result, tmp_path / place)
    assert cli.main(["forecast", *arguments]) == ExitCode.USER_ERROR
    assert words in " ".join(capsys.readouterr().err.split())
    assert not compiler


def test_a_forecast_is_forecast_again_and_compared_without_a_verdict(compiler, tmp_path, capsys):
    config = tree("model=resnet50", "batch_size=auto")
    autos = {"batch_size": record.Auto(value=24, reason="largest that fits")}
    store.write(forecasts.compiled("v3-8", config=config, autos=autos), tmp_path / "old")
    assert cli.main(["rerun", "old", "--print"]) == ExitCode.OK
    typed = capsys.readouterr().out
    assert typed.startswith("python -m trainbench forecast target=v3-8 model=resnet50 ")
    assert "batch_size=24" in typed
    assert cli.main(["rerun", "old", "precision=fp32", "hydra.run.dir=new"]) == ExitCode.OK
    assert compiler == [("v3-8", "resnet50", 24)]
    assert (tmp_path / "new" / "v3-8" / "result.json").exists()
    said = capsys.readouterr()
    assert "forecasts are never judged" in said.out
    assert "regression" not in said.out.replace("no regression", "")
    assert cli.main(["rerun", "old", "target=v6e-1", "--print"]) == ExitCode.OK
    assert "target=v6e-1" in capsys.readouterr().out
