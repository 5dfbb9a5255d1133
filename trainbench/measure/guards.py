"""Nothing but the step may happen in the timed window: no compilation, no implicit transfer."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import jax

from trainbench.measure.errors import MeasurementError

# Names of jax.monitoring events, seen in jax 0.10.2 and 0.12.0.1. A test fails when one is renamed. The first
# is recorded once per executable, also when it comes out of the persistent cache.
COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"
CACHE_HIT_EVENT = "/jax/compilation_cache/cache_hits"
CACHE_MISS_EVENT = "/jax/compilation_cache/cache_misses"

# How XLA begins the message of a transfer that `jax.transfer_guard` stopped.
_GUARD_MESSAGE = "Disallowed"


@dataclass
class Compilations:
    """What JAX compiled while `counting_compilations` was open."""

    count: int = 0  # executables made, whether compiled or read from the persistent cache
    seconds: float = 0.0
    cache_hits: int = 0
    cache_misses: int = 0

    @property
    def cache(self) -> Literal["hit", "miss"] | None:
        """ "hit" or "miss" of the persistent cache; None when it is off or nothing was compiled.

        A miss is recorded only when an entry is then written; programs below the cache's size or time
        thresholds count as neither.
        """
        if self.cache_misses:
            return "miss"
        return "hit" if self.cache_hits else None


@contextmanager
def counting_compilations() -> Iterator[Compilations]:
    """Counts the compilations of this process, in all its threads, while the context is open."""
    seen = Compilations()

    def on_duration(event: str, duration_secs: float, **_: object) -> None:
        if event == COMPILE_EVENT:
            seen.count += 1
            seen.seconds += duration_secs

    def on_event(event: str, **_: object) -> None:
        seen.cache_hits += event == CACHE_HIT_EVENT
        seen.cache_misses += event == CACHE_MISS_EVENT

    jax.monitoring.register_event_duration_secs_listener(on_duration)
    jax.monitoring.register_event_listener(on_event)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(on_duration)
        jax.monitoring.unregister_event_listener(on_event)


@dataclass
class TimedWindow:
    """Guards every block that runs inside `with window():`, and adds up what it saw.

    On every backend the guard stops implicit transfers from the host: a NumPy array or a Python number given
    to a jitted or compiled function, indexing a device array with a Python number, making a constant. It
    acts on the thread that entered it. Explicit `jax.device_put` and `jax.device_get` pass, as they should.

    What it cannot see: on the CPU backend device memory is host memory, so reading an array (`np.asarray`,
    `float` of a scalar, printing it) is no transfer and passes. On GPU and TPU it is one, and is stopped
    according to JAX's documentation of `transfer_guard`. Transfers made by another thread pass everywhere.
    """

    compilations: int = 0
    transfer_error: str | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Raises MeasurementError on the first implicit transfer; compilations are counted, not stopped."""
        with counting_compilations() as seen:
            try:
                with jax.transfer_guard("disallow"):
                    yield
            except jax.errors.JaxRuntimeError as error:
                if _GUARD_MESSAGE not in str(error):
                    raise
                self.transfer_error = str(error)
                raise MeasurementError(
                    f"an implicit transfer between host and device in the timed window: {error}"
                ) from error
            finally:
                self.compilations += seen.count
