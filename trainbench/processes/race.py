"""The same workload in JAX and in PyTorch, in turn, in fresh processes; batches are searched for first."""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.processes import ab, child, interrupts
from trainbench.processes.ab import Done
from trainbench.processes.batch_search import CPU_LONGEST_STEP_S, GAIN
from trainbench.results.record import Result

FRAMEWORKS = ("torch", "jax")
# As `ab` has them: PyTorch is what JAX is compared with.
SIDES = dict(zip(FRAMEWORKS, ab.SIDES, strict=True))
BATCH = "batch_size="
# Doublings, or halvings, of the batch that a search goes at most.
MOST_STEPS = 6


@dataclass(frozen=True)
class Heat:
    """One model that both frameworks train.

    Attributes:
      model: as it was typed.
      shared: overrides of both.
      own: those of each framework besides, by its name.
    """

    model: str
    shared: tuple[str, ...] = ()
    own: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def overrides(self, framework: str) -> list[str]:
        """All overrides of one side."""
        own = dict(self.own).get(framework, ())
        # PyTorch takes one device; JAX would take all that there are.
        alone = ["parallel.data=1"] if framework == "jax" else []
        return [f"model={self.model}", f"framework={framework}", *alone, *self.shared, *own]

    def with_batch(self, framework: str, batch: int) -> "Heat":
        """The same with a batch size for one side."""
        own = dict(self.own)
        kept = [one for one in own.get(framework, ()) if not one.startswith(BATCH)]
        own[framework] = (*kept, f"{BATCH}{batch}")
        return dataclasses.replace(self, own=tuple(own.items()))


@dataclass(frozen=True)
class Search:
    """What was tried for one side: samples/s by batch size; None where there is no rate."""

    rates: tuple[tuple[int, float | None], ...]

    @property
    def best(self) -> int | None:
        """The batch of the highest rate; None where none ran."""
        known = {batch: rate for batch, rate in self.rates if rate is not None}
        return max(known, key=known.__getitem__) if known else None


@dataclass(frozen=True)
class Raced:
    """A heat and how it went; `done` is None where a search found no batch that runs."""

    heat: Heat
    done: Done | None
    searches: tuple[tuple[str, Search], ...] = ()


def race(heat: Heat, rounds: int, directory: Path, batches: Sequence[int] | None = None) -> Raced:
    """Both frameworks `rounds` times, in turn, below `directory`.

    Args:
      batches: to choose each side's best from; empty: doubled and halved from the default; None: no search.

    Raises:
      UserError: overrides that can't be run; or `directory` holds an earlier race.
      KeyboardInterrupt: stopped by the user while searching.
    """
    searches: dict[str, Search] = {}
    if batches is not None:
        # Asked before the search, which takes minutes.
        ab.check_empty(directory)
        with interrupts.one_wish():
            for framework in FRAMEWORKS:
                searches[framework] = search_for(heat, framework, batches, directory / "search")
        found = {framework: search.best for framework, search in searches.items()}
        for framework, best in found.items():
            if best is None:
                return Raced(heat, None, tuple(searches.items()))
            heat = heat.with_batch(framework, best)
    texts = [shlex.join(heat.overrides(framework)) for framework in FRAMEWORKS]
    return Raced(heat, ab.run(texts, rounds, directory), tuple(searches.items()))


def search_for(heat: Heat, framework: str, batches: Sequence[int], directory: Path) -> Search:
    """The batches of one side that were tried below `directory`, and their rates, briefly measured.

    Args:
      batches: to try; empty: doubled and halved from the default.

    Raises:
      UserError: overrides that can't be run.
      KeyboardInterrupt: stopped by the user.
    """
    shared = tuple(one for one in heat.shared if not one.startswith((BATCH, "measure=")))
    base = dataclasses.replace(heat, shared=(*shared, "measure=quick"))

    def attempt(batch: int | None) -> Result | None:
        overrides = base.overrides(framework)
        if batch is not None:
            overrides = base.with_batch(framework, batch).overrides(framework)
        name = "default" if batch is None else str(batch)
        _say(f"{heat.model}, {framework}: trying batch size {name}")
        outcome = child.run(overrides, directory / framework / name)
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.code == ExitCode.USER_ERROR and outcome.result is None:
            raise UserError(
                f"{framework} cannot be run: {shlex.join(overrides)}",
                allowed="what the message above says",
                fix="change the overrides",
            )
        return outcome.result

    return Search(tuple(search(attempt, batches).items()))


def search(attempt: Callable[[int | None], Result | None], batches: Sequence[int]) -> dict[int, float | None]:
    """Samples/s by batch size: of all `batches`, or without any, of those on the way to the best.

    Args:
      attempt: the result of a run at a batch size; None means the default.
    """
    if batches:
        return {batch: _rate(attempt(batch)) for batch in batches}
    first = attempt(None)
    start = first.workload.batch_size if first and first.workload else None
    if start is None:
        return {}
    rates = {start: _rate(first)}
    slow = first is not None and first.hardware is not None and first.hardware.device_kind == "cpu"
    _follow(rates, start, 2.0, lambda batch: _rate(attempt(batch)), slow=slow)
    if max(rates, key=lambda batch: rates[batch] or 0.0) == start:
        _follow(rates, start, 0.5, lambda batch: _rate(attempt(batch)), slow=slow)
    return rates


def _follow(
    rates: dict[int, float | None],
    start: int,
    factor: float,
    rate_at: Callable[[int], float | None],
    *,
    slow: bool,
) -> None:
    """Add the rates of ever larger, or smaller, batches while they gain; on a CPU, while steps are short."""
    batch = start
    for _ in range(MOST_STEPS):
        before, batch = rates[batch], int(batch * factor)
        too_long = slow and before is not None and batch > CPU_LONGEST_STEP_S * before
        if batch < 1 or batch in rates or (factor > 1 and (too_long or before is None)):
            return
        rates[batch] = after = rate_at(batch)
        if after is not None and before is not None and after < (1 + GAIN) * before:
            return


def _rate(result: Result | None) -> float | None:
    if result is None or result.status != "ok" or result.throughput is None:
        return None
    return result.throughput.samples_per_s


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
