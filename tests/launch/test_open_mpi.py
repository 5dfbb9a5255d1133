"""Two processes under Open MPI: `make test-mpi`."""

import os
import shutil
import subprocess
import sys

import pytest

from tests import commands

pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(not shutil.which("mpirun"), reason="no mpirun: apt-get install openmpi-bin"),
]

# Open MPI starts nothing for root and no more processes than there are cores unless it is told to.
MPIRUN = ("mpirun", *(("--allow-run-as-root",) if os.geteuid() == 0 else ()), "--oversubscribe", "-n", "2")


def test_two_processes_are_one_run(cache, tmp_path):
    asked = ("model=resnet_tiny", "batch_size=4", "hydra.run.dir=out", *commands.FAST)
    ended = subprocess.run(
        [*MPIRUN, sys.executable, "-m", "trainbench", *asked],
        cwd=tmp_path,
        env=commands.environment(cache),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    record = commands.result_of(tmp_path / "out")
    assert record["status"] == "ok"
    assert record["hardware"]["process_count"] == 2
    assert record["hardware"]["device_count"] == 2
    assert record["workload"]["global_batch_size"] == 8
    assert len(list(tmp_path.rglob("result.json"))) == 1
