"""The whole way, with the real compiler."""

import pytest

from tests import commands
from trainbench.errors import ExitCode
from trainbench.results import store

pytestmark = pytest.mark.forecast


def test_a_small_model_is_forecast_and_the_second_time_comes_from_the_cache(tmp_path):
    arguments = ("forecast", "target=v6e-1", "model=resnet_tiny", "batch_size=8", "--dir", "out")
    first = commands.run(tmp_path / "cache", tmp_path, *arguments)
    assert first.returncode == ExitCode.OK, first.stderr
    assert "cache miss" in first.stdout
    found = store.read(tmp_path / "out" / "v6e-1")
    assert found.hardware is not None
    assert found.hardware.chip == "tpu-v6e"
    assert found.forecast is not None
    bound, estimate = found.forecast.bound_samples_per_s, found.forecast.compiler_samples_per_s
    assert bound is not None
    assert estimate is not None
    assert 0 < estimate <= bound
    again = commands.run(tmp_path / "cache", tmp_path, *arguments)
    assert "taken from the cache" in again.stdout
    assert store.read(tmp_path / "out" / "v6e-1").throughput == found.throughput
