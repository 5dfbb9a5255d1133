"""What a user may say of the processes of a run."""

from dataclasses import dataclass

# What can be asked where the processes are, beside "auto" and "none".
CLUSTERS = ("slurm", "ompi", "k8s", "tpu")
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class DistributedConfig:
    """Where the processes of a run find each other.

    Attributes:
      cluster: what knows them: "auto" looks at the environment, "none" is a single process.
      coordinator: HOST:PORT of process 0; None: as the cluster says.
      num_processes: how many there are; None: as the cluster says.
      process_id: which of them this is, from 0; None: as the cluster says.
    """

    cluster: str = AUTO
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
