"""What the checks of a claim found, in words: how much, of how many rows, how it agrees, and from where."""

from collections.abc import Iterable, Iterator, Sequence

from trainbench.reference.claims import CheckVerdict, Own, Verdict
from trainbench.reference.figure import Figure
from trainbench.reference.found import Found, Source
from trainbench.report.numbers import number

NOT_LIKE_FOR_LIKE = "on evidence that is not like for like"

# Of a long list only the beginning is shown, with how many more there are; --json has all.
_MOST_PAIRS, _MOST_PLACES = 3, 4
# By kind of check: what one number is of, and what its sides are.
_NOUNS = {"rate": ("row", ""), "ratio": ("pair", "row"), "peak_ratio": ("pair", "chip")}


def found_words(check: CheckVerdict, earlier: Sequence[CheckVerdict]) -> str:
    """What a check found on one line: the range, of how many, what agrees, and what it has in common."""
    if not check.found:
        return f"nothing; looked for {check.looked_for}"
    return "; ".join([_tally(check, check.basis), *_particulars(check), *_shared(check, earlier)])


def qualification(check: CheckVerdict) -> str:
    """What to add to the word for a check; empty where nothing is."""
    dated = {side.chip: side.dated for one in check.basis for side in one.divisors}
    undated = sum(not known for known in dated.values())
    found = [] if check.like_for_like else [NOT_LIKE_FOR_LIKE]
    return "; ".join(found + ([f"{undated} of {len(dated)} prices are undated"] if undated else []))


def divisors(verdict: Verdict) -> list[str]:
    """The prices and powers that the checks divide by, each once."""
    sides = [side for check in verdict.checks for one in check.found for side in one.divisors]
    return list(dict.fromkeys(f"{side.chip} {side.words}" for side in sides))


def parts(check: CheckVerdict, *, every: bool) -> list[str]:
    """What a check found in parts: groups of rows, or single rows, pairs and chips."""
    if check.check.kind == "rate" and not every:
        return [f"{name}: {_tally(check, members)}" for name, members in _groups(check.found).items()]
    unit = check.check.claimed.unit
    return list(dict.fromkeys(_part(one, unit) for one in _shown(check, every)))


def near_words(one: Found) -> str:
    """A comparison that does not count."""
    return f"{one.label}: {_value(one.value, 'x')} ({'; '.join(one.differences) or 'of another date'})"


def own_words(one: Own) -> str:
    """A result of the user's beside a claim."""
    kind = {"measured": "measured here", "forecast": "forecast"}.get(one.kind, one.kind)
    conditions, ratio = _conditions(one.figure), _value(one.ratio, "x")
    if one.against:
        differing = "; ".join(one.differences) or "no differences listed"
        speed = f"{_speed(one.figure)}, {conditions}: {ratio}, {one.label}"
        return f"{kind}: {speed}, with {one.against} ({differing}); {one.file}"
    found = f"{_value(one.value, one.unit)}, {ratio} the claim as '{one.check}'"
    return f"{kind}: {found}; {conditions}, {one.label}; {one.file}"


def _speed(figure: Figure) -> str:
    samples = "images" if "image" in figure.task else "sequences"
    return f"{number(figure.samples_per_s_per_chip or 0)} {samples}/s per chip"


def _conditions(figure: Figure) -> str:
    """A result's batch over all chips, its precision, and the interval of a forecast's rate."""
    known = [f"batch {figure.global_batch or 'not stated'}", figure.precision or "precision not stated"]
    return ", ".join([*known, *filter(None, [figure.note])])


def places(verdict: Verdict) -> str:
    """The repositories and sites with their dates on one line, those of the deciding check first."""
    ordered = [verdict.deciding, *verdict.checks]
    found = [one for check in ordered for one in check.found] + list(verdict.near)
    dates: dict[str, set[str]] = {}
    for one in found:
        for source in _all_sources(one):
            dates.setdefault(source.place, set()).update({source.date} if source.date else set())
    for outside in verdict.claim.sources:
        dates.setdefault(outside.address, set()).update({outside.date} if outside.date else set())
    words = [f"{place} ({_span_of_dates(known)})" for place, known in dates.items()]
    more = [f"+{len(words) - _MOST_PLACES} more"] if len(words) > _MOST_PLACES else []
    return ", ".join([*words[:_MOST_PLACES], *more])


def sources(verdict: Verdict, *, every: bool) -> Iterator[str]:
    """Where the numbers are from: all of them, or those at the ends and of the closest pairs."""
    shown = [one for check in verdict.checks for one in _shown(check, every)]
    found = [*shown, *verdict.near]
    yield from dict.fromkeys(_source(source) for one in found for source in _all_sources(one))
    for one in verdict.claim.sources:
        dated = f", {one.date}" if one.date else ""
        yield f"not in the table: {one.text}: {one.address}{dated}"


