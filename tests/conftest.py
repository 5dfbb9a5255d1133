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


def of_the_session(factory: pytest.TempPathFactory) -> Path:
    """A directory that all processes of a test session share."""
    own = factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory for the whole session, apart from the user's own."""
    return of_the_session(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What takes long to compile is compiled once in a session, by whichever process comes first."""
    import jax

    jax.config.update("jax_compilation_cache_dir", str(of_the_session(tmp_path_factory) / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What trains for minutes goes first, lest one process be left with it at the end."""
    items.sort(key=_trains_for_minutes, reverse=True)


def _trains_for_minutes(item: pytest.Item) -> bool:
    return item.path.name == "test_learning.py"
