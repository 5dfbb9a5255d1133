"""Verdicts on claims in words: plain text for a terminal or a pipe, and Markdown; `claims_html` has HTML."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainbench.reference.claims import CheckVerdict, Verdict
from trainbench.report import claims_words

WIDTH = 110
COMMAND = "python -m trainbench claims --markdown docs/claims.md"

COMBINED = (
    "Of several readings of a claim the plain one, listed first, decides, and another that agrees makes it "
    '"with conditions"; of several parts that must all hold the worst decides.'
)
RULES = (
    "Verdicts are computed from the published figures and the chips that trainbench ships with. Each number "
    "found (a row, a chip, a pair) agrees with a claim when it is within a tenth of it. Supported: all "
    "agree. Supported with conditions: some do, or one reading of the claim. Contradicted: none agrees, and "
    "all are off by more than a factor of 2 or, like for like, say the opposite. Not supported: none "
    f"agrees, but some are nearer. Not established: nothing was found. {COMBINED} Speeds are per chip unless "
    "it says otherwise. Pairs are of the same model, task, size and precision class on a TPU and the GPU of "
    "its time, or on two TPUs, unless a check says otherwise. A pair is like for like when it is known "
    "not to differ in precision class, gradient accumulation, kind of data, padding and evaluation inside "
    "the time, nor by more than 2x in micro-batch or 4x in chips (or one chip against several); not stated "
    "counts as different. Prices must be dated and both have the host in them or both not; powers must be "
    "of one kind. Only pairs that are like for like count; where there is none, all do, and the verdict is "
    "said to be on evidence that is not like for like and is at best supported with conditions."
)


@dataclass(frozen=True)
class Line:
    """What one check found in words: its label, the claim, a summary, the word for it, and the parts.

    Attributes:
      qualification: what to add to the word; empty where nothing is.
    """

    label: str
    claimed: str
    found: str
    word: str
    qualification: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A verdict in words, the same for every form of output.

    Attributes:
      deciding: the line of the check that gave the word.
      divisors: the prices and powers that checks divide by.
      places: the repositories and sites on one line; `sources` has them in full.
    """

    id: str
    text: str
    word: str
    conditions: str
    deciding: Line
    lines: tuple[Line, ...]
    divisors: tuple[str, ...]
    near: tuple[str, ...]
    own: tuple[str, ...]
    places: str
    sources: tuple[str, ...]


def entry(verdict: Verdict, *, every_source: bool = False) -> Entry:
    """The verdict in words; `every_source` lists all rows, else those at the ends and the closest pairs."""
    checks = verdict.checks
    lines = [_line(check, checks[:index], every_source) for index, check in enumerate(checks)]
    return Entry(
        id=verdict.claim.id,
        text=verdict.claim.text,
        word=verdict.word,
        conditions=verdict.claim.conditions,
        deciding=lines[checks.index(verdict.deciding)],
        lines=tuple(lines),
        divisors=tuple(claims_words.divisors(verdict)),
        near=tuple(claims_words.near_words(one) for one in verdict.near),
        own=tuple(claims_words.own_words(one) for one in verdict.own),
        places=claims_words.places(verdict),
        sources=tuple(claims_words.sources(verdict, every=every_source)),
    )


def qualified(word: str, qualification: str) -> str:
    """A verdict with what is to be added to it."""
    return f"{word}, {qualification}" if qualification else word


def text(entries: Sequence[Entry], notes: Sequence[str] = (), *, read: str = "") -> str:
    """All entries as plain text of at most WIDTH columns: verdict, findings, conditions and where from.

    `read`, on which results were read, is the first line.
    """
    first = [_wrapped("", read)] if read else []
    blocks = ["\n".join(_block(one)) for one in entries]
    last = [*notes, "python -m trainbench claims ID shows one with all its sources; the ids are in brackets"]
    return "\n\n".join([*first, _wrapped("", RULES), *blocks, "\n".join(_wrapped("", note) for note in last)])


