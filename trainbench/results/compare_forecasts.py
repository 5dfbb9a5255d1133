"""What is said of a pair with a forecast in it, in the place of verdicts: a forecast is no measurement."""

from trainbench.results.compare_metrics import rate_ends
from trainbench.results.compare_pairs import Pair

NEVER_JUDGED = "not judged: forecast"


def ends_apart(pair: Pair) -> tuple[float, float] | None:
    """Of the ratio new / base, by the ends of both intervals; None where a side has none, or several runs."""
    if len(pair.base.measured) != 1 or len(pair.new.measured) != 1:
        return None
    base, new = rate_ends(pair.base.measured[0]), rate_ends(pair.new.measured[0])
    if base is None or new is None or base[0] <= 0:
        return None
    return new[0] / base[1], new[1] / base[0]


def broken(base: str, new: str) -> str:
    """How the sides ended that came to no rate; empty where both did.

    Args:
      base, new: of each side, how it ended badly; empty where it didn't.
    """
    found = {"BASE": base, "NEW": new}
    return "; ".join(f"{label} {why}" for label, why in found.items() if why)
