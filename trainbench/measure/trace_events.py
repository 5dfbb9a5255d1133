"""From the events of a trace to times: how long something ran at all, and how long each thing by itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """An operation that ran once: from when to when, nanoseconds."""

    name: str
    start_ns: float
    end_ns: float


def busy_ns(events: Iterable[Event]) -> float:
    """Nanoseconds in which at least one of the events was under way.

    >>> busy_ns([Event("a", 0, 10), Event("b", 5, 15), Event("c", 20, 21)])
    16.0
    """
    total = 0.0
    covered_to = float("-inf")
    for event in sorted(events, key=lambda each: each.start_ns):
        total += max(0.0, event.end_ns - max(event.start_ns, covered_to))
        covered_to = max(covered_to, event.end_ns)
    return total


def alone_ns(some: Iterable[Event], others: Iterable[Event]) -> float:
    """Nanoseconds in which at least one of `some` was under way, and none of the others.

    >>> alone_ns([Event("a", 0, 10), Event("b", 20, 30)], [Event("c", 5, 22)])
    13.0
    """
    others = list(others)
    return busy_ns([*some, *others]) - busy_ns(others)


def innermost(line: Iterable[Event]) -> Iterator[Event]:
    """The events of one thread or stream inside which no other one runs: loops and calls are left out.

    >>> [event.name for event in innermost([Event("loop", 0, 9), Event("dot", 1, 8), Event("add", 9, 10)])]
    ['dot', 'add']
    """
    before: Event | None = None
    for event in sorted(line, key=lambda each: (each.start_ns, -each.end_ns)):
        if before is not None and event.start_ns >= before.end_ns:
            yield before
        before = event
    if before is not None:
        yield before


def self_times_ns(line: Iterable[Event]) -> Iterator[tuple[Event, float]]:
    """Each event of one thread or stream, and its duration less that of the events directly inside it.

    >>> [(event.name, ns) for event, ns in self_times_ns([Event("loop", 0, 9), Event("dot", 1, 8)])]
    [('dot', 7), ('loop', 2)]
    """
    around: list[tuple[Event, float]] = []
    for event in sorted(line, key=lambda each: (each.start_ns, -each.end_ns)):
        while around and around[-1][0].end_ns <= event.start_ns:
            yield around.pop()
        if around:
            outer, own = around.pop()
            around.append((outer, own - (min(event.end_ns, outer.end_ns) - event.start_ns)))
        around.append((event, event.end_ns - event.start_ns))
    yield from reversed(around)
