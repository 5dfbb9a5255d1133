"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest

# Two devices, so that sharding over several is exercised on every machine; set before JAX starts.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory that the whole session shares, apart from the user's own."""
    return tmp_path_factory.mktemp("cache")
