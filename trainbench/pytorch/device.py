"""The device that PyTorch runs on, in the terms that a run describes devices in."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from trainbench.hardware import machine
from trainbench.hardware.chips import lookup
from trainbench.training.device import Devices


@dataclass(frozen=True)
class TorchDevice:
    """One device as `measure.memory` asks about it."""

    platform: str

    def memory_stats(self) -> Mapping[str, int] | None:
        """What the allocator says, by JAX's names; None of a CPU, whose allocator keeps no statistics."""
        if self.platform == "cpu":
            return None
        _, total = torch.cuda.mem_get_info()
        return {"peak_bytes_in_use": torch.cuda.max_memory_allocated(), "bytes_limit": total}


@dataclass(frozen=True)
class TorchDevices(Devices):
    """The one device of a run in PyTorch."""

    @property
    def local(self) -> tuple[TorchDevice, ...]:
        return (TorchDevice(self.platform),)


def find() -> tuple[TorchDevices, torch.device]:
    """The first GPU that PyTorch sees, else the CPU: what a run says of it, and PyTorch's own name for it."""
    if torch.cuda.is_available():
        kind = torch.cuda.get_device_name(0)
        capability = None
        if torch.version.hip is None:
            major, minor = torch.cuda.get_device_capability(0)
            capability = float(f"{major}.{minor}")
        handles = (TorchDevice("gpu"),)
        return TorchDevices(handles, "gpu", kind, lookup(kind), capability), torch.device("cuda", 0)
    return TorchDevices((TorchDevice("cpu"),), "cpu", "cpu", None), torch.device("cpu")


def usable_cores() -> int:
    """Cores that this process may run on, which are the threads that XLA:CPU takes."""
    return machine.host().cores
