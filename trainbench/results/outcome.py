"""How a run came out, in one word or two that are the same in every table, plot and file."""

from trainbench.results.record import Result

NOT_STEADY = "not steady"


def steady(result: Result) -> bool:
    """Whether nothing speaks against its figures; a forecast has no timing that could."""
    return result.timing is None or result.timing.steady


def outcome(result: Result) -> str:
    """The status; for one that is ok: "not steady", or what it is if it is no measurement."""
    if result.status != "ok":
        return result.status
    if result.kind != "measured":
        return result.kind
    return "ok" if steady(result) else NOT_STEADY
