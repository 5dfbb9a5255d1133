"""A clock and a program of scripted durations, to test the measurement itself without a device.

Shipped, so that an installation can check its own arithmetic.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class FakeClock:
    """A clock that moves only when told; calling it returns its time in seconds."""

    now_s: float = 0.0
    readings: int = 0

    def __call__(self) -> float:
        self.readings += 1
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Lets time pass (or, with a negative number, run backwards, which `measure` must refuse)."""
        self.now_s += seconds


@dataclass
class FakeProgram:
    """A device that executes one call after the other, each for its scripted time.

    Args:
      clock: the clock that it moves.
      call_times_s: duration of each call on the device, in order of issue; the last repeats for ever.
      dispatch_s: time that the host spends issuing one call, while the device works on earlier ones.
      interrupt_at_call: index of the call whose issue raises KeyboardInterrupt.
      queue_limit: unfinished calls at most; issuing one more waits for the oldest, as a runtime with a bound
        on the computations in flight does. None is no limit.
    """

    clock: FakeClock
    call_times_s: Iterable[float]
    dispatch_s: float = 0.0
    interrupt_at_call: int | None = None
    queue_limit: int | None = None
    issued: int = 0
    events: list[str] = field(default_factory=list)  # "issue" and "fence", in order
    _device_free_s: float = 0.0
    _ends_s: list[float] = field(default_factory=list)  # of each call, in order
    _script: Iterator[float] | None = None
    _call_s: float = 0.0

    def issue(self) -> None:
        """Queues one call behind those already issued."""
        if self.issued == self.interrupt_at_call:
            raise KeyboardInterrupt
        self.clock.advance(self.dispatch_s)
        self._wait_for_room()
        start_s = max(self.clock.now_s, self._device_free_s)
        self._device_free_s = start_s + self._next_call_s()
        self._ends_s.append(self._device_free_s)
        self.issued += 1
        self.events.append("issue")

    def fence(self) -> None:
        """Lets the clock reach the moment at which the device is idle."""
        self.clock.now_s = max(self.clock.now_s, self._device_free_s)
        self.events.append("fence")

    def _wait_for_room(self) -> None:
        if self.queue_limit is not None and len(self._ends_s) >= self.queue_limit:
            self.clock.now_s = max(self.clock.now_s, self._ends_s[-self.queue_limit])

    def _next_call_s(self) -> float:
        if self._script is None:
            self._script = iter(self.call_times_s)
        self._call_s = next(self._script, self._call_s)
        return self._call_s
