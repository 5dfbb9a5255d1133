from dataclasses import dataclass

import jax
import pytest

from trainbench.measure.memory import allocator_memory


@dataclass
class FakeDevice:
    stats: dict[str, int] | None
    platform: str = "gpu"

    def memory_stats(self) -> dict[str, int] | None:
        return self.stats


def test_the_fullest_device_and_the_smallest_limit_count():
    devices = [
        FakeDevice({"peak_bytes_in_use": 5, "bytes_limit": 100}),
        FakeDevice({"peak_bytes_in_use": 7, "bytes_limit": 90}),
    ]
    memory = allocator_memory(devices)
    assert (memory.peak_bytes, memory.limit_bytes) == (7, 90)
    assert (memory.peak_reason, memory.limit_reason) == ("", "")


def test_a_peak_of_zero_is_a_figure():
    assert allocator_memory([FakeDevice({"peak_bytes_in_use": 0})]).peak_bytes == 0


@pytest.mark.parametrize("stats", [None, {}])
def test_a_device_without_statistics_gives_a_reason(stats):
    memory = allocator_memory([FakeDevice({"peak_bytes_in_use": 5}), FakeDevice(stats, "cpu")])
    assert memory.peak_bytes is None
    assert memory.peak_reason == "the cpu allocator keeps no statistics"


def test_a_missing_key_is_named():
    memory = allocator_memory([FakeDevice({"peak_bytes_in_use": 5})])
    assert memory.peak_bytes == 5
    assert memory.limit_bytes is None
    assert "bytes_limit" in memory.limit_reason


def test_no_device_is_unknown():
    assert allocator_memory([]).peak_reason == "no device was given"


def test_real_devices_give_a_figure_or_a_reason():
    memory = allocator_memory(jax.local_devices())
    assert (memory.peak_bytes is None) == bool(memory.peak_reason)
    assert (memory.limit_bytes is None) == bool(memory.limit_reason)
