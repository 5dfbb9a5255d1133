"""Verdicts on the claims: stated rules over the numbers that `evidence` finds in the tables.

Each number found for a check (a row, a chip's specification, a pair) agrees with the claim when it lies
within a tenth of it (`claim.TOLERANCE`). A pair is like for like when `differences` lists no material
difference; what a source does not state counts as one. The word for a check rests on the numbers that are
like for like. Where there is none, it rests on all pairs that the check compares, is at most "supported with
conditions", and is said to be on evidence that is not like for like:

  not established            nothing found: no row, no pair, no price or power
  supported                  everything agrees, and is like for like
  supported with conditions  some of it agrees, and its label is the condition; or all, not like for like
  contradicted               nothing agrees, and all of it is off by more than a factor of 2, or, like for
                             like, a claimed advantage is a disadvantage in all of it
  not supported              nothing agrees, but it is nearer than that

The word for a claim: where all checks must hold, the worst of those established, and no better than
"supported with conditions" if one is not; where the checks are readings of one statement, the plain reading's
word, raised to "supported with conditions" if only another reading agrees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trainbench.reference import evidence, ratios
from trainbench.reference.claim import Check, Claim, Claimed, Rows, describe, matches
from trainbench.reference.figure import Figure
from trainbench.reference.found import Found, Tables

SUPPORTED = "supported"
CONDITIONAL = "supported with conditions"
NOT_SUPPORTED = "not supported"
CONTRADICTED = "contradicted"
NOT_ESTABLISHED = "not established"
# From the best to the worst; what is not established is neither.
WORDS = (SUPPORTED, CONDITIONAL, NOT_SUPPORTED, CONTRADICTED)
_AGREEING = (SUPPORTED, CONDITIONAL)

# A claim that is off by more than this in all that was found is contradicted, not just unsupported.
_FAR_OFF = 2.0


@dataclass(frozen=True)
class CheckVerdict:
    """What one check found, the closest comparisons first, and the word for it.

    Attributes:
      nearest: the number of the basis that is nearest to the claim; None where nothing was found.
      looked_for: the rows, chips or pairs that would bear on it, in words.
    """

    check: Check
    word: str
    found: tuple[Found, ...]
    nearest: float | None
    looked_for: str

    @property
    def basis(self) -> tuple[Found, ...]:
        """What the word rests on: the numbers that are like for like, or all where none is."""
        return _basis(self.found)

    @property
    def like_for_like(self) -> bool:
        """Whether the word rests on numbers that are like for like."""
        return all(one.like_for_like for one in self.basis)


@dataclass(frozen=True)
class Own:
    """A result of the user's beside a claim: `kind` is measured or forecast, `file` where it stands.

    Attributes:
      value: in the unit of the check; for a ratio the ratio itself.
      ratio: value / claimed for a rate, the ratio of the pair for a ratio.
      against: the figure that a ratio is taken to or from; empty for a rate.
      unit: of the check; x for a ratio.
      figure: the result's conditions and its speed.
    """

    kind: str
    file: str
    check: str
    label: str
    value: float
    ratio: float
    against: str
    differences: tuple[str, ...]
    unit: str
    figure: Figure


@dataclass(frozen=True)
class OwnFigure:
    """A result file's content in the form of a figure."""

    kind: str
    file: str
    figure: Figure


@dataclass(frozen=True)
class Verdict:
    """The word for one claim, with all that it rests on; `near` and `own` take no part in it."""

    claim: Claim
    word: str
    checks: tuple[CheckVerdict, ...]
    near: tuple[Found, ...]
    own: tuple[Own, ...]

    @property
    def deciding(self) -> CheckVerdict:
        """The check that gave the word; of several, the first that rests on what is like for like."""
        if self.claim.combine == "any":
            return next((check for check in self.checks if check.word in _AGREEING), self.checks[0])
        established = [check for check in self.checks if check.word in WORDS]
        return max(established, key=_weight, default=self.checks[0])


def judge(claim: Claim, tables: Tables, own: Sequence[OwnFigure] = ()) -> Verdict:
    """The verdict on `claim` from published data, with the user's results that fit it beside.

    Raises:
      KeyError: the claim names a row or chip that the tables don't have.
    """
    checks = tuple(_check(check, tables) for check in claim.checks)
    near = tuple(ratios.near(one, claim.checks[0], tables) for one in claim.near)
    beside = [one for check in claim.checks for one in _own(check, tables, own)]
    word = combined(claim.combine, [check.word for check in checks])
    return Verdict(claim, word, checks, near, tuple(beside))


