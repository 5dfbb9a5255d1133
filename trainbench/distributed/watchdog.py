"""Whether all processes of a run live and get on, seen from each of them.

A lost process holds up the others inside a collective operation, from which nothing returns. So each process
says from a thread of its own how far it is, reads what the others say, and gives the run up when one of them
is silent, or when none gets on.
"""

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from trainbench.distributed.members import Members, Said
from trainbench.distributed.native import Native, fatal, lost_processes
from trainbench.distributed.pulse import Beat, Pulse
from trainbench.distributed.store import Store, Unreachable
from trainbench.errors import first_line

DEFAULT_S = 300.0
DEFAULT_REASON = "longer than any step should take; a run of several processes is then given up"
# A process that lives says so every few seconds, whatever it is at: silence need not last as long.
SILENT_S = 60.0
MOST_BETWEEN_BEATS_S = 2.0
S_PER_PROCESS = 0.02
# Beats that a process may miss, where there is another sign that one of them is gone.
MISSED = 3
POLL_S = 0.1
_BEATS = "trainbench/beats"


class Told(Exception):
    """The run has ended for all processes, as one of them says."""

    def __init__(self, said: Said) -> None:
        super().__init__(said.reason)
        self.said = said


@dataclass
class Sight:
    """What this process has seen of one process, on its own clock."""

    beat: Beat
    heard_s: float
    moved_s: float


@dataclass
class Judge:
    """Whether a run goes on, from what all processes say; knows no clock and no store.

    Attributes:
      names: of all processes.
      timeout_s: seconds without progress that are too many; infinite: none are.
    """

    names: Sequence[str]
    timeout_s: float
    _seen: dict[int, Sight] = field(default_factory=dict)

    @property
    def silent_s(self) -> float:
        """Seconds without a word from a process that are too many."""
        return self.timeout_s if self.timeout_s == math.inf else min(SILENT_S, self.timeout_s)

    def hear(self, beats: Mapping[int, Beat], now_s: float) -> None:
        """None; `beats` is what stands in the store at `now_s`."""
        for index, beat in beats.items():
            sight = self._seen.get(index)
            if sight is None or beat.progress != sight.beat.progress:
                self._seen[index] = Sight(beat, now_s, now_s)
            elif beat.number != sight.beat.number:
                sight.beat, sight.heard_s = beat, now_s

    def silent(self, now_s: float, limit_s: float) -> tuple[int, ...]:
        """Processes that once spoke and have said nothing for longer than `limit_s`."""
        return tuple(i for i, sight in sorted(self._seen.items()) if now_s - sight.heard_s > limit_s)

    def problem(self, now_s: float) -> Said | None:
        """Why the run has to be given up; None while it has not."""
        silent = self.silent(now_s, self.silent_s)
        if silent:
            return self.silence(silent)
        if len(self._seen) < len(self.names):
            return None  # some are still starting
        sights = self._seen.values()
        # Compiling, and reading data before the first step, take what they take.
        if not all(sight.beat.training for sight in sights):
            return None
        if now_s - max(sight.moved_s for sight in sights) <= self.timeout_s:
            return None
        return Said(
            "failed",
            f"no process has got on for {self.timeout_s:g} s; {self.described(self._behind())}, is behind. "
            "Where steps take that long, raise timeout_s",
        )

    def silence(self, indices: tuple[int, ...]) -> Said:
        """The end of a run in which these have not spoken for too long."""
        why = f"has been silent for {self.silent_s:g} s: it is gone, or stopped"
        return Said("failed", f"{self.described(indices)}, {why}", lost=indices)

    def loss(self, indices: tuple[int, ...]) -> Said:
        """The end of a run in which these are gone."""
        return Said("failed", f"{self.described(indices)}, is gone", lost=indices)

    def _behind(self) -> tuple[int, ...]:
        def far(index: int) -> tuple[int, int]:
            beat = self._seen[index].beat
            return beat.issued, beat.finished

        least = min(map(far, self._seen))
        return tuple(index for index in sorted(self._seen) if far(index) == least)

    def described(self, indices: Sequence[int]) -> str:
        """For example "process 1 (node7), last heard of at step 12 (10 finished)"."""
        return "; ".join(f"{self.names[index]}{self._at(index)}" for index in indices)

    def _at(self, index: int) -> str:
        sight = self._seen.get(index)
        if sight is None:
            return ""
        beat = sight.beat
        if not beat.training:
            return f", last heard of while {beat.phase}"
        return f", last heard of at step {beat.issued} ({beat.finished} finished)"