def detail(one: Entry, notes: Sequence[str] = ()) -> str:
    """One entry as plain text, with its sources; addresses are not broken."""
    found = [_wrapped("    ", part, hanging="      ") for part in parts(one)]
    sources = [_wrapped("    ", source, hanging="      ") for source in one.sources]
    combined = [COMBINED] if len(one.lines) > 1 else []
    tail = [_wrapped("", note) for note in [*combined, *notes]]
    return "\n".join([*_block(one), "  found", *found, "  sources", *sources, *tail])


def details(entries: Sequence[Entry], notes: Sequence[str] = (), *, read: str = "") -> str:
    """Some entries as plain text, each with its sources, below what was read."""
    *others, last = entries
    first = [_wrapped("", read)] if read else []
    return "\n\n".join([*first, *(detail(one) for one in others), detail(last, notes)])


def markdown(entries: Sequence[Entry], notes: Sequence[str] = ()) -> str:
    """A page: the rules, a table of all verdicts, then each claim with what was found and from where."""
    head = [f"Made by `{COMMAND}`; change the data, not this page.", "", "# Claims", "", RULES, ""]
    table = ["| Claim | Verdict | Found |", "| --- | --- | --- |"]
    table += [
        f"| [{_md(one.text)}](#{one.id}) | {qualified(one.word, one.deciding.qualification)} "
        f"| {_md(one.deciding.label)}: {_md(one.deciding.found)} |"
        for one in entries
    ]
    sections = [line for one in entries for line in _section(one)]
    return "\n".join([*head, *table, *sections, *(f"\n{_md(note)}" for note in notes)]) + "\n"


def parts(one: Entry) -> list[str]:
    """Each part of what was found, with the check that it is for."""
    return [f"{line.label}: {part}" for line in one.lines for part in line.parts]


def _line(check: CheckVerdict, earlier: Sequence[CheckVerdict], every: bool) -> Line:
    return Line(
        label=check.check.label,
        claimed=str(check.check.claimed),
        found=claims_words.found_words(check, earlier),
        word=check.word,
        qualification=claims_words.qualification(check),
        parts=tuple(claims_words.parts(check, every=every)),
    )


def _block(one: Entry) -> list[str]:
    title = textwrap.wrap(f"{one.text} [{one.id}]", width=WIDTH)
    lines = [*title, _wrapped("  ", qualified(one.word.upper(), one.deciding.qualification))]
    lines += [_wrapped("  ", own) for own in one.own]
    for line in one.lines:
        found = f"claimed {line.claimed}, found {line.found}"
        word = qualified(line.word, line.qualification)
        lines.append(_wrapped("  ", f"{word}: {line.label}: {found}"))
    lines += [_wrapped("  ", f"not like for like: {near}") for near in one.near]
    lines += [_wrapped("  ", f"divided by: {'; '.join(one.divisors)}")] if one.divisors else []
    lines.append(_wrapped("  ", f"conditions: {one.conditions}"))
    return [*lines, _wrapped("  ", f"sources: {one.places}")]


def _wrapped(indent: str, words: str, hanging: str | None = None) -> str:
    """`words` within WIDTH columns, control characters shown as "?"; later lines hang by four columns."""
    further = indent + "    " * bool(indent) if hanging is None else hanging
    return textwrap.fill(
        _printable(words),
        width=WIDTH,
        initial_indent=indent,
        subsequent_indent=further,
        break_on_hyphens=False,
    )


def _printable(words: str) -> str:
    """File names and records may hold anything; an escape sequence must not reach a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in words)


def _section(one: Entry) -> Iterator[str]:
    yield from ("", f'<a id="{one.id}"></a>', f"## {_md(one.text)}", "")
    word = qualified(one.word, one.deciding.qualification)
    yield f"**{word[0].upper()}{word[1:]}.** {_md(one.conditions)}"
    yield from (*_list("Your results:", one.own), "")
    yield from ("| Check | Claimed | Found | Verdict |", "| --- | --- | --- | --- |")
    for line in one.lines:
        word = qualified(line.word, line.qualification)
        yield f"| {_md(line.label)} | {_md(line.claimed)} | {_md(line.found)} | {word} |"
    yield from _list("Found:", parts(one))
    yield from _list("Not like for like:", one.near)
    yield from _list("Divided by:", one.divisors)
    yield from _list("Sources:", one.sources)


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", title, "", *(f"- {_md(item)}" for item in items))


def _md(words: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", _printable(words))
