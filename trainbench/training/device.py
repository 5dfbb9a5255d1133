"""The devices that this run uses, as JAX shows them."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import psutil

from trainbench.errors import UserError
from trainbench.hardware.chips import Chip, lookup

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Devices:
    """All devices of the run, over all its processes, of one kind."""

    handles: tuple[jax.Device, ...]
    platform: str
    kind: str
    chip: Chip | None
    compute_capability: float | None = None  # of an NVIDIA GPU

    @property
    def local(self) -> tuple[jax.Device, ...]:
        """Those of this process."""
        return tuple(device for device in self.handles if device.process_index == jax.process_index())

    @property
    def count(self) -> int:
        return len(self.handles)

    def first(self, count: int) -> "Devices":
        """So many of them."""
        return dataclasses.replace(self, handles=self.handles[:count])

    @property
    def chip_count(self) -> int | None:
        """Chips behind the devices: a TPU v2 or v3 chip shows two devices. None for an unknown chip."""
        if self.chip is None:
            return None
        return -(-self.count // self.chip.jax_devices_per_chip)

    def peak_flops(self, dtype: str) -> float | None:
        """Dense peak of one device in FLOP/s; None for an unknown chip or an unpublished rate."""
        return self.chip.peak_flops_per_device(dtype) if self.chip else None


def all_devices() -> Devices:
    """Every device that JAX's default backend offers to the processes of this run.

    Raises:
      UserError: JAX can't start the backend that it was told to use.
    """
    try:
        handles: Sequence[jax.Device] = jax.devices()
    except (RuntimeError, AssertionError) as error:
        # Where the plug-in is missing altogether, JAX fails an assertion without a word.
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise UserError(
            f"JAX cannot start its devices (JAX_PLATFORMS={asked!r}): {error or 'no plug-in for it'}",
            allowed="a platform whose plug-in is installed",
            fix="in the checkout: pip install -e '.[cuda]' (or '.[tpu]'); or unset JAX_PLATFORMS",
        ) from None
    kind = handles[0].device_kind
    chip = lookup(kind, cores_per_device=getattr(handles[0], "num_cores", None))
    return Devices(tuple(handles), handles[0].platform, kind, chip, _compute_capability(handles[0]))


def _compute_capability(device: jax.Device) -> float | None:
    """That of an NVIDIA GPU, such as 9.0; None for everything else (AMD gives names such as "gfx942")."""
    try:
        return float(getattr(device, "compute_capability", ""))
    except (TypeError, ValueError):
        return None


def memory_limit_bytes(devices: Devices) -> int | None:
    """What one device may allocate, in bytes; None where the runtime doesn't say.

    A CPU device has no limit of its own: it is what the host has available now, and simulated CPU devices
    share it. Asking for more would have the kernel end the process without a word.
    """
    if devices.platform == "cpu":
        return _host_available_bytes() // len(devices.local)
    stats = devices.local[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    return int(limit) if limit else None


def _host_available_bytes() -> int:
    available = int(psutil.virtual_memory().available)
    try:
        granted = int(CGROUP_LIMIT.read_text()) - psutil.Process().memory_info().rss
    except (OSError, ValueError):
        return available
    return min(available, granted)
