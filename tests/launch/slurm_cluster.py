"""A Slurm of one node, for as long as a test session lasts: Debian's packages, in a directory of its own."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
PACKAGES = "apt-get install slurmctld slurmd slurm-client munge"
PARTITION = "here"
# Its jobs push those of the other partition out, which are told 60 s before.
URGENT = "urgent"
# Slots of the node: Slurm may believe in more processors than there are.
SLOTS = 4

# Signals and restarts have to work; accounting, limits and task binding do not.
_CONFIGURATION = """\
ClusterName=trainbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket
CryptoType=crypto/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
JobRequeue=1
SlurmdParameters=config_overrides
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs={slots} State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName={partition} Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 State=UP
PartitionName={urgent} Nodes=ALL PriorityTier=2 PreemptMode=OFF State=UP
"""


def missing() -> list[str]:
    """Its programs that are not installed; Debian has them in /usr/sbin, too."""
    return [name for name in PROGRAMS if not _found(name)]


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def running(directory: Path) -> Iterator[dict[str, str]]:
    """The environment in which sbatch and the others talk to a cluster that ends with the block."""
    for name in ("munge", "state", "spool"):
        (directory / name).mkdir()
    key = directory / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    directory.chmod(0o755)
    configuration = directory / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            user=getpass.getuser(),
            directory=directory,
            controller_port=_free_port(),
            node_port=_free_port(),
            partition=PARTITION,
            urgent=URGENT,
            slots=SLOTS,
        )
    )
    environment = os.environ | {"SLURM_CONF": str(configuration)}
    munge = [f"--{name}={directory}/munge/{name}" for name in ("socket", "pid-file", "log-file", "seed-file")]
    # In the foreground, so that they are children to end; --force: the directory is not root's alone.
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]
    daemons = []
    try:
        for command in commands:
            daemons.append(_started(command, environment, directory))
            if command[0] == "munged":
                _until(lambda: (directory / "munge" / "socket").exists(), "munged", directory)
        _until(lambda: "idle" in _nodes(environment), "the node", directory)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=60)


def _started(command: list[str], environment: dict[str, str], directory: Path) -> "subprocess.Popen[bytes]":
    program = _found(command[0])
    assert program
    with (directory / f"{command[0]}.log").open("wb") as log:
        return subprocess.Popen([program, *command[1:]], env=environment, stdout=log, stderr=log)


def _nodes(environment: dict[str, str]) -> str:
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, timeout=60
    )
    return asked.stdout


def _until(holds: Callable[[], bool], what: str, directory: Path) -> None:
    end = time.monotonic() + 30
    while not holds():
        words = "".join(path.read_text()[-1000:] for path in sorted(directory.glob("*.log")))
        assert time.monotonic() < end, f"{what} is not up after 30 s:\n{words}"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
