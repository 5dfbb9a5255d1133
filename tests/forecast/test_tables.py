"""The tables of forecasts in the documents, and the scripts that make them; no compiler runs."""

import importlib.util
from pathlib import Path

import pytest

from tests.results import forecasts
from trainbench.errors import ExitCode, UserError
from trainbench.forecast.tables import commands, documents, rows, scaling, table
from trainbench.processes import child
from trainbench.reference import figures
from trainbench.report import scaling_chart
from trainbench.results import store

ROOT = Path(__file__).parents[2]
IMAGES = {"task": "image_classification"}


def script(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


forecast_table, forecast_scaling = script("forecast_table"), script("forecast_scaling")


@pytest.fixture
def root(tmp_path):
    """Documents with places for all tables."""
    names = {"README.md": [table.NAME], "docs/forecasts.md": [table.NAME]}
    names["docs/scaling.md"] = ["scaling of resnet50", "scaling of bert_large"]
    for file, held in names.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        text = "\n\n".join("\n".join(documents.comments(name)) for name in held)
        (tmp_path / file).write_text(f"# Title\n\n{text}\n")
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """Stands for the verb; what was asked of it, and `results` by target for other than the usual."""
    made = []

    def run(target, overrides, directory):
        made.append((target, tuple(overrides)))
        model = overrides[0].partition("=")[2]
        chips = forecasts.find(target).chips
        usual = forecasts.compiled(target, rate=1000.0 * chips**0.95, workload=IMAGES | {"model": model})
        return run.results.get(target, usual)

    run.results, run.made = {}, made
    monkeypatch.setattr(commands, "run", run)
    return run


def test_every_cell_of_the_table_is_asked_for_with_its_batch(asked, root):
    assert forecast_table.main([], root) == ExitCode.OK
    assert len(asked.made) == 18
    resnet = ("model=resnet50", "precision=bf16", "batch_size=128", "batch_norm=synchronised")
    assert ("v6e-1", resnet) in asked.made
    bert = {target: words for target, words in asked.made if words[0] == "model=bert_large"}
    assert bert["v3-1"][2:] == ("batch_size=12", "sequence_length=512")
    assert bert["tpu7x-1"][2:] == ("batch_size=32", "sequence_length=512")
    assert len(rows.read(root / "docs" / "forecasts.csv")) == 18


def test_the_documents_get_the_table_and_the_check_finds_what_differs(asked, root, capsys):
    asked.results["v5e-1"] = forecasts.too_large(workload=IMAGES)
    chosen = ["--model", "resnet50", "--target", "v3-1", "v5e-1"]
    assert forecast_table.main(chosen, root) == ExitCode.OK
    readme, page = (root / "README.md").read_text(), (root / "docs" / "forecasts.md").read_text()
    first, second = (line for line in readme.splitlines() if line.startswith("| resnet50"))
    assert first.startswith(
        "| resnet50, 224 px | 256 | v3-1 | 20.0 GiB of 31.0 GiB | 1,000 | 900 to 1,100 | 1,500 | HBM 60.0 %"
    )
    assert "| v5e-1 | 20.0 GiB of 16.0 GiB | oom | - | - | - |" in second
    assert "Forecast with jax 0.10.2 and libtpu 0.0.42.1, 2026-02-02" in readme
    assert "(`resnet-50" in page
    assert "(`resnet-50" not in readme
    assert forecast_table.main(["--check"], root) == ExitCode.OK
    (root / "README.md").write_text(readme.replace("1,000", "2,000"))
    assert forecast_table.main(["--check"], root) == ExitCode.FAILED_CHECK
    assert "README.md: not the table of docs/forecasts.csv" in capsys.readouterr().err


def test_rows_that_are_not_asked_for_stay(asked, root):
    forecast_table.main(["--model", "resnet50", "--target", "v3-1", "v4-1"], root)
    asked.results["v4-1"] = forecasts.compiled("v4-1", rate=7.0, workload=IMAGES)
    forecast_table.main(["--model", "resnet50", "--target", "v4-1"], root)
    kept = {row.target: row.expected for row in rows.read(root / "docs" / "forecasts.csv")}
    assert kept == {"v3-1": 1000.0, "v4-1": 7.0}


def test_a_document_without_a_place_is_told_before_anything_is_forecast(asked, root, capsys):
    (root / "README.md").write_text("# Title\n")
    assert forecast_table.main([], root) == ExitCode.USER_ERROR
    assert "README.md: there must be one place for the table" in capsys.readouterr().err
    assert not asked.made


def test_what_was_made_before_a_wish_to_stop_is_kept(asked, root, monkeypatch):
    run = commands.run

    def stopped(target, *others):
        if target == "v4-1":
            raise KeyboardInterrupt
        return run(target, *others)

    monkeypatch.setattr(commands, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        forecast_table.main(["--model", "resnet50", "--target", "v3-1", "v4-1"], root)
    assert [row.target for row in rows.read(root / "docs" / "forecasts.csv")] == ["v3-1"]


def test_the_documents_here_have_the_tables_of_their_rows():
    assert forecast_table.main(["--check"]) == ExitCode.OK
    for model in ("resnet50", "bert_large"):
        assert forecast_scaling.main(["--check", "--model", model]) == ExitCode.OK


SLICES = ("v3-1", "v3:2x2", "v3:4x4", "v3:8x8", "v3:16x16")


def scaled(targets=SLICES):
    made = [
        forecasts.compiled(target, rate=2000.0 * forecasts.find(target).chips ** 0.95, workload=IMAGES)
        for target in targets
    ]
    return [rows.row(one, one.forecast.target, figures.load()) for one in made]


def test_efficiency_is_the_rate_per_chip_over_that_on_one():
    found = scaling.points(scaled())
    assert [point.chips for point in found] == [1, 4, 16, 64, 256]
    assert [point.efficiency for point in found] == pytest.approx(
        [count**-0.05 for count in (1, 4, 16, 64, 256)], rel=1e-3
    )
    last = found[-1]
    assert (last.low, last.high) == pytest.approx((0.9 * last.efficiency, 1.1 * last.efficiency), rel=1e-3)
    assert last.collectives == 0.1


def test_chips_are_series_of_their_own_and_bounds_are_in_none():
    bound = rows.row(forecasts.traced("v3-1"), "bound")
    found = scaling.points([*scaled(["v3:2x2", "v3:4x4"]), *scaled(["v6e-4"]), bound])
    assert [(point.chip, point.chips, point.efficiency) for point in found if point.chips == 4] == [
        ("tpu-v3", 4, 1.0),
        ("tpu-v6e", 4, 1.0),
    ]
    assert len(found) == 3


def test_rates_at_several_batches_are_no_scaling():
    one, four = scaled(["v3-1", "v3:2x2"])
    with pytest.raises(UserError, match="batch sizes 14, 256 per device") as raised:
        scaling.points([one, four.model_copy(update={"batch_size": 14})])
    assert raised.value.fix == "--batch-size 256 --target v3:2x2"


def test_a_row_of_another_batch_takes_the_place_of_the_one_before():
    (one,) = scaled(["v3-1"])
    other = one.model_copy(update={"batch_size": 14, "command": "another"})
    assert rows.merged([one], other) == [other]
    assert rows.merged([one], other.model_copy(update={"model": "vit_b16"}))[0] == one


def test_published_figures_of_the_same_chip_and_model_stand_beside_with_the_fastest_of_each_size():
    found = scaling.published(scaled(["v3-1"]), figures.load())
    by_count = {point.chips: point for point in found}
    assert {16, 64, 256, 1024} <= by_count.keys()
    assert by_count[min(by_count)].efficiency == 1
    assert by_count[1024].efficiency < by_count[64].efficiency
    same = [
        figure.samples_per_s_per_chip
        for figure in figures.load()
        if (figure.chip, figure.model, figure.num_chips) == ("tpu-v3", "resnet50", 16)
    ]
    assert by_count[16].rate == max(filter(None, same))
    assert figures.find(by_count[16].id).chip == "tpu-v3"


def test_the_table_has_a_row_for_every_size_that_either_side_has():
    known = scaled(["v3-1", "v3:4x4"])
    lines = scaling.markdown(known, scaling.published(known, figures.load())).splitlines()
    (one,) = (line for line in lines if line.startswith("| v3-1 |"))
    assert one == "| v3-1 | 1 | 2 | 2,000 | 1,800 to 2,200 | 100.0 % | 10.0 % | - | - | - |"
    (both,) = (line for line in lines if line.startswith("| v3:4x4 |"))
    assert both.startswith("| v3:4x4 | 16 | 32 | 1,741 | 1,567 to 1,915 | 87.1 % | 10.0 % | 2,0")
    (published,) = (line for line in lines if line.startswith("| tpu-v3 | 1,024 |"))
    assert " | - | - | - | - | - | 1,268 | " in published


def test_the_chart_tells_forecasts_from_what_is_published_and_draws_both_ends():
    known = scaled()
    found = [*scaling.points(known), *scaling.published(known, figures.load())]
    columns, *lines = (
        layer["data"]["values"] for layer in scaling_chart.scaling(found, "title").to_dict()["layer"]
    )
    assert [row["collectives"] for row in columns] == [10.0] * len(SLICES)
    values = lines[-1]
    kinds = {row["series"]: row["kind"] for row in values}
    assert kinds == {"tpu-v3, forecast": "forecast", "tpu-v3, published": "measured"}
    last = next(row for row in values if row["chips"] == 256 and row["kind"] == "forecast")
    assert last["low"] < last["efficiency"] < last["high"]
    assert not any("low" in row for row in values if row["kind"] == "measured")
    with pytest.raises(ValueError, match="needs a rate"):
        scaling_chart.scaling([], "title")


def test_the_script_asks_for_every_slice_and_writes_rows_table_and_plot(asked, root):
    arguments = ["--model", "resnet50", "--batch-size", "128", "--target", *SLICES]
    assert forecast_scaling.main(arguments, root) == ExitCode.OK
    assert [target for target, _ in asked.made] == list(SLICES)
    assert asked.made[0][1] == ("model=resnet50", "precision=bf16", "batch_size=128")
    assert "| v3:16x16 | 256 | 512 |" in (root / "docs" / "scaling.md").read_text()
    names = {file.name for file in (root / "docs").iterdir()}
    assert {"scaling_resnet50.csv", "scaling_resnet50.png", "scaling_resnet50.svg"} <= names
    assert forecast_scaling.main(["--check"], root) == ExitCode.OK
    (root / "docs" / "scaling_resnet50.csv").unlink()
    assert forecast_scaling.main(["--check"], root) == ExitCode.FAILED_CHECK


def test_sizes_of_another_batch_are_told_and_can_be_made_again(asked, root, capsys):
    asked.results["v3-1"] = forecasts.compiled("v3-1", workload=IMAGES | {"batch_size": 64})
    assert forecast_scaling.main(["--target", "v3-1", "v3:2x2"], root) == ExitCode.USER_ERROR
    assert "--batch-size 256 --target v3-1" in capsys.readouterr().err
    asked.results.clear()
    assert forecast_scaling.main(["--target", "v3-1"], root) == ExitCode.OK


def test_further_overrides_reach_every_forecast(asked, root):
    arguments = ["--model", "bert_large", "--batch-size", "14", "--target", "v3-1", "sequence_length=512"]
    assert forecast_scaling.main(arguments, root) == ExitCode.OK
    assert asked.made == [
        ("v3-1", ("model=bert_large", "precision=bf16", "batch_size=14", "sequence_length=512"))
    ]


class Process:
    """Stands for a process of the verb: leaves this record, and ends with this code."""

    def __init__(self, monkeypatch, code, result=None):
        self.code, self.result = code, result
        monkeypatch.setattr(child, "start", self.start)
        monkeypatch.setattr(child, "wait", lambda process: self.code)

    def start(self, arguments, stdout):
        self.arguments = arguments
        if self.result:
            target = self.result.forecast.target.replace(":", "-")
            store.write(self.result, Path(arguments[-1]) / target)


def test_a_forecast_is_made_in_a_process_and_read_from_its_file(monkeypatch, tmp_path):
    process = Process(monkeypatch, ExitCode.OUT_OF_MEMORY, forecasts.too_large("v6e:2x2"))
    found = commands.run("v6e:2x2", ["model=resnet50"], tmp_path)
    assert found.status == "oom"
    assert process.arguments == ["forecast", "target=v6e:2x2", "model=resnet50", "--dir", str(tmp_path)]


def test_an_earlier_forecast_is_not_taken_for_one_that_was_not_made(monkeypatch, tmp_path):
    store.write(forecasts.compiled("v6e-1"), tmp_path / "v6e-1")
    Process(monkeypatch, ExitCode.USER_ERROR)
    with pytest.raises(UserError, match="no forecast was made") as raised:
        commands.run("v6e-1", ["model=resnet50"], tmp_path)
    assert raised.value.fix == "python -m trainbench forecast target=v6e-1 model=resnet50"
    Process(monkeypatch, ExitCode.INTERRUPTED)
    with pytest.raises(KeyboardInterrupt):
        commands.run("v6e-1", ["model=resnet50"], tmp_path)
