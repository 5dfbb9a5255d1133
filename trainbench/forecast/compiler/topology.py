"""The devices of a TPU or a GPU that isn't there, as its compiler describes them to JAX."""

from importlib import metadata
from typing import Any

import jax
from jax.experimental import topologies

from trainbench.errors import UserError, first_line
from trainbench.forecast.compiler import gpu_devices
from trainbench.forecast.targets import Target
from trainbench.hardware import chips
from trainbench.training.device import Devices

# As libtpu 0.0.52 words them.
UNKNOWN_GENERATION = "Invalid TPU external name"
HELD = "libtpu multi-process lockfile"


def devices(target: Target) -> Devices:
    """All devices of the target; programs can be compiled for them, but not run.

    Raises:
      UserError: this libtpu doesn't know the target, or another process holds libtpu for itself.
    """
    return _gpus(target) if target.platform == "gpu" else _tpu(target)


def _gpus(target: Target) -> Devices:
    gpu = gpu_devices.find(target.chip)
    assert gpu is not None, "the parent process has checked it"
    description = topologies.get_topology_desc(
        platform="cuda", target_config=gpu_devices.description(target.chip), topology=target.topology
    )
    handles: tuple[Any, ...] = tuple(description.devices)
    chip = chips.by_id(target.chip)
    return Devices(handles, "gpu", handles[0].device_kind, chip, float(gpu.capability))


def _tpu(target: Target) -> Devices:
    try:
        description = topologies.get_topology_desc(
            platform="tpu", topology_name=target.topology, **target.options
        )
    except jax.errors.JaxRuntimeError as error:
        raise _explained(error, target) or error from None
    handles: tuple[Any, ...] = tuple(description.devices)
    kind = handles[0].device_kind
    return Devices(handles, "tpu", kind, chips.lookup(kind, cores_per_device=handles[0].num_cores))


def _explained(error: Exception, target: Target) -> UserError | None:
    """What libtpu says as the user can act on it; None for what is not the user's to mend."""
    said = first_line(error)
    if UNKNOWN_GENERATION in said:
        return UserError(
            f"target={target.name} is unknown to libtpu {metadata.version('libtpu')}: {said}",
            allowed="a JAX whose libtpu is newer than the TPU",
            # Not libtpu alone: JAX's own extra pins the one that fits it.
            fix="pip install --upgrade 'jax[tpu]'",
        )
    if HELD in said:
        return UserError(
            f"another process holds libtpu and does not share it: {said}",
            allowed="one process at a time, where the other did not set ALLOW_MULTIPLE_LIBTPU_LOAD=1",
            fix="wait until that process has ended",
        )
    return None
