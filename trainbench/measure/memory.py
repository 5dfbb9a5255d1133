"""Device memory as the allocator saw it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Device(Protocol):
    """The part of a jax.Device that is read here."""

    @property
    def platform(self) -> str: ...

    def memory_stats(self) -> Mapping[str, int] | None: ...


@dataclass(frozen=True)
class AllocatorMemory:
    """The fullest device's figures in bytes; each None has its reason."""

    peak_bytes: int | None
    limit_bytes: int | None
    peak_reason: str  # empty when peak_bytes is known
    limit_reason: str  # empty when limit_bytes is known


def allocator_memory(devices: Sequence[Device]) -> AllocatorMemory:
    """Highest peak and lowest limit over the given (local) devices, in bytes.

    Peak is `peak_bytes_in_use` of `Device.memory_stats()`: the most that arrays and temporaries held at once
    since the process began (JAX offers no reset, so a process that ran something else before reports the
    larger of the two). Memory reserved but unused does not count. Devices that report nothing make the
    figure unknown, since the fullest could be among them.
    """
    if not devices:
        return AllocatorMemory(None, None, "no device was given", "no device was given")
    peaks, peak_reason = _every(devices, "peak_bytes_in_use")
    limits, limit_reason = _every(devices, "bytes_limit")
    return AllocatorMemory(
        peak_bytes=max(peaks) if peaks else None,
        limit_bytes=min(limits) if limits else None,
        peak_reason=peak_reason,
        limit_reason=limit_reason,
    )


def _every(devices: Sequence[Device], key: str) -> tuple[list[int], str]:
    values = []
    for device in devices:
        stats = device.memory_stats()
        if not stats:
            return [], f"the {device.platform} allocator keeps no statistics"
        if key not in stats:
            return [], f"the {device.platform} allocator does not report {key}"
        values.append(int(stats[key]))
    return values, ""
