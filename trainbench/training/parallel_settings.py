"""What a user may ask of the device mesh."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from trainbench import checks, shipped

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


def parse(tree: Mapping[str, Any]) -> ParallelConfig:
    """The `parallel` section of a composed configuration.

    Raises:
      UserError: a value is of the wrong type or unknown.
    """
    section, content = shipped.named(tree, "parallel")
    shipped.check_unchanged("parallel", section, content, free=AXES)
    return ParallelConfig(name=section["name"], **{axis: _size(section, axis) for axis in AXES})


def _size(section: Mapping[str, Any], axis: str) -> int | None:
    """Devices along an axis of the mesh; None for the rest."""
    kind = dataclasses.replace(checks.COUNT, text=f"{checks.COUNT.text}, or {REST}")
    return None if section[axis] == REST else checks.value(section, axis, kind, f"parallel.{axis}")
