"""Published figures beside a run, one line of text each."""

import re
from collections.abc import Sequence

from trainbench.report import facts
from trainbench.report.numbers import clip, number
from trainbench.results.record import Comparison, Result

_WIDTH = 158  # columns of a figure with how it differs: wrapped by the terminal rather than cut
_LEAST_DIFFERENCES = 30
_WIDTH_WITH_RATIOS = 178  # with the least differences, two lines of 110


def published(result: Result, most: int) -> list[str]:
    """Published figures in at most `most` lines: the nearest in full, the others in one line after them.

    Numbers that are not to be used are compared with nothing.
    """
    if result.kind == "probe" or result.status not in ("ok", "interrupted") or result.throughput is None:
        return []
    if not result.comparisons:
        return ["no figure for this model, task and size"]
    unit = facts.unit(result)
    found = result.comparisons
    in_full = found if len(found) <= most else found[: max(1, most - 1)]
    whose = "here" if facts.measured(result) else "expected is"
    lines = [_comparison(figure, unit, whose) for figure in in_full]
    others = found[len(in_full) :]
    return lines if not others or most < 2 else [*lines, _others(others)]


def _others(figures: Sequence[Comparison]) -> str:
    """ "also: H100 2,791 (0.0018 x), ..." with a mark on what is like for like."""
    texts = [
        f"{figure.accelerator} {number(figure.value)}"
        + (f" ({number(figure.ratio)} x{', like for like' * figure.like_for_like})" if figure.ratio else "")
        for figure in figures
    ]
    shown = texts[:1]
    for text in texts[1:]:
        if len(", ".join([*shown, text])) > _WIDTH - len("also: , +9 more"):
            break
        shown.append(text)
    left = len(texts) - len(shown)
    return f"also: {', '.join(shown)}" + (f", +{left} more" if left else "")


def reproduction(result: Result) -> list[str]:
    """The answer to `reproduce=ID`, the figure, and every difference that remains; empty if not asked."""
    answer = result.reproduction
    if answer is None:
        return []
    unit = facts.unit(result)
    source = f"{answer.source}, {answer.date}" if answer.date else answer.source
    return [
        f"{answer.verdict}: {answer.verdict_reason}",
        f"published: {number(answer.value)} {unit}/s per chip on {answer.accelerator} ({source})",
        *answer.differences,
    ]


def _comparison(figure: Comparison, unit: str, whose: str) -> str:
    """One figure with the ratio of this run, or of `whose` rate it is, to it, and how the two differ."""
    ratio = "no ratio" if figure.ratio is None else f"{whose} {number(figure.ratio)} x that"
    listed = _listed(figure)
    # Another chip, or none that is known, always is a difference.
    whose = "for this chip: " if len(listed) == len(figure.differences) else ""
    begin = f"{whose}{figure.accelerator} {number(figure.value)} {unit}/s per chip · {ratio}"
    economy = _economy(figure)
    room = len(begin + economy + _kind(figure)) <= _WIDTH_WITH_RATIOS
    return with_differences(figure, begin + (economy if room else ""))


def with_differences(figure: Comparison, text: str) -> str:
    """The text, then whether the two are like for like, and how they differ as far as there is room."""
    text, listed = text + _kind(figure), _listed(figure)
    if not listed:
        return text
    text += ", though: " if figure.like_for_like else ": "
    return text + _differences(listed, max(_WIDTH - len(text), _LEAST_DIFFERENCES))


def _kind(figure: Comparison) -> str:
    return " · like for like" if figure.like_for_like else " · not like for like"


def _listed(figure: Comparison) -> list[str]:
    """Both accelerators stand in the summary already: one with the figure, the run's own above."""
    return [text for text in figure.differences if not text.startswith("accelerator:")]


def _economy(figure: Comparison) -> str:
    """The ratios per watt and per dollar with what they rest on, where other than the one per chip."""
    ratios = {"watt": figure.per_watt, "dollar": figure.per_dollar}
    return "".join(
        f", {number(ratio)} x per {unit}{_rests_on(figure.basis or '', unit)}"
        for unit, ratio in ratios.items()
        if ratio is not None and ratio != figure.ratio
    )


def _rests_on(basis: str, unit: str) -> str:
    """The short form that a basis begins with: " (GCP undated / AWS 2026-08-17)" of the prices."""
    said = re.search(rf"\bper {unit}: ([^;]+)", basis)
    return f" ({said.group(1)})" if said else ""


def _differences(differences: Sequence[str], width: int) -> str:
    """As many whole differences as fit into `width` columns, at least one, and how many are left out."""
    width -= len("; +99 more")
    words = [_published_side(difference) for difference in differences]
    shown = [clip(words[0], width)]
    for word in words[1:]:
        if len("; ".join([*shown, word])) > width:
            break
        shown.append(word)
    left = len(words) - len(shown)
    return "; ".join(shown) + (f"; +{left} more" if left else "")


def _published_side(difference: str) -> str:
    """The published half of "data: published real, here synthetic"; the other stands in the first lines."""
    published = difference.partition(", here ")[0].replace(": published ", " ", 1)
    return published.partition(" (")[0]
