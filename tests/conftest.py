"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest

from trainbench.hardware.flags import YNN_FUSION

# Set before JAX starts. Two devices, so that sharding over several is exercised on every machine; and the
# option that trainbench gives its own programs, for those that tests compile by themselves.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=2 --{YNN_FUSION}=")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that the whole session shares, apart from the user's own."""
    return tmp_path_factory.mktemp("cache")
