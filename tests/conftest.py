"""Fixtures that every room shares."""

import os
import signal
from pathlib import Path

import pytest

from trainbench.hardware.flags import YNN_FUSION

# Set before JAX starts. Two devices, so that sharding over several is exercised on every machine; and the
# option that trainbench gives its own programs, for those that tests compile by themselves.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=2 --{YNN_FUSION}=")
# XLA:CPU's collectives block threads of the pool that computes: with as many devices as threads, both can
# wait for work that no thread is left to do, until XLA ends the process after 60 s.
os.environ.setdefault("PJRT_NPROC", str(max(4, os.cpu_count() or 1)))

# A shell's background job ignores SIGINT, and so would the children that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that the whole session shares, apart from the user's own."""
    return tmp_path_factory.mktemp("cache")
