"""The process around the compiler, and the search for a batch size, with a compiler that is faked."""

import subprocess
import sys

import pytest

from tests.forecast import outcomes
from trainbench.errors import UserError
from trainbench.forecast.compiler import build, compilers
from trainbench.forecast.compiler.build import CompilerFailed
from trainbench.forecast.compiler.program import TooLarge
from trainbench.forecast.targets import find

TARGET = find("v6e-1")
MISSING = compilers.missing


@pytest.fixture(autouse=True)
def a_compiler_is_here(monkeypatch):
    monkeypatch.setattr(compilers, "missing", lambda target: None)


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """`compiled` with another process in the compiler's place, told what to do."""
    monkeypatch.setattr(build, "MODULE", "tests.forecast.fake_compiler")

    def ask(does):
        return build.compiled({"does": does, "entry": str(tmp_path / "key.json")}, TARGET)

    return ask


def test_facts_and_program_come_from_another_process(compiler):
    found = compiler("compile")
    assert found.target == TARGET
    assert found.facts.workload.model == "resnet50"
    assert found.program == outcomes.program()


def test_a_mistake_is_raised_here(compiler):
    with pytest.raises(UserError) as error:
        compiler("refuse")
    assert (error.value.problem, error.value.allowed, error.value.fix) == ("wrong", "right", "do right")


@pytest.mark.parametrize(
    ("does", "words"),
    [("die", "with SIGFPE over this step (jax "), ("fail", "INTERNAL: no"), ("forget", "is gone")],
)
def test_a_compiler_that_breaks_down_says_what_it_said(compiler, does, words):
    with pytest.raises(CompilerFailed) as error:
        compiler(does)
    assert words in str(error.value)
    if does == "die":
        assert str(error.value).endswith(": a warning | last words")


def test_a_wish_to_stop_stops(compiler):
    with pytest.raises(KeyboardInterrupt):
        compiler("be stopped")


def test_what_no_compiler_is_here_for_is_not_compiled(monkeypatch):
    monkeypatch.setattr(compilers, "missing", MISSING)
    monkeypatch.setattr(compilers.importlib.util, "find_spec", {}.get)
    with pytest.raises(UserError, match="libtpu"):
        build.compiled({}, TARGET)


@pytest.mark.parametrize("name", ["v6e-1", "h100-1", "v100-1", "mi300x-1", "cpu"])
def test_what_no_compiler_is_here_for_is_traced_and_says_why(monkeypatch, name):
    monkeypatch.setattr(compilers, "missing", MISSING)
    monkeypatch.setattr(compilers.importlib.util, "find_spec", {}.get)
    monkeypatch.setattr(build, "traced", lambda tree, target, why: (tree, target, why))
    tree, target, why = build.built({"batch_size": 4}, find(name), None)
    assert (tree, target) == ({"batch_size": 4}, find(name))
    assert why.problem
    assert why.fix


def test_a_cpu_is_traced_wherever_compilers_are():
    assert build.not_compiled(TARGET) is None
    assert "CPU" in build.not_compiled(find("cpu")).problem


class Compiler:
    """Stands for `compiled`: 1 GiB, and 100 MiB for each sample; a device has 16 GiB."""

    def __init__(self, default=256, each=100 * 2**20, parts=1):
        self.default, self.each, self.parts = default, each, parts
        self.asked = []

    def __call__(self, tree, target):
        assert target == TARGET
        assert tree["model"] == "resnet50"
        batch = self.default if tree["batch_size"] == "default" else tree["batch_size"]
        self.asked.append(batch)
        needed = 2**30 + batch * self.each
        outcome = outcomes.program(needed) if needed <= 16 * 2**30 else outcomes.too_large()
        return outcomes.build(outcome, batch, self.parts)


def test_auto_is_the_largest_batch_that_fits_to_a_sixteenth():
    compiler = Compiler()
    found = build.built({"model": "resnet50", "batch_size": "auto"}, TARGET, compiler)
    batch = found.facts.workload.batch_size
    assert 153 * 15 / 16 <= batch <= 153
    assert found.program is not None
    assert found.facts.autos["batch_size"].value == batch
    assert "the largest that fits" in found.facts.autos["batch_size"].reason
    assert len(compiler.asked) <= 8


def test_a_batch_that_was_asked_for_is_not_searched():
    compiler = Compiler()
    found = build.built({"model": "resnet50", "batch_size": 256}, TARGET, compiler)
    assert isinstance(found.outcome, TooLarge)
    assert compiler.asked == [256]
    assert build.largest({"model": "resnet50", "batch_size": 256}, TARGET, compiler).program is not None


def test_a_batch_of_all_devices_is_left_out_of_the_search_and_refused_beside_it():
    compiler = Compiler()
    asked = {"model": "resnet50", "batch_size": "default", "global_batch_size": 4096}
    seen = []

    def spy(tree, target):
        seen.append(tree["global_batch_size"])
        return compiler(tree, target)

    assert build.largest(asked, TARGET, spy).program is not None
    assert set(seen) == {None}
    with pytest.raises(UserError, match="which"):
        build.built({**asked, "batch_size": "auto"}, TARGET, spy)


def test_where_not_even_one_sample_fits_that_is_the_answer():
    compiler = Compiler(each=2**40, default=4, parts=2)
    found = build.built({"model": "resnet50", "batch_size": "auto"}, TARGET, compiler)
    assert isinstance(found.outcome, TooLarge)
    assert found.facts.workload.batch_size == min(compiler.asked) == 2


def test_the_parent_process_does_not_import_jax():
    program = (
        "import sys; from trainbench.forecast.compiler import build; raise SystemExit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
