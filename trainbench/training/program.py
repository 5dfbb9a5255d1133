"""The training loop's body as `measure` wants it: issue one call, fence."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import jax

from trainbench.data.feed import DeviceBatch, Feed, Resident
from trainbench.measure.clock import Clock, wall_clock
from trainbench.training.state import TrainState
from trainbench.training.task import Metrics


class TrainingProgram:
    """A compiled step with its state and its feed.

    Nothing is fetched while steps are timed: losses seen at fences stay on the device until asked for.

    Args:
      first_step: optimizer steps that the state has behind it.
      losses: those that were seen on the way there.
      watched: whether another thread may ask how far the calls are.

    Attributes:
      waits_s: seconds that the calls before each fence waited for their batches.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        state: TrainState,
        feed: Feed,
        steps_per_call: int,
        *,
        first_step: int = 0,
        losses: Iterable[tuple[int, float]] = (),
        watched: bool = False,
        clock: Clock = wall_clock,
    ) -> None:
        self._call = call
        self._state = state
        self._feed = feed
        self._steps_per_call = steps_per_call
        self._batch: DeviceBatch | None = None
        self._metrics: Metrics = {}
        self._seen: list[tuple[int, jax.Array]] = []
        self._fetched = list(losses)
        self._first_step = first_step
        self._before_next_call: Callable[[], None] | None = None
        self._clock = clock
        self._waited_s = 0.0
        self.waits_s: list[float] = []
        self._pending: deque[jax.Array] | None = deque() if watched else None
        self.calls = 0

    def resident(self) -> "TrainingProgram":
        """A program that goes on from here with the last batch alone; this one must not be used again."""
        assert self._batch is not None
        feed, watched = Resident(self._batch), self._pending is not None
        return TrainingProgram(self._call, self._state, feed, self._steps_per_call, watched=watched)

    def issue(self) -> None:
        """Dispatch one device call; blocks only while the feed has no batch ready."""
        if self._before_next_call is not None:
            due, self._before_next_call = self._before_next_call, None
            due()
        asked_s = self._clock()
        self._batch = self._feed.next()
        self._waited_s += self._clock() - asked_s
        self._state, self._metrics = self._call(self._state, self._batch)
        self.calls += 1
        if self._pending is not None:
            self._pending.append(self._metrics["loss"])

    def fence(self) -> None:
        """Wait for everything issued, on the step's own outputs."""
        self._wait()
        self._seen.append((self.steps, self._metrics["loss"]))
        self.waits_s.append(self._waited_s)
        self._waited_s = 0.0
        if self._pending is not None:
            self._pending.clear()

    def _wait(self) -> None:
        jax.block_until_ready((self._state, self._metrics))

    def first_call(self) -> bool:
        """Run one call; whether the old state's buffers were all given to the new one."""
        before = jax.tree.leaves(self._state)
        self.issue()
        self.fence()
        return all(leaf.is_deleted() for leaf in before)

    def steps_in_flight(self) -> int:
        """Optimizer steps that have not finished; of a watched program, and from any thread."""
        pending = self._pending
        # A fence empties it meanwhile.
        with contextlib.suppress(IndexError):
            while pending and pending[0].is_ready():  # type: ignore[attr-defined]  # JAX documents it, untyped
                pending.popleft()
        return len(pending or ()) * self._steps_per_call

    @property
    def state(self) -> TrainState:
        return self._state

    @property
    def steps(self) -> int:
        """Optimizer steps that were issued, those before this program included."""
        return self._first_step + self.calls * self._steps_per_call

    def input_state(self) -> bytes | None:
        """From where the input goes on after what was issued; None where it keeps no state."""
        return self._feed.state()

    def before_next_call(self, work: Callable[[], None]) -> None:
        """Has `work` done inside the next `issue`, ahead of its call."""
        self._before_next_call = work

    def losses(self) -> list[tuple[int, float]]:
        """(optimizer steps done, loss) at each fence; fetches from the device."""
        self._fetched += [(step, float(loss)) for step, loss in self._seen]
        self._seen = []
        return list(self._fetched)


def first_call(program: TrainingProgram) -> bool:
    """What runs outside of any timing, ahead of everything else; whether the state is moved on in place."""
    return program.first_call()