def _particulars(check: CheckVerdict) -> Iterator[str]:
    unit = check.check.claimed.unit
    groups, is_ratio = _groups(check.basis), "ratio" in check.check.kind
    if check.check.kind == "ratio" and len(check.basis) > 1:
        first = check.basis[0]
        yield f"closest in conditions: {_value(first.value, unit)}, {first.label}"
    if is_ratio and len(groups) == 1:
        yield f"{next(iter(groups))} only"
    elif is_ratio or any(one.agrees for one in check.basis):
        yield from (_group(name, members, unit) for name, members in groups.items() if len(groups) > 1)
    others = [one for one in check.found if one not in check.basis]
    if others:
        yield f"not like for like and not counted: {_tally(check, others)}"
    yield from _unlike_divisors(check)
    if not any(one.agrees for one in check.basis) and check.nearest is not None:
        yield _miss(check.nearest, check)
    if check.check.because:
        yield check.check.because


def _unlike_divisors(check: CheckVerdict) -> Iterator[str]:
    """In how many pairs the prices don't buy the same, or the powers are of different kinds."""
    pairs = [one.divisors for one in check.basis if one.divisors]
    unlike = sum(above.kind != below.kind or "not stated" in above.kind for above, below in pairs)
    if unlike:
        kinds = ", ".join(dict.fromkeys(f"{above.kind} / {below.kind}" for above, below in pairs))
        what = f"{check.check.divide_by}s that are not known to be alike"
        yield f"{unlike} of {len(pairs)} pairs with {what} ({kinds})"


def _shared(check: CheckVerdict, earlier: Sequence[CheckVerdict]) -> Iterator[str]:
    """Which pairs were counted before, so that nobody takes one for two."""
    if "ratio" not in check.check.kind:
        return
    mine = {one.sides for one in check.basis}
    for other in earlier:
        same = mine & {one.sides for one in other.basis}
        if same and (check.check.kind, check.check.divide_by) == (other.check.kind, other.check.divide_by):
            how_many = "the same pairs as" if same == mine else f"{len(same)} of these also in"
            yield f"{how_many} '{other.check.label}'"
            if same == mine:
                return


def _groups(found: Iterable[Found]) -> dict[str, list[Found]]:
    groups: dict[str, list[Found]] = {}
    for one in found:
        groups.setdefault(one.group, []).append(one)
    return groups


def _tally(check: CheckVerdict, members: Sequence[Found]) -> str:
    """The range of some numbers, how many they are and of how many rows, and how many agree."""
    noun, side = _NOUNS.get(check.check.kind, ("value", ""))
    counted = _count(len(members), noun)
    if side and len(members) > 1:
        above, below = (len({one.sides[index] for one in members}) for index in (0, 1))
        counted += f" of {_count(above, side)} with {_count(below, side)}"
    return f"{_span(members, check.check.claimed.unit)} ({counted}, {_agreement(members)})"


def _agreement(members: Sequence[Found]) -> str:
    agreeing = sum(one.agrees for one in members)
    if len(members) == 1:
        return "agrees" if agreeing else "does not agree"
    return f"{agreeing} of {len(members)} agree"


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}{'s' * (number_of > 1)}"


def _group(name: str, members: Sequence[Found], unit: str) -> str:
    return f"{name} {_span(members, unit)}, {_agreement(members)}"


def _miss(nearest: float, check: CheckVerdict) -> str:
    claimed = check.check.claimed
    factor, value = number(claimed.factor_off(nearest), 2), _value(nearest, claimed.unit)
    if nearest > claimed.low:
        return f"the nearest, {value}, is {factor} times the claim"
    return f"the claim is {factor} times the nearest, {value}"


def _part(one: Found, unit: str) -> str:
    differing = f" ({'; '.join(one.differences)})" if one.differences else ""
    kind = "" if one.like_for_like else ", not like for like"
    agrees = ", agrees" if one.agrees else ""
    return f"{one.label}: {_value(one.value, unit)}{agrees}{kind}{differing}"


def _shown(check: CheckVerdict, every: bool) -> Iterable[Found]:
    """The closest pairs and those at the ends of the range; of rows the ends of each group; chips all."""
    if check.check.kind == "rate" and not every:
        return [one for members in _groups(check.found).values() for one in (members[0], members[-1])]
    if every or check.check.kind != "ratio" or len(check.found) <= _MOST_PAIRS:
        return check.found
    return [*check.found[:_MOST_PAIRS], min(check.found, key=_by_value), max(check.found, key=_by_value)]


def _by_value(one: Found) -> float:
    return one.value


def _all_sources(one: Found) -> list[Source]:
    return [*one.sources, *(side.source for side in one.divisors)]


def _source(source: Source) -> str:
    return f"{source.id}: {source.text}, {source.date or 'date not stated'}"


def _span_of_dates(dates: set[str]) -> str:
    ordered = sorted(dates) or ["undated"]
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def _plain(value: float, unit: str) -> str:
    return f"{number(value)}x" if unit == "x" else number(value)


def _value(value: float, unit: str) -> str:
    return f"{number(value)}x" if unit == "x" else f"{number(value)} {unit}"


def _span(members: Sequence[Found], unit: str) -> str:
    low, high = min(one.value for one in members), max(one.value for one in members)
    return _value(low, unit) if low == high else f"{_plain(low, unit)} to {_value(high, unit)}"