class Watchdog:
    """Says how this process is and watches the others, from `start` on.

    Attributes:
      found: how the run has ended, for all processes; None while it goes on.
    """

    def __init__(
        self,
        members: Members,
        pulse: Pulse,
        native: Native,
        timeout_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.found: Said | None = None
        self._members, self._pulse, self._native, self._clock = members, pulse, native, clock
        # With no limit for progress, JAX's own service still notices processes that are gone.
        self.judge = Judge(members.names, math.inf if timeout_s is None else timeout_s)
        shortest_s = min(MOST_BETWEEN_BEATS_S, (timeout_s or SILENT_S) / 10)
        # All read what all say, from one process: many of them have to speak less often.
        self._between_s = max(shortest_s, min(len(members.names) * S_PER_PROCESS, self.judge.silent_s / 6))
        self._answered_s = clock()
        self._ended = threading.Event()

    def start(self) -> None:
        """None; begins."""
        self._answered_s = self._clock()
        threading.Thread(target=self._go_on, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """None; the run has ended, and what happens to others does not matter any more."""
        self._ended.set()

    def _go_on(self) -> None:
        while not self._ended.is_set() and self.found is None:
            try:
                # Where the store does not answer for long, `check` gives process 0 up.
                with contextlib.suppress(Unreachable):
                    self.look()
            except Exception as error:
                # Without this thread a lost process would hold this one up for ever.
                why = f"{type(error).__name__}: {first_line(error)}"
                self.found = Said("failed", f"{self._members.name}: the watchdog failed: {why}")
            self._ended.wait(self._between_s)

    def look(self) -> None:
        """None; one round of saying and reading."""
        store, index = self._members.store, self._members.index
        store.put(f"{_BEATS}/{index}", json.dumps(asdict(self._pulse.beat())))
        beats = _beats(store)
        now_s = self._answered_s = self._clock()
        told = self._members.told()
        self.judge.hear(beats, now_s)
        problem = self.judge.problem(now_s)
        if told is None and problem is not None:
            self._members.tell(problem)
            told = self._members.told()
        # What this process has told itself ends it from where it was told.
        self.found = told if told is not None and told.index != index else problem

    def check(self) -> Said | None:
        """How the run has ended, called from a thread that no other process can hold up; None: it goes on."""
        if self.found is not None:
            return self.found
        if self._native.aborted.is_set():
            return self._of_the_abort()
        late_s = self._clock() - self._answered_s
        return self.judge.silence((0,)) if late_s > self.judge.silent_s + self._between_s else None

    def _of_the_abort(self) -> Said:
        text = self._native.text()
        lost = tuple(index for index in lost_processes(text) if index < len(self.judge.names))
        line = fatal(text)
        if not lost and self._members.index and "distributed service" in line:
            lost = (0,)  # the service is in process 0
        if lost:
            return self.judge.loss(lost)
        return Said("failed", f"{self._members.name}: native code gave up: {line or 'no word why'}")

    def lost_now(self) -> Said | None:
        """Who is gone, where an error looks as if one were; None: all are there.

        A collective operation fails at once when a process ends, long before its silence tells.
        """
        begun_s = self._clock()
        while self._clock() - begun_s < (MISSED + 1) * self._between_s:
            found = self.check()
            if found is not None:
                return found
            time.sleep(POLL_S)
        silent = self.judge.silent(self._clock(), MISSED * self._between_s)
        others = tuple(index for index in silent if index != self._members.index)
        return self.judge.loss(others) if others else None


class OwnWatchdog:
    """Watches a run of one process: whether it gets on."""

    def __init__(self, pulse: Pulse, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pulse, self._clock = pulse, clock
        self._judge = Judge(("this process",), timeout_s)

    def check(self) -> Said | None:
        """Why the run has to be given up, called often; None: it goes on."""
        now_s = self._clock()
        self._judge.hear({0: self._pulse.beat()}, now_s)
        return self._judge.problem(now_s)

    def lost_now(self) -> Said | None:
        """None: there is nobody to lose."""
        return None


def _beats(store: Store) -> dict[int, Beat]:
    return {int(key): Beat(**json.loads(words)) for key, words in store.all_under(_BEATS).items()}
