"""`batch_size=auto` and `batch_size=best`, with a compiler and runs that are faked."""

import io
import json
import sys

import pytest

from tests.sweeping import Processes
from trainbench import cli
from trainbench.processes import batch_search, child
from trainbench.processes.fitting_batch import fitting_batch, rounded_down
from trainbench.results import store

MIB = 2**20


class Compiler:
    """Stands for `fits --json`: memory in proportion to the batch above a constant part."""

    def __init__(self, available, *, constant=500, each=10, default=256, parts=1, platform="gpu", flops=1e9):
        self.available = available * MIB
        self.needed = lambda batch: (constant + each * batch) * MIB
        self.default = default
        self.parts = parts
        self.platform = platform
        self.flops = flops
        self.asked = []

    def __call__(self, batch):
        batch = self.default if batch is None else batch
        self.asked.append(batch)
        needed = self.needed(batch)
        return {
            "platform": self.platform,
            "batch_size": batch,
            "gradient_accumulation": self.parts,
            "flops_per_sample": self.flops,
            "needed_bytes": needed,
            "available_bytes": self.available,
            "fits": needed <= self.available,
        }


@pytest.mark.parametrize("available", [520, 1000, 3100, 12_345, 80_000, 500_000])
@pytest.mark.parametrize("parts", [1, 4, 6])
def test_the_largest_batch_that_fits_is_found_to_a_sixteenth_in_a_few_compilations(available, parts):
    compiler = Compiler(available, parts=parts, default=252)
    batch, reason = fitting_batch(compiler)
    if available < 500 + 10 * parts:
        assert (batch, reason) == (parts, "by the compiler not even the smallest batch fits")
        return
    largest = (available - 500) // 10 // parts * parts
    assert batch <= largest
    assert batch % parts == 0
    assert largest - batch <= max(parts, largest / 16)
    assert len(compiler.asked) <= 12
    assert "the largest that fits" in reason
    assert "by the compiler" in reason


