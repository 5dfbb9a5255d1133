"""The verb `forecast`: what it prints and keeps, its exit codes, and mistakes; no compiler runs."""

import pytest

from tests.forecast import outcomes
from trainbench import cli
from trainbench.errors import ExitCode, UserError
from trainbench.forecast.compiler import build, compilers
from trainbench.forecast.timing import calibration
from trainbench.results import store
from trainbench.results.collect import collect
from trainbench.verbs import claims, compare, export, forecast, report

MODEL = ("model=resnet50", "batch_size=8")
BERT = "bert-large-tpu-v3-x32-bf16-s512-tensorflow"
NO_TARGET = "resnet-50-v1-5-v100-x16-fp32-r224-tensorflow"
NO_BFLOAT16 = "resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch"
TINY = ("model=vit_tiny", "batch_size=4", "precision=fp32")


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Stands for the compiler: a program by target, or what is put into `compiler.outcomes`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compilers, "missing", lambda target: None)
    fake = Compiler()
    monkeypatch.setattr(build, "built", fake)
    monkeypatch.setattr(build, "largest", fake.largest)
    return fake


def lines_of(said):
    return {line[:12].strip(): line[13:] for line in said.splitlines() if line[:1] != " "}


class Compiler:
    def __init__(self):
        self.outcomes, self.asked = {}, []
        self.search = outcomes.too_large()

    def __call__(self, tree, target):
        self.asked.append((target.name, tree["model"]["name"], tree["batch_size"]))
        outcome = self.outcomes.get(target.name)
        if isinstance(outcome, BaseException):
            raise outcome
        sample = {"tpu-v3": "resnet_v3", "tpu-v5e": "resnet_v5e", "tpu-v4": "vit_v4"}
        found = outcomes.sampled(sample.get(target.chip, "matmul_v6e"), target.name)
        return build.Build(target, found.facts, outcome) if outcome else found

    def largest(self, tree, target):
        if isinstance(self.search, BaseException):
            raise self.search
        found = outcomes.sampled("resnet_v3", target.name)
        return found if self.search is None else build.Build(target, found.facts, self.search)


def test_one_target_is_summed_up_in_plain_lines_and_kept(compiler, capsys):
    assert forecast.show(["target=v3-1", *MODEL, "--dir", "out"]) == ExitCode.OK
    said = capsys.readouterr().out
    lines = lines_of(said)
    assert compiler.asked == [("v3-1", "resnet50", 8)]
    assert lines["target"].startswith("v3-1 is 1 chip (1x1), 2 JAX devices a chip; names count TensorCores")
    assert lines["fits"] == "yes: needs 3.00 GiB of 16.0 GiB, 18.8 % of each device, by the compiler"
    assert " images/s per chip, 95 %: " in lines["expected"]
    assert lines["at most"].endswith("FLOPs and bytes of the compiled program at published rates")
    assert lines["compiler"].endswith("by its own estimates of the operations, taken at their word")
    assert "published figure" in lines["rests on"]
    assert {"limits", "operations", "compile", "published"} <= lines.keys()
    assert "expected is" in said
    assert lines["result"] == "out/v3-1/result.json"
    assert lines["compile"].startswith("14.0 s (trace 1.00 s, lower 500 ms, compile 12.5 s) · cache miss")


def test_nothing_is_expected_where_no_published_figure_has_calibrated(compiler, capsys, monkeypatch):
    monkeypatch.setattr(calibration, "load", dict)
    forecast.show(["target=v6e-1", *MODEL])
    lines = lines_of(capsys.readouterr().out)
    assert lines["expected"].startswith("none: ")
    assert {"at most", "compiler"} <= lines.keys()
    assert "rests on" not in lines


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


def test_what_does_not_fit_says_which_batch_does(compiler, capsys):
    compiler.outcomes["v6e-1"], compiler.search = outcomes.too_large(), None
    fits = outcomes.sampled("resnet_v3", "v6e-1").facts.workload.batch_size
    assert forecast.show(["target=v6e-1", *MODEL, "--dir", "out"]) == ExitCode.OUT_OF_MEMORY
    said = capsys.readouterr()
    assert f"the largest batch that does is {fits:,} per device: batch_size={fits}" in said.out
    assert "Ctrl-C stops only this search" in said.err
    assert store.read(forecast.Path("out/v6e-1")).memory.largest_batch_size == fits


@pytest.mark.parametrize("ended", [KeyboardInterrupt(), build.CompilerFailed("INTERNAL: no")])
def test_a_search_that_ends_early_leaves_the_answer_that_was_asked_for(compiler, capsys, ended):
    compiler.outcomes["v6e-1"], compiler.search = outcomes.too_large(), ended
    assert forecast.show(["target=v6e-1", *MODEL, "--dir", "out"]) == ExitCode.OUT_OF_MEMORY
    assert "batch_size=auto finds the largest batch that fits" in capsys.readouterr().out
    assert store.read(forecast.Path("out/v6e-1")).memory.largest_batch_size is None


def test_target_can_be_named_only_once(compiler):
    with pytest.raises(UserError, match="which") as error:
        forecast.show(["target=v3-1", "target=v6e-1", *MODEL])
    assert "target=v3-1,v6e-1" in error.value.fix


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
        (["target=v6e-1", "modle=resnet50"], "modle"),
        (["target=v6e-1", "model=resnet5"], "resnet5"),
        (["target=v6e-1", "batch_size=0"], "batch_size=0"),
        (["target=v6e-1", "batch_size=8,16"], "several values"),
        (["reproduce=mlperf"], "'mlperf' is not the id of a published figure"),
        (["reproduce="], "forecast needs a target"),
        ([f"reproduce={NO_TARGET}"], f"reproduce={NO_TARGET}: its source does not say which V100"),
        ([f"reproduce={NO_BFLOAT16}"], "no bfloat16 units"),
        ([f"reproduce={BERT}", "model=resnet50"], "model=resnet50 is not what"),
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


