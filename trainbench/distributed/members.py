"""The processes of a run as a `Team`, over the store that they share."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from trainbench.distributed.store import Store, Unreachable
from trainbench.distributed.team import ProcessLost

# How long one question waits at the store: a lost process is noticed in between.
SLICE_S = 2.0
# What comes from all of them at the very start waits for slow imports.
FIRST_S = 300.0
# The others wait longer for process 0, which waits for all of them and knows who is silent.
LONGER_S = 10.0
# Characters that process 0 passes on under one key; the store's messages end at 4 MiB.
MOST_PASSED_ON = 2**20
_WORDS, _ENDING, _LEFT = "trainbench/words", "trainbench/ending", "trainbench/left"


Status = Literal["ok", "oom", "interrupted", "failed", "invalid", "user_error"]


@dataclass(frozen=True)
class Said:
    """How a run ended, as one process tells the others: a status of the record, or "user_error".

    Attributes:
      index: who says so.
      lost: processes that do not answer any more.
    """

    status: Status
    reason: str
    allowed: str = ""
    fix: str = ""
    index: int = 0
    lost: tuple[int, ...] = ()


class Members:
    """All processes of a run of several.

    Args:
      timeout_s: seconds that `exchange` waits for the slowest process; None is for ever.
    """

    def __init__(self, store: Store, index: int, count: int, clock: Callable[[], float] = time.monotonic):
        self.store = store
        self.index = index
        self.timeout_s: float | None = FIRST_S
        self._count = count
        self._clock = clock
        self._number = 0
        # Until they have introduced themselves.
        self.names: tuple[str, ...] = tuple(f"process {other}" for other in range(count))
        hosts = self.exchange(socket.gethostname())
        self.names = tuple(f"process {other} ({host})" for other, host in enumerate(hosts))
        self.hosts = hosts

    @property
    def name(self) -> str:
        """What this process is called."""
        return self.names[self.index]

    def exchange(self, words: str) -> tuple[str, ...]:
        """See `Team`. Process 0 hears all others and passes on what was said: each asks it only once."""
        number = self._number = self._number + 1
        try:
            if self.index:
                self.store.put(f"{_WORDS}/{number}/{self.index}", words)
                said = json.loads(self._heard(0, number, LONGER_S))
                if len(said) < self._count:
                    said += [self._heard(other, number) for other in range(1, self._count)]
            else:
                said = [words, *(self._heard(other, number) for other in range(1, self._count))]
                passed_on = said if sum(map(len, said)) <= MOST_PASSED_ON else [words]
                self.store.put(f"{_WORDS}/{number}/0", json.dumps(passed_on))
            # All have come as far as here, so nobody reads what was said before.
            self.store.remove(f"{_WORDS}/{number - 1}/{self.index}")
        except Unreachable as error:
            raise ProcessLost(f"{self.names[0]}, which the others meet at, does not answer") from error
        return tuple(said)

    def _heard(self, other: int, number: int, longer_s: float = 0.0) -> str:
        limit_s = float("inf") if self.timeout_s is None else self.timeout_s + longer_s
        deadline = self._clock() + limit_s
        while True:
            left_s = deadline - self._clock()
            found = self.store.get(f"{_WORDS}/{number}/{other}", max(min(left_s, SLICE_S), 0.001))
            if found is not None:
                return found
            if self._clock() >= deadline:
                raise ProcessLost(f"{self.names[other]} has not answered for {limit_s:g} s")

    def tell(self, said: Said) -> None:
        """None; the others hear it, if nothing was told before, and the store can be reached."""
        try:
            self.store.put_first(f"{_ENDING}/said", json.dumps(said.__dict__ | {"index": self.index}))
        except Unreachable:
            return

    def told(self) -> Said | None:
        """How the run ended, if a process has told it.

        Raises:
          Unreachable: the store is gone.
        """
        found = self.store.all_under(_ENDING).get("said")
        if found is None:
            return None
        said = json.loads(found)
        return Said(**said | {"lost": tuple(said["lost"])})

    def end_together(self, status: str, wait_s: float, lost: int = 0) -> str:
        """The status that process 0 gives the run; it waits until all others have heard it.

        The store is gone as soon as process 0 has ended, and with it would be any process that still uses it.

        Args:
          status: process 0's own; that of any other does not matter, unless process 0 is silent.
          wait_s: seconds that this takes at most.
          lost: how many others will never answer.
        """
        deadline = self._clock() + wait_s
        try:
            if self.index:
                found = self.store.get(f"{_ENDING}/status", wait_s)
                self.store.put(f"{_LEFT}/{self.index}", "")
                return found or status
            self.store.put(f"{_ENDING}/status", status)
            while len(self.store.all_under(_LEFT)) < self._count - 1 - lost and self._clock() < deadline:
                time.sleep(0.05)
        except Unreachable:
            pass
        return status
