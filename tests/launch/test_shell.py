"""The shell scripts, with programs in place of srun and gcloud that only write down how they are called."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.building import request
from tests.launch.recipes import CHECKOUT, LAUNCH, calls, overrides_of, run, stand_ins

SCRIPTS = ("slurm.sbatch", "tpu_pod.sh")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_plain_bash_that_shellcheck_has_nothing_to_say_about(name):
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert shellcheck, "comes with the extra dev"
    found = subprocess.run([shellcheck, str(LAUNCH / name)], capture_output=True, text=True, timeout=60)
    assert found.stdout == ""
    assert subprocess.run(["bash", "-n", str(LAUNCH / name)], timeout=60).returncode == 0


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_started_as_it_is(name):
    assert (LAUNCH / name).stat().st_mode & 0o111


def directives() -> dict[str, str]:
    """What sbatch reads from the file: options and their values."""
    found = re.findall(
        r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", (LAUNCH / "slurm.sbatch").read_text(), re.MULTILINE
    )
    assert len(dict(found)) == len(found), "each once"
    assert len(found) == (LAUNCH / "slurm.sbatch").read_text().count("\n#SBATCH")
    return dict(found)


def test_slurm_starts_one_process_per_gpu_that_sees_all_gpus_of_its_node():
    assert directives()["gres"] == f"gpu:{directives()['ntasks-per-node']}"
    assert not {"gpus-per-task", "gpu-bind", "ntasks"} & directives().keys()


def test_slurm_gives_a_run_time_to_save_and_takes_it_back():
    assert re.fullmatch(r"TERM@(60|1[2-8]0)", directives()["signal"]), (
        "to the processes: no B:, which is this shell"
    )
    assert "requeue" in directives()
    assert directives()["open-mode"] == "append", "a segment does not overwrite the words of the last one"


def test_slurm_reads_no_directive_after_the_first_command():
    text = (LAUNCH / "slurm.sbatch").read_text()
    first = re.search(r"^[^#\n]", text, re.MULTILINE)
    assert first
    assert "#SBATCH" not in text[first.start() :]


def slurm_job(
    tmp_path: Path, *overrides: str, code: int = 0, restarts: int = 0
) -> tuple[int, list[list[str]]]:
    """Exit code of the job's script with a run that ended so, and what it called."""
    variables = stand_ins(tmp_path, "srun", "scontrol")
    variables |= {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": str(restarts), "EXIT_CODE": str(code)}
    ended = run("slurm.sbatch", *overrides, directory=tmp_path, **variables)
    assert ended.stderr == ""
    return ended.returncode, calls(tmp_path)


def test_slurm_runs_the_command_with_what_was_typed_after_the_file(tmp_path):
    code, [srun] = slurm_job(tmp_path, "model=vit_tiny", "checkpoint.dir='a b'", "steps=7")
    assert code == 0
    assert srun[0] == "srun"
    command = srun[srun.index("-m") + 1 :]
    assert command == [
        "trainbench",
        "hydra.run.dir=outputs/slurm-42",
        "model=vit_tiny",
        "checkpoint.dir='a b'",
        "steps=7",
    ]
    asked = request(*command[2:])
    assert (asked.model.name, asked.steps, asked.checkpoint.dir) == ("vit_tiny", 7, "a b")


def test_slurm_leaves_time_for_the_result_when_one_process_has_ended(tmp_path):
    _, [srun] = slurm_job(tmp_path)
    assert "--kill-on-bad-exit=0" in srun
    assert "--wait=120" in srun


def test_slurm_gives_every_process_the_cores_that_the_job_has_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "12")
    _, [srun] = slurm_job(tmp_path)
    assert "--cpus-per-task=12" in srun


def test_an_interrupted_job_with_checkpoints_is_put_back_into_the_queue(tmp_path):
    code, called = slurm_job(tmp_path, "checkpoint.every=100", code=130)
    # The stand-in of scontrol fails as well, and that is not the job's exit code.
    assert code == 130
    assert called[1:] == [["scontrol", "requeue", "42"]]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 137])
def test_a_job_that_was_not_interrupted_stays_as_it_ended(tmp_path, code):
    ended, called = slurm_job(tmp_path, "checkpoint.every=100", code=code)
    assert ended == code
    assert len(called) == 1


def test_an_interrupted_job_without_checkpoints_does_not_begin_again_and_says_so(tmp_path):
    variables = stand_ins(tmp_path, "srun", "scontrol") | {"SLURM_JOB_ID": "42", "EXIT_CODE": "130"}
    ended = run("slurm.sbatch", "model=vit_tiny", directory=tmp_path, **variables)
    assert ended.returncode == 130
    assert "checkpoint.every=N" in ended.stdout
    assert len(calls(tmp_path)) == 1