def test_a_figure_brings_its_target_and_its_conditions(compiler):
    forecast.show([f"reproduce={BERT}", "--dir", "out"])
    assert compiler.asked == [("v3-32", "bert_large", 14)]
    forecast.show([f"reproduce={BERT}", "target=v4-8,v3-8", "--dir", "out"])
    assert compiler.asked[1:] == [("v4-8", "bert_large", 28), ("v3-8", "bert_large", 14)]
    kept = store.read(forecast.Path("out/v4-8"))
    assert kept.config["reproduce"] == BERT
    assert kept.config["data"]["name"] == "synthetic"


def test_the_figure_that_is_reproduced_is_compared_with_first(compiler):
    figure = "resnet-50-v1-5-tpu-v3-x2048-bf16-r224-tensorflow"
    forecast.show([f"reproduce={figure}", "target=v6e-1", "--dir", "out"])
    compared = [one.reference_id for one in store.read(forecast.Path("out/v6e-1")).comparisons]
    assert compared[0] == figure
    assert len(compared) == len(set(compared)) > 1


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compilers.importlib.util, "find_spec", {}.get)


def test_without_libtpu_there_is_a_bound_and_the_install_line(no_compiler, capsys):
    assert forecast.show(["target=v3-8", *TINY, "--dir", "out"]) == ExitCode.OK
    said = capsys.readouterr().out
    lines = lines_of(said)
    assert lines["bound"].startswith("at most ")
    assert "libtpu, the TPU compiler, which is not installed" in lines["why not more"]
    assert "pip install -e '.[forecast]'" in lines["why not more"]
    assert lines["fits"].startswith("may be: nothing was compiled; state and batch alone take 1.6")
    assert "of the bound's step; they may overlap" in lines["limits"]
    assert not {"expected", "compiler", "compile", "operations"} & lines.keys()
    assert "estimate" not in said
    kept = store.read(forecast.Path("out/v3-8"))
    assert kept.forecast.basis == "traced program"
    assert kept.throughput is kept.power is kept.cost is None
    assert kept.forecast.bound_samples_per_s > 0
    assert kept.forecast.limits[0].share == 1


def test_for_a_cpu_the_rates_are_explained(no_compiler, capsys):
    assert forecast.show(["target=cpu", *TINY]) == ExitCode.OK
    lines = lines_of(capsys.readouterr().out)
    assert lines["target"].startswith("this machine's processor: ")
    assert "leave out `forecast target=cpu`" in lines["why not more"]


def test_published_figures_of_the_chip_are_shares_of_the_bound(no_compiler, capsys):
    forecast.show(["target=v100-1", "model=resnet50", "precision=fp32", "batch_size=128"])
    published = [line for line in capsys.readouterr().out.splitlines() if line.startswith("published")]
    assert "of the bound" in published[0]
    assert all("of the bound" not in line for line in published if "V100" not in line)


def test_a_step_whose_state_alone_is_too_large_does_not_fit(no_compiler, capsys):
    large = ["model=vit_tiny", "batch_size=8000000", "target=v3-1", "--dir", "out"]
    assert forecast.show(large) == ExitCode.OUT_OF_MEMORY
    said = capsys.readouterr().out
    assert said.startswith("OUT OF MEMORY: state and batch alone need 22.9 GiB of a device's 16.0 GiB, 6.9")
    assert "take a smaller batch or model" in said
    assert "bound  " not in said
    assert store.read(forecast.Path("out/v3-1")).forecast.bound_samples_per_s is None


def test_a_table_says_which_rows_are_bounds(compiler, monkeypatch, capsys):
    monkeypatch.setattr(build, "built", mixed := Mixed(compiler))
    forecast.show(["target=v6e-1,v100-1", *TINY])
    said = capsys.readouterr().out.splitlines()
    assert said[2].split()[-1] == "ok"
    assert said[3].endswith("bound only")
    assert any(line.startswith("v100-1: bound only: no compiler") for line in said)
    assert mixed.bounds == 1


class Mixed:
    """A compiler for TPUs, and none for anything else."""

    def __init__(self, compiler):
        self.compiler, self.bounds = compiler, 0

    def __call__(self, tree, target):
        if target.platform == "tpu":
            return self.compiler(tree, target)
        self.bounds += 1
        return build.traced(tree, target, UserError("no compiler", allowed="one", fix="install one"))


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
    assert "forecasts are never judged" in capsys.readouterr().out


def test_a_page_of_its_records_can_be_drawn(compiler, capsys):
    forecast.show(["target=v3-1,v5e-1", *MODEL, "--dir", "out"])
    assert report.show(["out"]) == ExitCode.OK


def test_what_one_target_of_several_cannot_do_is_a_row_and_the_others_are_forecast(compiler, capsys):
    compiler.outcomes["v3-1"] = UserError("v3-1 can't do that", allowed="this", fix="do this")
    assert forecast.show(["target=v3-1,v6e-1", *MODEL, "--dir", "out"]) == ExitCode.FAILED_CHECK
    said = capsys.readouterr()
    table = said.out.splitlines()
    assert [line.split()[-1] for line in table[2:4]] == ["failed", "ok"]
    assert "expected images/s" in table[0]
    assert "v3-1: v3-1 can't do that" in table
    assert "do this" in said.err
    assert store.read(forecast.Path("out/v3-1")).status == "failed"


def test_without_dropout_the_generator_is_recorded_as_for_a_run(no_compiler):
    forecast.show(["target=v3-1", *TINY, "--dir", "out"])
    assert store.read(forecast.Path("out/v3-1")).software.prng == "threefry2x32"
