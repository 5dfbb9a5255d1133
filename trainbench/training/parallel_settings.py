"""What a user may ask of the device mesh."""

from dataclasses import dataclass
from typing import Final, Literal

# From the outermost to the innermost: neighbours in the mesh, which have the fastest links, share a layer.
AXES = ("data", "fsdp", "tensor")
REST = "rest"

BatchNorm = Literal["per_replica", "synchronised"]
PER_REPLICA: Final = "per_replica"
SYNCHRONISED: Final = "synchronised"
BATCH_NORMS: tuple[BatchNorm, ...] = (PER_REPLICA, SYNCHRONISED)


@dataclass(frozen=True)
class ParallelConfig:
    """Devices along each axis of the mesh; None for those that the others leave.

    Attributes:
      data: groups of devices that each hold the whole state and a part of the batch.
      fsdp: devices that each hold a part of the state and a part of the batch.
      tensor: devices that each hold a part of every layer and share the samples.
    """

    name: str = "data"
    data: int | None = None
    fsdp: int | None = 1
    tensor: int | None = 1
