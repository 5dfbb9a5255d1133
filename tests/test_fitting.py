"""`fits`: the compiled step says what memory it needs."""

import json
import sys

import jax
import pytest

from trainbench import cli, fitting, run


@pytest.fixture
def fits(tmp_path, monkeypatch, capsys, cache):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    # It would stay on for the tests after this one.
    monkeypatch.setattr("trainbench.fitting.enable_compilation_cache", lambda: None)

    def run(*arguments):
        code = cli.main(["fits", "model=resnet_tiny", *arguments])
        assert not list(tmp_path.iterdir()), "nothing is left behind"
        return code, *capsys.readouterr()

    return run


def test_it_says_what_the_step_needs_of_what_there_is(fits):
    code, output, _ = fits("batch_size=4", "--json")
    fit = json.loads(output)
    assert code == 0
    assert fit["fits"] is True
    assert (fit["model"], fit["platform"], fit["batch_size"]) == ("resnet_tiny", "cpu", 4)
    assert 10**5 < fit["needed_bytes"] < fit["available_bytes"]
    assert fit["flops_per_sample"] > 10**6
    code, output, _ = fits("batch_size=4")
    assert code == 0
    assert output.splitlines()[0] == "fits         yes · resnet_tiny · 4 images per device and step"
    assert "may be allocated per device; the step needs" in output


def test_a_batch_that_does_not_fit_is_out_of_memory(fits):
    code, output, _ = fits("batch_size=50000000")
    assert code == 3
    assert output.startswith("fits         no")
    assert "reason" in output
    assert "GiB" in output


def test_a_compiler_that_refuses_says_that_it_does_not_fit(fits, monkeypatch):
    def refuse(*arguments, **options):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")

    monkeypatch.setattr(run.aot, "compile_lowered", refuse)
    code, output, _ = fits("batch_size=4", "--json")
    fit = json.loads(output)
    assert code == 3
    assert (fit["fits"], fit["needed_bytes"]) == (False, None)
    assert "memory space hbm" in fit["reason"]


def test_a_figure_that_is_to_be_reproduced_decides_what_is_compiled(monkeypatch):
    asked = []
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    monkeypatch.setattr(fitting, "compile_and_show", lambda tree, as_json: asked.append(tree) or 0)
    assert cli.main(["fits", "reproduce=vit-ti-16-rtx-3090-x1-fp16-amp-r224-pytorch"]) == 0
    assert asked[0]["model"]["name"] == "vit_ti16"


@pytest.mark.parametrize("arguments", [["batch_size=0"], ["batch_size=auto"], ["-m", "seed=1,2"], ["--jsno"]])
def test_mistakes_are_one_screen(fits, arguments):
    code, output, errors = fits(*arguments)
    assert code == 2
    assert not output
    assert "Traceback" not in errors
