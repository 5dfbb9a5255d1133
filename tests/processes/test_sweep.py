"""Sweeps: what runs, what is skipped, and what stays when something goes wrong."""

import json
import os
import signal
import subprocess
import sys

import pytest
from filelock import FileLock

from tests.sweeping import Processes
from trainbench import cli
from trainbench.errors import ExitCode, UserError
from trainbench.processes import child, sweep, sweep_plan
from trainbench.processes.child import Outcome
from trainbench.results import store


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])
    return tmp_path


@pytest.fixture
def swept(here, monkeypatch, capsys):
    """A sweep in this process whose points are faked: exit code, what it printed, what it said on stderr."""

    def run(processes, *arguments):
        monkeypatch.setattr(child, "run", processes)
        code = cli.main(["-m", *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def points(here, monkeypatch):
    """Three points without Hydra around them: runs those that need it, and gives the plan back."""
    batches = tuple((f"batch_size={batch}",) for batch in (8, 16, 32))
    plan = sweep_plan.Sweep((BATCHES,), frozenset(["batch_size"]), here / "swept", batches, True, False)

    def run(processes):
        monkeypatch.setattr(child, "run", processes)
        for point in plan.points:
            sweep.run_point(plan, point)
        return plan

    return run


@pytest.fixture
def user(cache, tmp_path):
    """Where a process of its own runs, and with what environment."""
    environment = {name: text for name, text in os.environ.items() if name != "XLA_FLAGS"}
    return {"cwd": tmp_path, "env": environment | {"TRAINBENCH_CACHE": str(cache)}}


TRAINBENCH = (sys.executable, "-m", "trainbench")
BATCHES = "batch_size=8,16,32"
SWEEP = (BATCHES, "hydra.sweep.dir=swept")


@pytest.mark.parametrize("arguments", [["seed=1,2,3"], ["model=vit", "seed=1,2,3", "steps=9"]])
def test_a_sweep_ends_with_a_table_of_all_points(swept, arguments):
    processes = Processes({"2": "oom"})
    code, output, _ = swept(processes, *arguments)
    assert processes.values("seed") == ["1", "2", "3"]
    assert code == 0
    assert all(f"seed={seed}" in output for seed in (1, 2, 3))


def test_every_combination_is_a_point_in_a_directory_that_its_name_tells(swept, here):
    processes = Processes()
    code, output, errors = swept(
        processes, "model=vit_tiny,resnet_tiny", BATCHES, "steps=9", "hydra.sweep.dir=swept"
    )
    assert code == 0
    assert len(processes.asked) == 6
    assert (here / "swept/model=vit_tiny,batch_size=8/result.json").exists()
    assert all("steps=9" in arguments for arguments in processes.asked)
    assert "[6/6] model=resnet_tiny batch_size=32" in errors
    assert output.splitlines()[-1].startswith("best: ")


def test_the_last_line_has_the_best_point_and_the_knee(swept):
    rates = {8: 100.0, 16: 196.0, 32: 200.0}
    _, output, _ = swept(Processes(rate=rates.__getitem__), *SWEEP)
    assert output.splitlines()[-1] == (
        "best: batch_size=32, 200 images/s; knee (within 5 % of it): batch_size=16, 196"
    )


def test_a_point_that_fails_is_a_row_and_the_others_run(swept):
    processes = Processes({"8": "dies", "16": "refused"})
    code, output, _ = swept(processes, *SWEEP)
    assert processes.values("batch_size") == ["8", "16", "32"]
    assert code == 1
    assert "batch_size=8: the process ended with code -9 and left no result" in output
    assert "batch_size=16: not run: see the message above" in output


def test_when_every_point_is_refused_it_was_the_users_mistake(swept):
    code, _, _ = swept(Processes({"8": "refused", "16": "refused", "32": "refused"}), *SWEEP)
    assert code == 2


def test_what_is_done_is_not_run_again(swept):
    swept(Processes({"16": "oom"}), *SWEEP)
    again = Processes()
    code, output, errors = swept(again, *SWEEP)
    assert again.asked == []
    assert code == 0
    assert "3 points into swept: 3 already there and not run again" in errors
    assert "batch_size=16" in output
    assert "oom" in output


@pytest.mark.parametrize("status", ["dies", "refused", "failed", "invalid", "interrupted"])
def test_what_did_not_end_well_is_run_again(points, status):
    assert sweep.exit_code(points(Processes({"32": status}))) != 0
    again = Processes()
    assert sweep.exit_code(points(again)) == 0
    assert again.values("batch_size") == ["32"]


def test_a_larger_sweep_goes_on_in_the_same_folder_with_what_is_new(swept):
    swept(Processes(), *SWEEP)
    more = Processes()
    _, output, _ = swept(more, "batch_size=16,32,64", "hydra.sweep.dir=swept")
    assert more.values("batch_size") == ["64"]
    assert "batch_size=8 " not in output


def test_other_settings_are_another_point(swept):
    swept(Processes(), *SWEEP)
    other = Processes()
    swept(other, *SWEEP, "steps=7")
    assert other.values("batch_size") == ["8", "16", "32"]


def test_an_added_key_tells_the_points_apart_too(swept):
    processes = Processes()
    swept(processes, "++seed=1,2", "hydra.sweep.dir=swept")
    assert len(set(processes.directories)) == 2


def test_other_settings_that_were_interrupted_are_not_told_as_the_earlier_ones(swept):
    swept(Processes(), *SWEEP)
    _, output, _ = swept(Processes({"16": KeyboardInterrupt()}), *SWEEP, "steps=7")
    assert "2 of 3 points have not been run to their end" in output
    assert "batch_size=32" not in output


def test_other_configurations_of_ones_own_are_measured_again(swept, here):
    arguments = ("measure=short", *SWEEP, "--config-dir", "mine")
    file = here / "mine" / "measure" / "short.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("name: short\nsteps: 7\n")
    swept(Processes(), *arguments)
    same = Processes()
    swept(same, *arguments)
    assert same.asked == []
    file.write_text("name: short\nsteps: 8\n")
    other = Processes()
    _, _, errors = swept(other, *arguments)
    assert other.values("batch_size") == ["8", "16", "32"]
    assert "again, with other configurations of your own" in errors


@pytest.mark.parametrize(
    ("name", "value"), [("JAX_PLATFORMS", "tpu"), ("CUDA_VISIBLE_DEVICES", "0,1"), ("XLA_FLAGS", "--xla_a=1")]
)
def test_another_environment_is_measured_again(points, monkeypatch, name, value):
    monkeypatch.delenv(name, raising=False)
    points(Processes())
    monkeypatch.setenv(name, value)
    sweep.software.cache_clear()
    again = Processes()
    points(again)
    sweep.software.cache_clear()
    assert len(again.asked) == 3


@pytest.mark.parametrize("part", ["processor", "gpus"])
def test_another_machine_measures_again(points, monkeypatch, part):
    points(Processes())
    if part == "gpus":
        monkeypatch.setattr(sweep.machine, "nvidia_gpus", lambda: "NVIDIA A100-SXM4-40GB")
    else:
        monkeypatch.setattr(sweep.machine, "host", lambda: sweep.machine.Host("another", 3, 2**30))
    again = Processes()
    points(again)
    assert len(again.asked) == 3


def test_any_one_gpu_of_a_machine_is_as_good_as_another(points, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    points(Processes())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    again = Processes()
    points(again)
    assert again.asked == []


def test_another_version_is_measured_again(points, monkeypatch):
    points(Processes())
    newer = sweep.software() | {"jax": "99.0"}
    monkeypatch.setattr(sweep, "software", newer.copy)
    again = Processes()
    points(again)
    assert len(again.asked) == 3


@pytest.mark.parametrize("name", ["point.json", "result.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"overrides": 3}', "[" * 100_000, "\udcff", '{"code": 0}']
)
def test_a_damaged_file_means_that_the_point_is_run_again(points, here, name, content):
    points(Processes())
    file = here / "swept/batch_size=16" / name
    file.write_bytes(content.encode(errors="surrogateescape"))
    again = Processes()
    points(again)
    assert again.values("batch_size") == ["16"]


def test_a_damaged_plan_is_replaced(swept, here):
    swept(Processes(), *SWEEP)
    (here / "swept/sweep.json").write_text("{")
    code, _, _ = swept(Processes(), *SWEEP)
    assert code == 0
    assert json.loads((here / "swept/sweep.json").read_text())["finished"] is True


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), "interrupted"])
def test_ctrl_c_ends_a_sweep_with_the_table_and_the_same_command_goes_on(swept, ending):
    stopped = Processes({"16": ending})
    code, output, errors = swept(stopped, BATCHES)
    assert code == 130
    assert stopped.values("batch_size") == ["8", "16"]
    assert "2 of 3 points have not been run to their end" in output
    assert "interrupted" in errors
    # in another order of arguments it is the same sweep
    resumed = Processes()
    code, output, errors = swept(resumed, BATCHES)
    assert resumed.values("batch_size") == ["16", "32"]
    assert code == 0
    assert "best: batch_size=32" in output
    assert "3 points" in errors


def test_a_wish_to_stop_that_comes_when_the_result_is_there_does_not_stop_the_next_sweep_too(swept):
    class Late(Processes):
        def __call__(self, arguments, directory, lock=None):
            outcome = super().__call__(arguments, directory, lock)
            stopped = "batch_size=16" in arguments
            return Outcome(ExitCode.INTERRUPTED, outcome.result) if stopped else outcome

    code, _, _ = swept(Late(), BATCHES)
    assert code == 130
    resumed = Processes()
    code, _, _ = swept(resumed, BATCHES)
    assert code == 0
    assert resumed.values("batch_size") == ["32"]


def test_the_same_command_goes_on_with_points_that_could_not_be_written(swept, monkeypatch):
    working = store.check_writable

    def full(directory):
        if directory.name == "batch_size=16":
            raise UserError("cannot write results: No space left on device")
        working(directory)

    monkeypatch.setattr(store, "check_writable", full)
    code, output, _ = swept(Processes(), BATCHES)
    assert code == 1
    assert "the same command goes on with them" in output
    monkeypatch.setattr(store, "check_writable", working)
    resumed = Processes()
    assert swept(resumed, BATCHES)[0] == 0
    assert resumed.values("batch_size") == ["16"]


def test_a_finished_sweep_without_a_folder_of_its_own_is_measured_anew(swept, here):
    swept(Processes(), BATCHES)
    anew = Processes()
    swept(anew, BATCHES)
    assert len(anew.asked) == 3
    assert len(list(here.glob("multirun/*/*/sweep.json"))) == 2


def test_another_sweep_does_not_take_an_interrupted_ones_folder(swept, here):
    swept(Processes({"16": KeyboardInterrupt()}), BATCHES)
    swept(Processes(), "batch_size=8,16")
    assert len(list(here.glob("multirun/*/*/sweep.json"))) == 2


def test_a_clock_that_was_set_back_loses_nothing(swept, here):
    swept(Processes({"16": KeyboardInterrupt()}), BATCHES)
    (plan,) = here.glob("multirun/*/*/sweep.json")
    plan.write_text(plan.read_text().replace('"started_utc": "20', '"started_utc": "21'))
    resumed = Processes()
    swept(resumed, BATCHES)
    assert resumed.values("batch_size") == ["16", "32"]


def test_a_second_sweep_into_the_same_folder_is_refused(swept, here):
    (here / "swept").mkdir()
    processes = Processes()
    with FileLock(here / "swept" / sweep_plan.LOCK_FILE):
        code, output, errors = swept(processes, *SWEEP)
    assert code == 2
    assert "another sweep is writing into swept" in errors
    assert "hydra.sweep.dir" in errors
    assert not output
    assert processes.asked == []


def test_a_lock_that_cannot_be_opened_is_a_clear_screen(swept, here):
    (here / "swept" / sweep_plan.LOCK_FILE).mkdir(parents=True)
    code, _, errors = swept(Processes(), *SWEEP)
    assert code == 2
    assert "cannot be locked" in errors


def test_a_point_that_cannot_be_composed_is_told_before_anything_runs_and_leaves_nothing(swept, here):
    processes = Processes()
    code, output, errors = swept(processes, "model=resnet_tiny,foo", "batch_size=8")
    assert code == 2
    assert "model=foo is not known" in errors
    assert processes.asked == []
    assert not output
    assert list(here.iterdir()) == []


def test_a_sweep_without_points_is_a_mistake_and_leaves_nothing(swept, here):
    code, output, errors = swept(Processes(), "seed=range(0)", "model=vit_tiny")
    assert code == 2
    assert "the sweep over seed=range(0) has no points" in errors
    assert not output
    assert list(here.iterdir()) == []


def test_an_unexpected_error_ends_a_sweep_with_the_table_of_what_there_is(swept, capsys):
    with pytest.raises(RuntimeError, match="a bug"):
        swept(Processes({"16": RuntimeError("a bug")}), *SWEEP)
    assert "batch_size=8" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_to_is_found_before_anything_runs(swept, here):
    (here / "file").write_text("in the way")
    processes = Processes()
    code, _, errors = swept(processes, BATCHES, "hydra.sweep.dir=file/below")
    assert code == 2
    assert "hydra.sweep.dir" in errors
    assert processes.asked == []


def test_a_disk_that_fills_up_fails_its_point_and_keeps_what_was_there(points, monkeypatch, capsys):
    def full(directory):
        if directory.name == "batch_size=16":
            raise UserError("cannot write results: No space left on device")

    monkeypatch.setattr(store, "check_writable", full)
    processes = Processes()
    plan = points(processes)
    assert processes.values("batch_size") == ["8", "32"]
    assert sweep.exit_code(plan) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert "1 of 3 points have not been run to their end" in sweep.summary(plan)


@pytest.mark.parametrize("override", ["hydra.sweep.subdir=x", "hydra.output_subdir=x"])
def test_hydras_names_for_the_points_are_refused(swept, override):
    code, _, errors = swept(Processes(), BATCHES, override)
    assert code == 2
    assert "each point's directory is named by what varies" in errors


def test_configurations_of_ones_own_reach_every_point(swept, here):
    (here / "mine" / "measure").mkdir(parents=True)
    (here / "mine" / "measure" / "short.yaml").write_text("name: short\nsteps: 7\n")
    processes = Processes()
    code, _, _ = swept(processes, "measure=short", "seed=1,2", "--config-dir", "mine")
    assert code == 0
    assert all("--config-dir=mine" in arguments for arguments in processes.asked)


def test_values_with_commas_and_brackets_stay_one_value(swept):
    processes = Processes()
    splits = """data.split='train[:10%]','train[10%:]'"""
    code, output, _ = swept(processes, "data=tfds", "data.name=food101", splits, "hydra.sweep.dir=swept")
    assert code == 0
    assert processes.values("data.split") == ["'train[:10%]'", "'train[10%:]'"]
    assert len(set(processes.directories)) == 2
    assert "train[:10%]" in output


def test_ranges_and_globs_make_points(swept):
    processes = Processes()
    swept(processes, "seed=range(3)", "model=glob(vit_t*)")
    assert processes.values("seed") == ["0", "0", "1", "1", "2", "2"]
    assert set(processes.values("model")) == {"vit_ti16", "vit_tiny"}


@pytest.mark.parametrize("directory", ["mine", "my, [own]"])
def test_globs_find_configurations_of_ones_own(swept, here, directory):
    (here / directory / "measure").mkdir(parents=True)
    for name in ("short_one", "short_two"):
        (here / directory / "measure" / f"{name}.yaml").write_text(f"name: {name}\nsteps: 7\n")
    processes = Processes()
    code, _, errors = swept(processes, "measure=glob(short_*)", "--config-dir", directory)
    assert code == 0
    assert processes.values("measure") == ["short_one", "short_two"]
    assert "[2/2] measure=short_two" in errors


def test_slurm_jobs_on_different_gpus_of_a_node_do_not_wait_for_each_other(swept, monkeypatch):
    first, second = Processes(), Processes()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for gpu, processes in (("2", first), ("3", second)):
        monkeypatch.setenv("SLURM_JOB_GPUS", gpu)
        swept(processes, f"seed={gpu}", "hydra.sweep.dir=swept")
    assert set(first.locks).isdisjoint(second.locks)


def test_points_on_the_same_devices_share_a_lock_and_others_do_not(swept, monkeypatch):
    processes = Processes()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    swept(processes, *SWEEP)
    assert len(set(processes.locks)) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    other = Processes()
    swept(other, "batch_size=64,128", "hydra.sweep.dir=swept")
    assert set(other.locks).isdisjoint(processes.locks)


def test_the_time_left_is_told_once_there_is_something_to_tell_it_by(points, monkeypatch, capsys):
    times = iter(range(0, 100, 10))
    monkeypatch.setattr(sweep.time, "monotonic", lambda: float(next(times)))
    points(Processes())
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] batch_size=8",
        "    800 images/s ± 1.0 % (10.0 s)",
        "[2/3] batch_size=16 · about 20.0 s left",
        "    1,600 images/s ± 1.0 % (10.0 s)",
        "[3/3] batch_size=32 · about 10.0 s left",
        "    3,200 images/s ± 1.0 % (10.0 s)",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("batch_size=8 seed=1", "batch_size=8,seed=1"),
        ("a=[1]", "a=(1)"),
        ("a=" + "x" * 300, "a=" + "x" * 301),
        ("a=ü", "a=ö"),
    ],
)
def test_two_labels_never_share_a_directory(one, other):
    names = [sweep_plan.directory_name(label) for label in (one, other)]
    assert names[0] != names[1]
    assert all(len(name.encode()) <= 200 and "/" not in name for name in names)


