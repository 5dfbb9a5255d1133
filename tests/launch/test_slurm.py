"""The recipe for Slurm under a real one, of one node: `make test-slurm`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import commands
from tests.launch import slurm_cluster
from tests.launch.recipes import LAUNCH

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        bool(slurm_cluster.missing()),
        reason=f"Slurm is not installed ({' '.join(slurm_cluster.missing())}): {slurm_cluster.PACKAGES}",
    ),
]

# Two processes on the one node, which has no GPUs: what a user would write to override the file's lines.
SMALL = (
    f"--partition={slurm_cluster.PARTITION}",
    *("--nodes=1", "--ntasks-per-node=2", "--gres=none", "--cpus-per-task=1", "--time=10"),
)

# In place of Python: waits for a signal and ends as an interrupted run does; the next time it is finished.
_INTERRUPTED_ONCE = """#!/bin/bash
mark="$PWD/done-$SLURM_PROCID"
echo "task $SLURM_PROCID of $SLURM_NTASKS, start ${SLURM_RESTART_COUNT:-0}: $*"
[ -e "$mark" ] && exit 0
trap 'touch "$mark"; exit 130' TERM
touch "$PWD/ready-$SLURM_PROCID"
for _ in $(seq 600); do sleep 0.1; done
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def slurm(cluster: dict[str, str], directory: Path, *command: str, timeout_s: float = 60) -> str:
    """What a Slurm command prints."""
    ended = subprocess.run(
        command, cwd=directory, env=cluster, capture_output=True, text=True, timeout=timeout_s
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def submitted(
    cluster: dict[str, str], directory: Path, *arguments: str, options: tuple[str, ...] = ()
) -> str:
    """The number of a job of our file."""
    recipe = str(LAUNCH / "slurm.sbatch")
    return slurm(cluster, directory, "sbatch", "--parsable", *SMALL, *options, recipe, *arguments).strip()


def state(cluster: dict[str, str], directory: Path, job: str) -> str:
    """What Slurm says of a job: PENDING, RUNNING, COMPLETED, ..."""
    shown = slurm(cluster, directory, "scontrol", "show", "job", job)
    return dict(pair.partition("=")[::2] for pair in shown.split())["JobState"]


def until(cluster: dict[str, str], directory: Path, job: str, *states: str, timeout_s: float = 300) -> str:
    """The state of a job once it is one of these."""
    end = time.monotonic() + timeout_s
    while (now := state(cluster, directory, job)) not in states:
        assert time.monotonic() < end, f"job {job} is {now}: {log(directory, job)}"
        time.sleep(0.3)
    return now


def log(directory: Path, job: str) -> str:
    written = directory / f"trainbench-{job}.log"
    return written.read_text() if written.exists() else "no log"


def interrupted_once(directory: Path) -> str:
    program = directory / "interrupted_once"
    program.write_text(_INTERRUPTED_ONCE)
    program.chmod(0o755)
    return str(program)


def ready(directory: Path, tasks: int = 2) -> None:
    end = time.monotonic() + 60
    while not all((directory / f"ready-{task}").exists() for task in range(tasks)):
        assert time.monotonic() < end, "the tasks do not start"
        time.sleep(0.1)


def test_slurm_accepts_every_directive_of_the_file(cluster, tmp_path):
    said = slurm(cluster, tmp_path, "sbatch", "--test-only", *SMALL, str(LAUNCH / "slurm.sbatch"))
    assert "to start at" in said


def goes_on(cluster: dict[str, str], directory: Path, job: str) -> None:
    """Asserts that a job which was told to stop comes back as itself, and is then finished."""
    until(cluster, directory, job, "PENDING", timeout_s=60)
    # It would wait for two minutes first.
    slurm(cluster, directory, "scontrol", "update", f"JobId={job}", "StartTime=now")
    assert until(cluster, directory, job, "COMPLETED", "FAILED") == "COMPLETED"
    arguments = f"-m trainbench hydra.run.dir=outputs/slurm-{job} checkpoint.every=5"
    starts = [f"task {task} of 2, start {start}: {arguments}" for start in (0, 1) for task in (0, 1)]
    said = [line for line in log(directory, job).splitlines() if line.startswith("task")]
    assert sorted(said) == sorted(starts)


def test_a_job_that_is_told_to_stop_goes_on_in_the_same_job_and_log(cluster, tmp_path):
    job = submitted(cluster | {"PYTHON": interrupted_once(tmp_path)}, tmp_path, "checkpoint.every=5")
    ready(tmp_path)
    # To the tasks and not to the script, as --signal does at the end of the time.
    slurm(cluster, tmp_path, "scancel", "--signal=TERM", job)
    goes_on(cluster, tmp_path, job)


def test_a_job_that_is_pushed_out_by_another_goes_on_after_it(cluster, tmp_path):
    job = submitted(cluster | {"PYTHON": interrupted_once(tmp_path)}, tmp_path, "checkpoint.every=5")
    ready(tmp_path)
    urgent = ("srun", f"--partition={slurm_cluster.URGENT}", "--exclusive", "--ntasks=1", "true")
    slurm(cluster, tmp_path, *urgent, timeout_s=120)
    goes_on(cluster, tmp_path, job)


def test_a_job_that_the_user_cancels_does_not_come_back(cluster, tmp_path):
    environment = cluster | {"PYTHON": interrupted_once(tmp_path)}
    job = submitted(environment, tmp_path, "checkpoint.every=5")
    ready(tmp_path)
    slurm(cluster, tmp_path, "scancel", job)
    assert until(cluster, tmp_path, job, "CANCELLED", "PENDING", "FAILED") == "CANCELLED"
    time.sleep(3)
    assert state(cluster, tmp_path, job) == "CANCELLED"


def test_submitit_makes_a_job_of_each_point_of_a_sweep(cluster, cache, tmp_path):
    swept = commands.run(
        cache,
        tmp_path,
        *("-m", "hydra/launcher=submitit_slurm", f"hydra.launcher.partition={slurm_cluster.PARTITION}"),
        *("hydra.launcher.mem_gb=null", "hydra.launcher.cpus_per_task=1", "hydra.sweep.dir=swept"),
        *("model=resnet_tiny", "batch_size=2,4", *commands.FAST),
        SLURM_CONF=cluster["SLURM_CONF"],
    )
    assert swept.returncode == 0, swept.stderr
    records = [commands.result_of(path.parent) for path in sorted(tmp_path.rglob("result.json"))]
    assert [record["workload"]["batch_size"] for record in records] == [2, 4]
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert "batch_size=4" in swept.stdout


def test_two_tasks_are_one_run(cluster, cache, tmp_path):
    environment = commands.environment(cache) | {
        "SLURM_CONF": cluster["SLURM_CONF"],
        "PYTHON": sys.executable,
    }
    job = submitted(environment, tmp_path, "model=resnet_tiny", "batch_size=4", *commands.FAST)
    assert until(environment, tmp_path, job, "COMPLETED", "FAILED") == "COMPLETED", log(tmp_path, job)
    record = commands.result_of(tmp_path / "outputs" / f"slurm-{job}")
    assert record["hardware"]["process_count"] == 2
    assert record["hardware"]["device_count"] == 2
    assert record["workload"]["global_batch_size"] == 8
    assert len(list(tmp_path.rglob("result.json"))) == 1
    assert record["status"] == "ok"


def test_a_run_of_two_tasks_that_is_told_to_stop_still_writes_its_result(cluster, cache, tmp_path):
    environment = commands.environment(cache) | {
        "SLURM_CONF": cluster["SLURM_CONF"],
        "PYTHON": sys.executable,
    }
    asked = ("model=resnet_tiny", "batch_size=4", "measure=quick", "steps=100000", "warmup=1")
    job = submitted(environment, tmp_path, *asked)
    end = time.monotonic() + 240
    while "measuring block" not in log(tmp_path, job):
        assert time.monotonic() < end, log(tmp_path, job)
        time.sleep(0.3)
    slurm(cluster, tmp_path, "scancel", "--signal=TERM", job)
    assert until(environment, tmp_path, job, "COMPLETED", "FAILED") == "FAILED"
    assert "without checkpoint.every=N" in log(tmp_path, job)
    record = commands.result_of(tmp_path / "outputs" / f"slurm-{job}")
    assert record["status"] == "interrupted"
    assert record["hardware"]["process_count"] == 2