def test_memory_that_does_not_grow_in_proportion_is_still_searched():
    compiler = Compiler(40_000)
    compiler.needed = lambda batch: (500 + 10 * batch + (4000 if batch >= 300 else 0) + batch**2 // 400) * MIB
    batch, _ = fitting_batch(compiler)
    assert compiler.needed(batch) <= compiler.available
    assert compiler.needed(batch + batch // 8) > compiler.available


@pytest.mark.parametrize("available", [7000, 2030])
def test_a_compiler_that_refuses_without_a_number_is_searched_all_the_same(available):
    def refusing(batch):
        fit = compiler(batch)
        return fit if fit["fits"] else fit | {"needed_bytes": None}

    compiler = Compiler(available)
    batch, _ = fitting_batch(refusing)
    largest = (available - 500) // 10
    assert batch <= largest
    assert largest - batch <= largest / 8


@pytest.mark.parametrize("kind", ["auto", "best"])
def test_when_not_even_one_sample_fits_running_proves_it_and_the_record_says_so(searched, kind):
    processes = Processes({"1": "oom"})
    code, result, output, _ = searched(Compiler(100), processes, f"batch_size={kind}")
    assert code == 3
    assert processes.values("batch_size") == ["1"]
    assert result.status == "oom"
    assert "OUT OF MEMORY" in output


def test_a_cpu_stops_at_steps_that_it_can_bear():
    compiler = Compiler(10**6, default=4, platform="cpu", flops=1e9)
    batch, reason = fitting_batch(compiler)
    assert batch == 40
    assert "as large as a CPU can bear" in reason


def test_a_cpu_whose_memory_ends_first_says_so():
    batch, reason = fitting_batch(Compiler(1000, default=4, platform="cpu", flops=1e6))
    assert batch == 50
    assert "the largest that fits" in reason


@pytest.mark.parametrize("parts", [1, 2, 3, 10])
def test_rounding_goes_down_to_equal_parts_and_loses_at_most_a_sixteenth(parts):
    for batch in range(1, 3000):
        rounded = rounded_down(batch, parts)
        assert rounded <= batch
        assert rounded % parts == 0
        assert batch - rounded < max(parts, batch / 16)
        assert rounded_down(rounded, parts) == rounded


@pytest.fixture
def searched(tmp_path, monkeypatch, capsys):
    """A search through the command line: exit code, the record, what was printed, what was said on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])

    def run(compiler, processes, *arguments):
        monkeypatch.setattr(batch_search, "_fit", lambda asked: compiler(_batch(asked)))
        monkeypatch.setattr(child, "run", processes)
        code = cli.main([*arguments, "hydra.run.dir=out"])
        file = tmp_path / "out" / store.RESULT_FILE
        return code, store.read(file) if file.exists() else None, *capsys.readouterr()

    return run


class _Ended:
    """A process that has ended and printed this."""

    def __init__(self, output):
        self.stdout = io.BytesIO(output)


def _batch(arguments):
    (value,) = [item.partition("=")[2] for item in arguments if item.startswith("batch_size=")]
    return None if value == "default" else int(value)


def test_auto_runs_the_largest_batch_that_fits_and_says_why(searched):
    processes = Processes()
    code, result, output, _ = searched(Compiler(10_740), processes, "model=vit_tiny", "batch_size=auto")
    assert code == 0
    assert processes.values("batch_size") == ["1024"]
    assert processes.values("model") == ["vit_tiny"]
    assert result.workload.batch_size == 1024
    assert result.autos["batch_size"].value == 1024
    assert "the largest that fits: 10.5 GiB of 10.5 GiB by the compiler" in result.autos["batch_size"].reason
    assert result.autos["batch_size"].reason.endswith("proven by running")
    assert result.config["batch_size"] == "auto"
    assert "batch_size=auto" in result.command
    assert "auto: batch_size = 1024" in output


@pytest.mark.parametrize("kind", ["auto", "best"])
def test_a_search_beside_a_batch_of_all_devices_is_refused_at_once(searched, kind):
    compiler = Compiler(10_740)
    code, result, _, said = searched(compiler, Processes(), f"batch_size={kind}", "global_batch_size=64")
    assert (code, result, compiler.asked) == (2, None, [])
    assert f"batch_size={kind} and global_batch_size=64: which?" in said


def test_auto_goes_down_where_running_refutes_the_compiler_and_says_so(searched):
    processes = Processes({"1024": "oom", "960": "oom"})
    code, result, _, _ = searched(Compiler(10_740), processes, "batch_size=auto")
    assert code == 0
    assert processes.values("batch_size") == ["1024", "960", "928"]
    assert result.workload.batch_size == 928
    assert "out of memory at 1024, 960" in result.autos["batch_size"].reason


def test_auto_ends_with_out_of_memory_when_nothing_runs(searched):
    always = type("Always", (dict,), {"get": lambda self, key, default=None: "oom"})()
    processes = Processes()
    processes.statuses = always
    code, result, output, _ = searched(Compiler(10_740), processes, "batch_size=auto")
    assert code == 3
    assert result.status == "oom"
    assert len(processes.asked) == batch_search.MOST_ATTEMPTS
    assert "OUT OF MEMORY" in output


RATES = {2048: 1001.0, 1024: 1000.0, 512: 990.0, 256: 960.0, 128: 900.0, 64: 700.0, 32: 400.0}


def test_best_finds_the_knee_among_powers_of_two_from_the_default_on(searched):
    processes = Processes(rate=RATES.__getitem__)
    code, result, output, _ = searched(Compiler(10_740), processes, "batch_size=best")
    assert code == 0
    assert processes.values("batch_size") == ["256", "512", "1024", "128", "64"]
    assert result.workload.batch_size == 256
    assert result.autos["batch_size"].reason == (
        "the smallest within 5 % of the best, 1,000 images/s at 1024; tried 64, 128, 256, 512, 1024"
    )
    assert "best: batch_size=1024, 1,000 images/s; knee (within 5 % of it): batch_size=256, 960" in output


def test_best_goes_no_further_up_where_doubling_gains_nothing(searched):
    processes = Processes(rate=lambda batch: 1000.0 if batch >= 32 else 500.0)
    searched(Compiler(10**9, default=32), processes, "batch_size=best")
    assert processes.values("batch_size") == ["32", "64", "128", "16"]


def test_best_on_a_cpu_stops_before_steps_that_last_too_long(searched):
    compiler = Compiler(10**9, default=8, platform="cpu")
    processes = Processes(rate=lambda batch: 10.0 + batch)
    searched(compiler, processes, "batch_size=best")
    # what the rate of half the batch lets expect
    taken = [batch / (10.0 + batch / 2) for batch in map(int, processes.values("batch_size")) if batch > 8]
    assert max(taken) <= batch_search.CPU_LONGEST_STEP_S


def test_best_skips_a_default_that_does_not_fit(searched):
    processes = Processes(rate=RATES.__getitem__)
    searched(Compiler(2000), processes, "batch_size=best")
    assert processes.values("batch_size") == ["128", "64"]


def test_best_turns_where_a_batch_runs_out_of_memory(searched):
    processes = Processes({"1024": "oom"}, rate=RATES.__getitem__)
    code, result, output, _ = searched(Compiler(10_740), processes, "batch_size=best")
    assert code == 0
    assert processes.values("batch_size") == ["256", "512", "1024", "128", "64"]
    assert result.workload.batch_size == 256
    assert "oom" in output


def test_best_ends_at_the_smallest_batch(searched):
    processes = Processes(rate=lambda batch: 100.0)
    _, result, _, _ = searched(Compiler(580), processes, "batch_size=best")
    assert processes.values("batch_size") == ["8", "4", "2", "1"]
    assert result.workload.batch_size == 1


def test_best_keeps_to_equal_micro_batches(searched):
    processes = Processes(rate=lambda batch: 100.0)
    arguments = ("batch_size=best", "gradient_accumulation=3")
    _, result, _, _ = searched(Compiler(1500, parts=3, default=96), processes, *arguments)
    assert processes.values("batch_size") == ["96", "48", "24", "12", "6", "3"]
    assert result.workload.batch_size == 3


@pytest.mark.parametrize("kind", ["auto", "best"])
def test_a_run_that_does_not_end_well_ends_the_search_with_its_result(searched, kind):
    code, result, _, _ = searched(Compiler(10_740), Processes({"1024": "invalid"}), f"batch_size={kind}")
    assert code == 1
    assert result.status == "invalid"


@pytest.mark.parametrize(("ending", "code"), [("refused", 2), ("interrupted", 130), ("dies", 1)])
def test_a_process_that_ends_early_ends_the_search(searched, ending, code):
    ended, result, _, errors = searched(Compiler(10_740), Processes({"1024": ending}), "batch_size=auto")
    assert ended == code
    assert result is None
    assert "batch_size=auto was not found: batch_size=1024: " in errors
    assert "Traceback" not in errors


def test_an_earlier_result_is_not_taken_for_that_of_a_search_that_ended_early(searched, tmp_path):
    searched(Compiler(10_740), Processes(), "batch_size=auto", "seed=1")
    code, result, _, _ = searched(Compiler(10_740), Processes({"1024": "dies"}), "batch_size=auto", "seed=2")
    assert code == 1
    assert result is None
    assert (tmp_path / "out" / store.PREVIOUS_FILE).exists()


def test_no_batch_is_compiled_twice(searched):
    compiler = Compiler(10_740)
    searched(compiler, Processes(rate=RATES.__getitem__), "batch_size=best")
    assert len(compiler.asked) == len(set(compiler.asked))


def test_a_compilation_that_is_killed_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    monkeypatch.setattr(child, "start", lambda *asked: _Ended(b""))
    monkeypatch.setattr(child, "wait", lambda process: -9)
    assert cli.main(["batch_size=auto", "hydra.run.dir=out"]) == 1
    assert "the compilation ended with code -9" in capsys.readouterr().err


def test_the_record_of_a_search_is_configured_as_its_runs_were(searched):
    """`reproduce` stands for further overrides, which only the processes of the search work out."""
    _, result, _, _ = searched(Compiler(10_740), Processes(), "batch_size=auto", "seed=5")
    assert result.config == {"batch_size": "auto", "seed": 5}


def test_an_interrupted_search_shows_what_there_is_and_goes_on_in_the_same_directory(searched):
    stopped = Processes({"128": KeyboardInterrupt()}, rate=RATES.__getitem__)
    code, _, output, errors = searched(Compiler(10_740), stopped, "batch_size=best")
    assert code == 130
    assert "batch_size=1024" in output
    assert "the same command goes on" in errors
    resumed = Processes(rate=RATES.__getitem__)
    code, result, _, _ = searched(Compiler(10_740), resumed, "batch_size=best")
    assert code == 0
    assert resumed.values("batch_size") == ["128", "64"]
    assert result.workload.batch_size == 256


def test_the_search_passes_everything_else_on(searched, tmp_path):
    (tmp_path / "mine").mkdir()
    processes = Processes()
    reproduced = "reproduce=resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch"
    searched(Compiler(600), processes, "batch_size=auto", reproduced, "price=2", "--config-dir", "mine")
    (arguments,) = processes.asked
    assert {reproduced, "price_per_hour=2", "--config-dir=mine", "batch_size=10"} <= set(arguments)
    assert not any("hydra.run.dir" in argument or "auto" in argument for argument in arguments)


def test_a_device_that_does_not_say_its_memory_is_a_clear_screen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    monkeypatch.setattr(child, "start", lambda *asked: _Ended(json.dumps({"available_bytes": None}).encode()))
    monkeypatch.setattr(child, "wait", lambda process: 0)
    assert cli.main(["batch_size=auto", "hydra.run.dir=out"]) == 2
    assert "-m batch_size=32,64,128,256" in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["huge", "AUTO", "0", "2.5"])
def test_another_word_is_refused_and_both_searches_are_offered(tmp_path, monkeypatch, capsys, batch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    assert cli.main([f"batch_size={batch}", "model=vit_tiny"]) == 2
    errors = capsys.readouterr().err
    assert "auto" in errors
    assert "best" in errors


def test_a_command_that_is_only_shown_searches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    assert cli.main(["batch_size=auto", "--cfg", "job"]) == 0
    assert "batch_size: auto" in capsys.readouterr().out


def test_of_several_batch_sizes_the_last_word_counts(searched):
    processes = Processes()
    code, result, _, _ = searched(Compiler(600), processes, "batch_size=4", "batch_size=auto")
    assert code == 0
    assert processes.asked[0].count("batch_size=10") == 1
    assert "batch_size=4" not in processes.asked[0]
    assert result.config["batch_size"] == "auto"
    assert not batch_search.is_asked_for(["batch_size=auto", "batch_size=4"])
    assert not batch_search.is_asked_for(["model=vit_tiny"])
