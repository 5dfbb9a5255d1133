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