def test_a_job_does_not_come_back_for_ever(tmp_path):
    _, called = slurm_job(tmp_path, "checkpoint.every=100", code=130, restarts=20)
    assert len(called) == 1


GCLOUD = ["gcloud", "compute", "tpus", "tpu-vm"]
WHERE = ["--zone", "us-east5-b", "--project", "my-project"]


def tpu_pod(tmp_path: Path, *arguments: str) -> list[list[str]]:
    """How the script calls gcloud."""
    ended = run("tpu_pod.sh", *arguments, directory=tmp_path, **stand_ins(tmp_path, "gcloud"))
    assert (ended.returncode, ended.stderr) == (0, "")
    return calls(tmp_path)


def test_a_tpu_pod_runs_the_same_command_on_every_host(tmp_path):
    [called] = tpu_pod(tmp_path, "run", "model=vit_tiny", "checkpoint.dir='a b'")
    assert called[:-1] == [*GCLOUD, "ssh", "my-tpu", *WHERE, "--worker=all", "--command"]
    asked = request(*overrides_of(called[-1]))
    assert asked.distributed.cluster == "tpu"
    assert (asked.model.name, asked.checkpoint.dir) == ("vit_tiny", "a b")


def test_a_tpu_pod_is_installed_from_what_is_committed_by_the_readmes_command(tmp_path):
    sent, made = tpu_pod(tmp_path, "install")
    assert sent[:5] == [*GCLOUD, "scp"]
    assert sent[5].endswith(".tar.gz")
    assert sent[6:] == ["my-tpu:trainbench.tar.gz", *WHERE, "--worker=all"]
    assert not Path(sent[5]).exists(), "nothing is left here"
    assert subprocess.run(["bash", "-n", "-c", made[-1]], timeout=60).returncode == 0
    command = re.search(r"pip install .*?-c constraints.txt -e '\.\[(.*)\]'", made[-1])
    assert command
    assert set(command[1].split(",")) == {"image", "text", "tpu"}
    assert "pip install -c constraints.txt -e" in (CHECKOUT / "README.md").read_text()


# A host that runs the last argument of `gcloud ... ssh`, and whose Python notes what it is told and waits.
_SSH = """#!/bin/bash
cd "$HOST" && exec bash -c "${@: -1}"
"""
_PYTHON = """#!/bin/bash
echo "$*" > started
trap 'echo saved > stopped; exit 130' TERM
for _ in $(seq 300); do sleep 0.1; done
"""


def test_a_tpu_pod_is_stopped_by_the_signal_that_saves(tmp_path):
    for name, text in (("programs/gcloud", _SSH), ("trainbench/.venv/bin/python", _PYTHON)):
        program = tmp_path / name
        program.parent.mkdir(parents=True)
        program.write_text(text)
        program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}/programs:{os.environ['PATH']}", "HOST": str(tmp_path)}
    script = str(LAUNCH / "tpu_pod.sh")
    with subprocess.Popen(["bash", script, "run", "model=vit_tiny"], env=environment) as running:
        try:
            end = time.monotonic() + 30
            while not (tmp_path / "trainbench" / "started").exists():
                assert time.monotonic() < end, "the run does not start"
                time.sleep(0.05)
            assert subprocess.run(["bash", script, "stop"], env=environment, timeout=60).returncode == 0
            assert running.wait(timeout=60) == 130
        finally:
            running.kill()
    assert (tmp_path / "trainbench" / "stopped").exists()
    started = (tmp_path / "trainbench" / "started").read_text()
    assert started.strip() == "-m trainbench distributed.cluster=tpu model=vit_tiny"


def test_a_tpu_pod_s_results_come_from_process_0_alone(tmp_path):
    [called] = tpu_pod(tmp_path, "fetch")
    assert called[:5] == [*GCLOUD, "scp"]
    assert called[-1] == "--worker=0"


@pytest.mark.parametrize("arguments", [[], ["start"]])
def test_a_tpu_pod_script_says_what_it_can_do(tmp_path, arguments):
    ended = run("tpu_pod.sh", *arguments, directory=tmp_path, **stand_ins(tmp_path, "gcloud"))
    assert ended.returncode == 2
    assert "install | run OVERRIDES... | stop | fetch" in ended.stderr
    assert calls(tmp_path) == []
