"""The batch size beyond which a larger one gains next to nothing."""

from collections.abc import Mapping

WITHIN = 0.05


def knee(rates: Mapping[int, float], within: float = WITHIN) -> int:
    """The smallest batch whose rate is at most `within` below the best rate.

    Args:
      rates: samples per second by batch size.

    Raises:
      ValueError: `rates` is empty.

    >>> knee({32: 2100.0, 64: 2500.0, 128: 2780.0, 256: 2791.0})
    128
    """
    floor = (1 - within) * max(rates.values())
    return min(batch for batch, rate in rates.items() if rate >= floor)
