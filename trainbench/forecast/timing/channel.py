"""A resource that asynchronous transfers take turns at, while the core goes on."""

from collections import deque


class Channel:
    """First in, first out: what is started is worked off in the time that the core leaves to it.

    No time is lost and none is won: the sum of what is started is the sum of what `spare` and `wait` give.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[str, float]] = deque()

    def start(self, name: str, seconds: float) -> None:
        """Queue a transfer; one that does not need this resource waits for nobody."""
        if seconds > 0:
            self._queue.append((name, seconds))

    def spare(self, seconds: float) -> None:
        """The core does for `seconds` what does not need this resource."""
        while self._queue and seconds > 0:
            name, left = self._queue.popleft()
            if left > seconds:
                self._queue.appendleft((name, left - seconds))
            seconds -= left

    def wait(self, name: str) -> float:
        """Seconds until what was started as `name` is done; it and all before it leave the queue."""
        if name not in {queued for queued, _ in self._queue}:
            return 0.0
        waited, first = 0.0, ""
        while first != name:
            first, left = self._queue.popleft()
            waited += left
        return waited
