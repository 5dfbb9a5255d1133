"""Simulated block times: a first-order autoregressive series of known median."""

from collections.abc import Callable

import numpy as np
import pytest


def simulate(
    rng: np.random.Generator, runs: int, blocks: int, rho: float, *, cv: float, skewed: bool = False
) -> np.ndarray:
    """Step times with a true median of 1 s, shape (runs, blocks).

    Gaussian with lag-1 autocorrelation `rho`; skewed ones are the exponential of such a series with a
    standard deviation of 0.8, shifted to the same median (skewness 3.7).
    """
    shocks = rng.standard_normal((runs, blocks))
    series = np.empty_like(shocks)
    series[:, 0] = shocks[:, 0]
    for block in range(1, blocks):
        series[:, block] = rho * series[:, block - 1] + np.sqrt(1 - rho**2) * shocks[:, block]
    if skewed:
        series = np.exp(0.8 * series) - 1
    return np.maximum(1 + cv * series, 0.05)


@pytest.fixture
def block_times() -> Callable[..., np.ndarray]:
    """The function that simulates block times."""
    return simulate