def test_a_sweep_runs_through_submitit_too_which_needs_no_slurm_to_be_tried(user, tmp_path):
    launcher = ("hydra/launcher=submitit_local", "hydra.sweep.dir=swept")
    arguments = ("-m", "model=resnet_tiny", "batch_size=4,0", "steps=6", "warmup=1", *launcher)
    done = subprocess.run([*TRAINBENCH, *arguments], capture_output=True, text=True, timeout=300, **user)
    assert done.returncode == 1, done.stderr  # the batch of 0
    record = json.loads((tmp_path / "swept/batch_size=4/result.json").read_text())
    assert record["status"] == "ok"
    table = done.stdout.splitlines()
    # "ok", or "not steady" on a machine that is busy.
    assert any(line.split()[:1] == ["batch_size=4"] and "failed" not in line for line in table), done.stdout
    assert any(line.split()[:2] == ["batch_size=0", "failed"] for line in table)


def test_a_killed_sweep_leaves_no_run_behind_and_goes_on_with_the_same_command(user, tmp_path):
    points = "batch_size=4,50000000,0,8"
    command = [*TRAINBENCH, "-m", "model=resnet_tiny", points, "steps=400", "warmup=1"]
    options = {**user, "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "[4/4]" in "".join(seen) and "warm-up" in line:
                break
        process.send_signal(signal.SIGKILL)
        # The point's process holds this pipe too: its end is the end of both.
        process.stderr.read()
    (folder,) = tmp_path.glob("multirun/*/*")
    status = {
        path.parent.name: json.loads(path.read_text())["status"] for path in folder.glob("*/result.json")
    }
    assert status.pop("batch_size=8", "interrupted") == "interrupted"
    assert status == {"batch_size=4": "ok", "batch_size=50000000": "oom"}
    kept = (folder / "batch_size=4/result.json").read_bytes()

    done = subprocess.run(command, capture_output=True, timeout=300, **options)
    assert done.returncode == 1, done.stderr  # the batch of 0
    assert "2 already there and not run again" in done.stderr
    assert (folder / "batch_size=4/result.json").read_bytes() == kept
    assert json.loads((folder / "batch_size=8/result.json").read_text())["status"] == "ok"
    assert not (folder / "batch_size=0/result.json").exists()
    assert "best: batch_size=" in done.stdout.splitlines()[-1]
    assert list(tmp_path.glob("multirun/*/*")) == [folder]
    assert not list(folder.rglob("*.tmp"))
    assert max(map(len, done.stdout.splitlines())) <= 110
