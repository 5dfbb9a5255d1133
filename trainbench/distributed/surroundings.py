"""Whether this process is one of several, from what was asked for and from what the scheduler has set."""

import glob
import importlib.util
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainbench.distributed.settings import AUTO, NONE, DistributedConfig
from trainbench.errors import UserError

KEYS = ("coordinator", "num_processes", "process_id")
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_WORKERS = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints"
_METADATA_S = 2.0
# How JAX names the ways to look for the others. Only those that have a name there can be asked for.
NAMED_BY_JAX = ("slurm", "ompi")
BY_HAND = (
    "distributed.coordinator=HOST:PORT distributed.num_processes=N distributed.process_id=I, "
    "with I from 0 in each process"
)


@dataclass(frozen=True)
class Meeting:
    """Where the processes of a run find each other.

    Attributes:
      cluster: what knows; None: all of the rest is given.
    """

    cluster: str | None
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    @property
    def method(self) -> str | None:
        """JAX's name of the way to look; None lets it try all it knows."""
        if self.cluster is None:
            return "deactivate"
        return self.cluster if self.cluster in NAMED_BY_JAX else None


def meeting(
    asked: DistributedConfig,
    environment: Mapping[str, str],
    tpu_workers: Callable[[Mapping[str, str]], int] | None = None,
) -> Meeting | None:
    """Where the processes of this run meet; None: there is only this one.

    Raises:
      UserError: the keys of `distributed` are incomplete or at odds, or Kubernetes cannot be asked.
    """
    given = [key for key in KEYS if getattr(asked, key) is not None]
    if given:
        return _by_hand(asked, given)
    if asked.cluster == NONE:
        return None
    if asked.cluster != AUTO:
        return Meeting(asked.cluster)
    if all(name in environment for name in _SLURM):
        # In the shell of sbatch or salloc the job's SLURM_NTASKS is set too, but there is one process.
        tasks = environment.get("SLURM_STEP_NUM_TASKS", environment["SLURM_NTASKS"])
        return Meeting("slurm") if _number(tasks) > 1 else None
    if _number(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        return Meeting("ompi")
    if (tpu_workers or count_tpu_workers)(environment) > 1:
        return Meeting("tpu")
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        _check_kubernetes()
        return Meeting("k8s")
    return None


def _by_hand(asked: DistributedConfig, given: list[str]) -> Meeting | None:
    missing = [f"distributed.{key}" for key in KEYS if key not in given]
    if missing:
        raise UserError(
            f"{', '.join(f'distributed.{key}' for key in given)} without {', '.join(missing)}",
            allowed="all three, or none of them where a scheduler starts the processes",
            fix=BY_HAND,
        )
    assert asked.num_processes is not None
    assert asked.process_id is not None
    if asked.process_id >= asked.num_processes:
        raise UserError(
            f"distributed.process_id={asked.process_id} is none of "
            f"distributed.num_processes={asked.num_processes} processes",
            allowed=f"0 to {asked.num_processes - 1}",
            fix=f"distributed.process_id={asked.num_processes - 1}, or distributed.num_processes="
            f"{asked.process_id + 1} in every process",
        )
    if asked.num_processes == 1:
        return None
    return Meeting(None, asked.coordinator, asked.num_processes, asked.process_id)


def _number(words: str) -> int:
    return int(words) if words.isdecimal() else 1


def count_tpu_workers(environment: Mapping[str, str]) -> int:
    """Hosts of the TPU slices that this host belongs to; 1 where it has no TPU, or is alone."""
    slices = _number(environment.get("MEGASCALE_NUM_SLICES", "1"))
    named = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES")
    if named:
        return slices * len(named.split(","))
    if slices > 1 or "TPU_SKIP_MDS_QUERY" in environment or not _has_tpu():
        return slices
    request = urllib.request.Request(_WORKERS, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=_METADATA_S) as answer:
            return len(answer.read().decode().split(","))
    except (urllib.error.URLError, OSError, ValueError):
        return 1


def _has_tpu() -> bool:
    return bool(glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")) and (
        importlib.util.find_spec("libtpu") is not None
    )


def _check_kubernetes() -> None:
    if importlib.util.find_spec("kubernetes") is None:
        raise UserError(
            "this is a pod of an indexed Job, and the package that asks Kubernetes for the others is missing",
            allowed="the package kubernetes, or the others by hand, or a single process",
            fix=f"pip install kubernetes; or {BY_HAND}; or distributed.cluster=none",
        )
