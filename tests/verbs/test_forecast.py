"""The verb `forecast`: what it prints and keeps, its exit codes, and mistakes; no compiler runs."""

import pytest

from tests.forecast import outcomes
from trainbench import cli
from trainbench.errors import ExitCode, UserError
from trainbench.forecast import build, libtpu
from trainbench.results import store
from trainbench.results.collect import collect
from trainbench.verbs import claims, compare, export, forecast, report

MODEL = ("model=resnet50", "batch_size=8")


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Stands for the compiler: a program by target, or what is put into `compiler.outcomes`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(libtpu, "check_installed", lambda: None)
    fake = Compiler()
    monkeypatch.setattr(build, "built", fake)
    return fake


class Compiler:
    def __init__(self):
        self.outcomes, self.asked = {}, []

    def __call__(self, tree, target):
        self.asked.append((target.name, tree["model"]["name"], tree["batch_size"]))
        outcome = self.outcomes.get(target.name)
        if isinstance(outcome, BaseException):
            raise outcome
        sample = {"tpu-v3": "resnet_v3", "tpu-v5e": "resnet_v5e", "tpu-v4": "vit_v4"}
        found = outcomes.sampled(sample.get(target.chip, "matmul_v6e"), target.name)
        return build.Build(target, found.facts, outcome) if outcome else found


def test_one_target_is_summed_up_in_plain_lines_and_kept(compiler, capsys):
    assert forecast.show(["target=v3-1", *MODEL, "--dir", "out"]) == ExitCode.OK
    said = capsys.readouterr().out
    lines = {line[:12].strip(): line[13:] for line in said.splitlines() if line[:1] != " "}
    assert compiler.asked == [("v3-1", "resnet50", 8)]
    assert lines["target"].startswith("v3-1 is 1 chip (1x1), 2 JAX devices a chip; names count TensorCores")
    assert lines["fits"] == "yes: needs 3.00 GiB of 16.0 GiB, 18.8 % of each device, by the compiler"
    assert lines["bound"].endswith("per chip · FLOPs and bytes at published rates, no more")
    assert "by the compiler's cycles, uncalibrated" in lines["estimate"]
    assert {"limits", "operations", "compile", "published"} <= lines.keys()
    assert "the estimate is" in said
    assert lines["result"] == "out/v3-1/result.json"
    assert lines["compile"].startswith("14.0 s (trace 1.00 s, lower 500 ms, compile 12.5 s) · cache miss")


def test_no_rate_is_called_expected_before_there_is_a_calibration(compiler, capsys):
    forecast.show(["target=v6e-1", *MODEL])
    said = capsys.readouterr().out
    assert said.count("expected") == 1
    assert "no expected rate and no interval: the estimate has not been calibrated" in said
    assert "±" not in said


def test_results_go_below_outputs_by_date_time_and_target(compiler):
    forecast.show(["target=v6e:2x2", *MODEL])
    (file,) = forecast.Path("outputs").rglob("result.json")
    assert file.parent.name == "v6e-2x2"
    assert file.parts[:2] == ("outputs", "forecast")
    assert len(file.parts) == 6


@pytest.mark.parametrize("named", ["target=v3-1,v5e-1", "target=[v3-1, v5e-1]", "target=[v3-1,v5e-1,v3-1]"])
def test_several_targets_make_one_table(compiler, capsys, named):
    assert forecast.show([named, *MODEL, "hydra.run.dir=out"]) == ExitCode.OK
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].split()[:4] == ["target", "chips", "batch", "needs"]
    assert [line.split()[0] for line in lines[2:4]] == ["v3-1", "v5e-1"]
    assert "target 2 of 2: v5e-1" in said.err
    assert {path.name for path in forecast.Path("out").iterdir()} == {"v3-1", "v5e-1"}


def test_what_does_not_fit_says_by_how_much_and_what_to_type(compiler, capsys):
    compiler.outcomes["v6e-1"] = outcomes.too_large()
    assert forecast.show(["target=v6e-1", *MODEL, "--dir", "out"]) == ExitCode.OUT_OF_MEMORY
    said = capsys.readouterr().out
    assert said.startswith("OUT OF MEMORY: the step needs 20.0 GiB of a device's 16.0 GiB, 4.00 GiB too much")
    assert "batch_size=auto finds the largest batch that fits" in said
    assert len(said.splitlines()) < 12
    assert store.read(forecast.Path("out/v6e-1")).status == "oom"


def test_where_not_even_the_smallest_batch_fits_no_search_is_advised(compiler, capsys):
    compiler.outcomes["v6e-1"] = outcomes.too_large()
    forecast.show(["target=v6e-1", "model=resnet50", "batch_size=auto"])
    said = capsys.readouterr().out
    assert "not even the smallest batch does" in said
    assert "batch_size=auto finds" not in said


