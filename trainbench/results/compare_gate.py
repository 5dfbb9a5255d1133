"""The answer of a comparison: its exit code, and what that rests on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainbench.errors import ExitCode
from trainbench.results.compare import Compared
from trainbench.results.compare_pairs import Pairing

_WHAT_TO_DO = (
    "measure more blocks (measure.blocks=60), give several runs a side, or compare --ab with more --rounds"
)


@dataclass(frozen=True)
class Answer:
    """The exit code, and its meaning in words."""

    code: ExitCode
    meaning: str


def answer(
    compared: Sequence[Compared], pairing: Pairing | None = None, damaged: int = 0, *, strict: bool = False
) -> Answer:
    """1 for a regression, 2 when nothing could be decided, else 0; a strict one also needs to know all.

    Args:
      damaged: files of NEW that could not be read.
    """
    if any(one.regressed for one in compared):
        return Answer(ExitCode.FAILED_CHECK, "a regression")
    forecasts = bool(compared) and all(one.pair.forecast for one in compared)
    if not forecasts and not any(set(one.verdicts) - {"unclear"} for one in compared):
        return Answer(ExitCode.USER_ERROR, f"nothing could be decided: {_WHAT_TO_DO}")
    unknown = "; ".join(_unknown(compared, pairing, damaged))
    if strict and unknown:
        return Answer(
            ExitCode.FAILED_CHECK, f"no regression was found, but --strict asks for more: {unknown}"
        )
    found = "no verdict" if forecasts else "no regression"
    return Answer(ExitCode.OK, f"{found} ({unknown}: --strict does not pass that)" if unknown else found)


def _unknown(compared: Sequence[Compared], pairing: Pairing | None, damaged: int) -> Iterator[str]:
    """What leaves open whether there is a regression, each as a clause."""
    forecasts = sum(one.pair.forecast for one in compared)
    if forecasts:
        yield f"forecasts are never judged, and {_pairs(forecasts, len(compared))} {_has(forecasts)} one"
    unclear = sum(not _told(one) for one in compared if not one.pair.forecast)
    if unclear:
        yield f"the speed of {_pairs(unclear, len(compared))} can't be told"
    if damaged:
        yield f"{damaged} damaged {'file' if damaged == 1 else 'files'} in NEW"
    alone = len(pairing.only_base) if pairing else 0
    if alone:
        yield f"{alone} {'run' if alone == 1 else 'runs'} of BASE without a partner in NEW"


def _pairs(some: int, of: int) -> str:
    if some == of:
        return "the pair" if of == 1 else f"all {of} pairs"
    return f"{some} of {of} pairs"


def _has(some: int) -> str:
    return "has" if some == 1 else "have"


def _told(one: Compared) -> bool:
    """Whether its speed is judged, or that both sides end alike without any."""
    return one.speed.verdict in ("same", "improvement", "regression") or one.status in ("same", "improvement")
