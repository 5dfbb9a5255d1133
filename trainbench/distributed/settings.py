"""What a user may say of the processes of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainbench import checks

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


def parse(tree: Mapping[str, Any]) -> DistributedConfig:
    """The `distributed` section of a composed configuration.

    Raises:
      UserError: a value is of the wrong type or unknown.
    """
    section = checks.own_section(tree, "distributed", DistributedConfig)
    return DistributedConfig(
        cluster=checks.choice(section["cluster"], "distributed.cluster", (AUTO, NONE, *CLUSTERS)),
        coordinator=checks.optional(section, "coordinator", checks.ADDRESS, "distributed.coordinator"),
        num_processes=checks.optional(section, "num_processes", checks.COUNT, "distributed.num_processes"),
        process_id=checks.optional(section, "process_id", checks.WHOLE, "distributed.process_id"),
    )