def test_in_a_table_what_does_not_fit_is_a_row_and_a_broken_compiler_a_failure(compiler, capsys):
    compiler.outcomes["v3-1"] = outcomes.too_large()
    assert forecast.show(["target=v3-1,v6e-1", *MODEL, "--dir", "out"]) == ExitCode.OK
    assert " oom" in capsys.readouterr().out
    compiler.outcomes["v3-1"] = build.CompilerFailed("INTERNAL: no")
    assert forecast.show(["target=v3-1,v6e-1", *MODEL, "--dir", "out"]) == ExitCode.FAILED_CHECK
    assert "v3-1: INTERNAL: no" in capsys.readouterr().out
    assert store.read(forecast.Path("out/v3-1")).status == "failed"
    assert store.read(forecast.Path("out/v6e-1")).status == "ok"


def test_a_wish_to_stop_keeps_and_shows_what_there_is(compiler, capsys):
    compiler.outcomes["v6e-1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        forecast.show(["target=v3-1,v6e-1,v5e-1", *MODEL, "--dir", "out"])
    assert "v3-1" in capsys.readouterr().out
    assert [path.name for path in forecast.Path("out").iterdir()] == ["v3-1"]


def test_a_forecast_that_never_began_leaves_no_directory(compiler, tmp_path):
    compiler.outcomes["v6e-1"] = UserError("too old")
    with pytest.raises(UserError):
        forecast.show(["target=v6e-1", *MODEL])
    assert list(tmp_path.iterdir()) == []


def test_the_search_for_a_batch_is_passed_on_with_its_reason(compiler):
    forecast.show(["target=v6e-1", "model=resnet50", "batch_size=auto"])
    assert compiler.asked == [("v6e-1", "resnet50", "auto")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "forecast needs a target"),
        (["target="], "forecast needs a target"),
        (["target=v9-1"], "target=v9-1 is not known"),
        (["target=v6e-1,v6e-3"], "target=v6e-3 is not a size"),
        (["target=h100-1"], "is a GPU"),
        (["target=cpu"], "is a CPU"),
        (["target=v6e-1", "modle=resnet50"], "modle"),
        (["target=v6e-1", "model=resnet5"], "resnet5"),
        (["target=v6e-1", "batch_size=0"], "batch_size=0"),
        (["target=v6e-1", "batch_size=8,16"], "several values"),
        (["target=v6e-1", "reproduce=mlperf"], "reproduce=mlperf"),
        (["target=v6e-1", "hydra.job.chdir=true"], "is not for a forecast"),
        (["target=v6e-1", "-m"], "unrecognized arguments: -m"),
    ],
)
def test_mistakes_fit_on_one_screen(compiler, capsys, arguments, words, tmp_path):
    assert cli.main(["forecast", *arguments]) == ExitCode.USER_ERROR
    said = capsys.readouterr().err
    assert words in said
    assert "fix:" in said
    assert len(said.splitlines()) <= 4
    assert "Traceback" not in said
    assert not compiler.asked
    assert list(tmp_path.iterdir()) == []


def test_without_libtpu_the_install_line_comes_before_anything_else(monkeypatch, capsys):
    monkeypatch.setattr(libtpu.importlib.util, "find_spec", {}.get)
    assert cli.main(["forecast", "target=v6e-1", *MODEL]) == ExitCode.USER_ERROR
    assert "pip install -e '.[forecast]'" in capsys.readouterr().err


def test_it_has_a_help_page(capsys):
    assert cli.main(["forecast", "--help"]) == ExitCode.OK
    assert capsys.readouterr().out.strip() == forecast.HELP.strip()


def test_other_verbs_take_its_records(compiler, capsys):
    forecast.show(["target=v6e-1,v5e-1", *MODEL, "--dir", "out"])
    capsys.readouterr()
    assert [one.result.kind for one in collect([forecast.Path("out")]).loaded] == ["forecast"] * 2
    assert report.show(["out", "--text"]) == ExitCode.OK
    assert capsys.readouterr().out.count("forecast") >= 2
    assert export.show(["out", "--csv", "out.csv"]) == ExitCode.OK
    assert "v5e:1x1" in forecast.Path("out.csv").read_text()
    assert claims.show(["--results", "out"]) == ExitCode.OK
    assert "2 results read: " in capsys.readouterr().out
    assert compare.show(["out/v5e-1", "out/v6e-1"]) == ExitCode.OK
    assert "the speed of the pair can't be told" in capsys.readouterr().out


def test_a_page_of_its_records_can_be_drawn(compiler, capsys):
    forecast.show(["target=v3-1,v5e-1", *MODEL, "--dir", "out"])
    assert report.show(["out"]) == ExitCode.OK
