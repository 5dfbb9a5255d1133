"""The clock that the measurement reads."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns seconds since some fixed moment; only differences are used. Injected: tests need no sleep."""

# The clock of PEP 418 for intervals: monotonic, of the highest resolution the system has.
wall_clock: Clock = time.perf_counter
