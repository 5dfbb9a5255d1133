"""The end of a run of several processes that may not all be there any more."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from trainbench.distributed.members import Said
from trainbench.distributed.start import Joined
from trainbench.errors import UserError

T = TypeVar("T")

# After a failure nobody waits long for a process that may be gone.
FAREWELL_S = 5.0


@contextmanager
def telling(joined: Joined | None) -> Iterator[None]:
    """In here a mistake of the user's, in this process, ends the run for the others too."""
    if joined is None:
        yield
        return
    members = joined.members
    try:
        yield
    except UserError as error:
        said = Said("user_error", error.problem, error.allowed, error.fix)
        within(FAREWELL_S, lambda: members.tell(said))
        within(FAREWELL_S, lambda: members.end_together("failed", FAREWELL_S))
        if not members.index:
            raise
        raise UserError(f"{members.name}: {error.problem}", allowed=error.allowed, fix=error.fix) from None


def within(limit_s: float, work: Callable[[], T]) -> T | None:
    """What `work` gives, None if it takes longer: a store in a process that is stopped never answers."""
    outcome: list[T] = []
    thread = threading.Thread(target=lambda: outcome.append(work()), name="farewell", daemon=True)
    thread.start()
    thread.join(limit_s)
    return outcome[0] if outcome else None