def _basis(found: Sequence[Found]) -> tuple[Found, ...]:
    return tuple(one for one in found if one.like_for_like) or tuple(found)


def word_for(claimed: Claimed, found: Sequence[Found]) -> str:
    """The word for what was found, by the rules above."""
    if not found:
        return NOT_ESTABLISHED
    counted, like_for_like = _basis(found), any(one.like_for_like for one in found)
    if all(one.agrees for one in counted):
        return SUPPORTED if like_for_like else CONDITIONAL
    if any(one.agrees for one in counted):
        return CONDITIONAL
    is_advantage = claimed.unit == "x" and claimed.low >= 1
    reversed_advantage = like_for_like and is_advantage and all(one.value < 1 for one in counted)
    if reversed_advantage or all(claimed.factor_off(one.value) > _FAR_OFF for one in counted):
        return CONTRADICTED
    return NOT_SUPPORTED


def combined(combine: str, words: Sequence[str]) -> str:
    """The word for a claim from those for its checks, by the rules above.

    >>> combined("all", ["supported", "contradicted"]), combined("any", ["contradicted", "supported"])
    ('contradicted', 'supported with conditions')
    """
    if combine == "any":
        others_agree = any(word in _AGREEING for word in words)
        return CONDITIONAL if others_agree and words[0] != SUPPORTED else words[0]
    established = [word for word in words if word != NOT_ESTABLISHED]
    if not established:
        return NOT_ESTABLISHED
    worst = max(established, key=WORDS.index)
    return CONDITIONAL if worst == SUPPORTED and len(established) < len(words) else worst


def _weight(check: CheckVerdict) -> tuple[int, bool]:
    return WORDS.index(check.word), check.like_for_like


def _check(check: Check, tables: Tables) -> CheckVerdict:
    found = tuple(evidence.gather(check, tables))
    values = [one.value for one in _basis(found)]
    return CheckVerdict(
        check=check,
        word=word_for(check.claimed, found),
        found=found,
        nearest=min(values, key=check.claimed.factor_off, default=None),
        looked_for=_looked_for(check),
    )


def _looked_for(check: Check) -> str:
    """What would bear on the check, in words."""
    per = {"price": ", with a price of both chips", "power": ", with the power of both chips"}
    if check.kind == "rate":
        return describe(check.rows)
    if check.kind == "specification":
        return f"{', '.join(check.quantities)} of {', '.join(check.chips)}"
    divided = per.get(check.divide_by or "", "")
    if check.kind == "peak_ratio":
        sides = [" or ".join(side) for side in (check.numerator, check.denominator) if side]
        return f"16-bit peaks of {' over '.join(sides) or 'comparable TPUs and GPUs'}{divided}"
    agree = ", ".join(name.replace("_", " ") for name in check.same)
    sides = [_side(check.numerator), _side(check.denominator)]
    return f"pairs of ({sides[0]}) over ({sides[1]}) with equal {agree}{divided}"


def _closeness(pair: tuple[Found, Figure]) -> tuple[int, int, float, str]:
    return ratios.closeness(pair[0])


def _side(rows: Rows) -> str:
    return describe(rows) or "any figure"


def _own(check: Check, tables: Tables, own: Sequence[OwnFigure]) -> Iterable[Own]:
    for one in own:
        if check.kind == "rate" and matches(one.figure, check.rows):
            value = evidence.rate(one.figure, check.per, tables)
            if value is not None:
                label = f"{one.figure.label}, {evidence.group_label(one.figure)}"
                ratio, unit = value / check.claimed.low, check.claimed.unit
                yield Own(one.kind, one.file, check.label, label, value, ratio, "", (), unit, one.figure)
        if check.kind == "ratio":
            yield from _own_ratio(check, tables, one, own)


def _own_ratio(check: Check, tables: Tables, one: OwnFigure, own: Sequence[OwnFigure]) -> Iterable[Own]:
    """The ratio of the user's figure to the closest comparable one, or of the closest one to it."""
    others = [*tables.figures, *(other.figure for other in own)]
    checks = replace(check, pairs=())
    found = [
        (ratio, below if above is one.figure else above)
        for above, below in [
            *ratios.pairs(checks, [one.figure], others, tables),
            *ratios.pairs(checks, tables.figures, [one.figure], tables),
        ]
        if (ratio := ratios.ratio(checks, above, below, tables))
    ]
    if found:
        best, other = min(found, key=_closeness)
        yield Own(
            kind=one.kind,
            file=one.file,
            check=check.label,
            label=best.label,
            value=best.value,
            ratio=best.value,
            against=other.id,
            differences=best.differences,
            unit=check.claimed.unit,
            figure=one.figure,
        )
