"""What was typed for `tune`, read and checked."""

import math
import re
from collections.abc import Mapping, Sequence

from trainbench.errors import UserError
from trainbench.tuning import MINUTES, tuned
from trainbench.tuning.session import Asked
from trainbench.tuning.space import AUTO, BATCH

# What is no override of a run.
_OWN = ("levers", "minutes", BATCH)


def read(overrides: Sequence[str], seed: str, *, table_only: bool) -> Asked:
    """What was asked for.

    Raises:
      UserError: a value is none of its kind, or an override that tune has no use for.
    """
    tuned.check(overrides)
    plain = [re.sub("^price=", "price_per_hour=", override) for override in overrides]
    own = {key: value for key, _, value in (one.partition("=") for one in plain) if key in _OWN}
    others = [one for one in plain if one.partition("=")[0] not in _OWN]
    is_fixed = any(one.startswith("global_batch_size=") for one in others)
    fixed, batches = _batches(own, alone=table_only or is_fixed)
    return Asked(
        overrides=(*others, *fixed),
        levers=tuple(filter(None, own["levers"].strip("[]").split(","))) if "levers" in own else None,
        batches=batches,
        minutes=_minutes(own),
        seed=_seed(seed),
        table_only=table_only,
    )


def _batches(own: Mapping[str, str], *, alone: bool) -> tuple[tuple[str, ...], tuple[int, ...] | str | None]:
    """The batch that is fixed, as an override, if one is; and the batches to try.

    Args:
      alone: whether no other batch is tried unless it is asked for.
    """
    if BATCH not in own:
        return (), None if alone else AUTO
    text = own[BATCH].strip("[]")
    if text == AUTO:
        return (), AUTO
    sizes = [_whole(one) for one in text.split(",")]
    known = [size for size in sizes if size is not None and size >= 1]
    if len(known) < len(sizes):
        raise UserError(
            f"{BATCH}={own[BATCH]} is nothing to search",
            allowed=f"samples per device: {BATCH}=8,16,32; {BATCH}=32, which stays; {BATCH}={AUTO}",
            fix=f"{BATCH}={AUTO}",
        )
    different = tuple(dict.fromkeys(known))
    return ((f"{BATCH}={different[0]}",), None) if len(different) == 1 else ((), different)


def _minutes(own: Mapping[str, str]) -> float:
    try:
        minutes = float(own.get("minutes", MINUTES))
    except ValueError:
        minutes = math.nan
    if not math.isfinite(minutes) or minutes <= 0:
        raise UserError(
            f"minutes={own['minutes']} is no time", allowed="a number above 0", fix=f"minutes={MINUTES:g}"
        )
    return minutes


def _seed(text: str) -> int:
    seed = _whole(text)
    if seed is None or not 0 <= seed < 2**32:
        raise UserError(f"--seed {text} is no seed", allowed="0 to 4,294,967,295", fix="--seed 0")
    return seed


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
