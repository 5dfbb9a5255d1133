"""Verdicts on claims in words: plain text for a terminal or a pipe, and Markdown; `claims_html` has HTML."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trainbench.reference.claims import CheckVerdict, Own, Verdict
from trainbench.reference.found import Found, Source
from trainbench.report.numbers import number

WIDTH = 110
COMMAND = "python -m trainbench claims --markdown docs/claims.md"
# Of a long list only the beginning is shown, with how many more there are; --json has all.
_MOST_PAIRS = 3
_LABEL = 12

RULES = (
    "Verdicts are computed from the published figures and the chips that trainbench ships with. A number "
    "agrees with a claim when it is within a tenth of it. Supported: everything found agrees. Supported "
    "with conditions: part of it does, or one reading of the claim. Contradicted: nothing agrees, and all"
    " of it is off by more than a factor of 2 or says the opposite. Not supported: nothing agrees, but it"
    " is nearer. Not established: there is no like-for-like data. All speeds are per chip unless it says "
    "otherwise; ratios are taken between figures of the same model, task, size and precision class, with "
    "micro-batches within a factor of 2."
)


@dataclass(frozen=True)
class Line:
    """What one check found in words: its label, the claim, a summary, the word for it, and the parts."""

    label: str
    claimed: str
    found: str
    word: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A verdict in words, the same for every form of output."""

    id: str
    text: str
    word: str
    conditions: str
    lines: tuple[Line, ...]
    near: tuple[str, ...]
    own: tuple[str, ...]
    sources: tuple[str, ...]


def entry(verdict: Verdict, *, every_source: bool = False) -> Entry:
    """The verdict in words; `every_source` lists all rows, else those at the ends and the closest pairs."""
    return Entry(
        id=verdict.claim.id,
        text=verdict.claim.text,
        word=verdict.word,
        conditions=verdict.claim.conditions,
        lines=tuple(_line(check, every_source) for check in verdict.checks),
        near=tuple(_near(one) for one in verdict.near),
        own=tuple(_own(one) for one in verdict.own),
        sources=tuple(_sources(verdict, every_source)),
    )


def text(entries: Sequence[Entry], notes: Sequence[str] = ()) -> str:
    """All entries as plain text of at most WIDTH columns: verdict, findings and conditions, no sources."""
    blocks = ["\n".join(_block(one)) for one in entries]
    last = [*notes, "python -m trainbench claims ID shows one with its sources; the ids are in brackets"]
    return "\n\n".join([_wrapped("", RULES), *blocks, "\n".join(_wrapped("", note) for note in last)])


def detail(one: Entry, notes: Sequence[str] = ()) -> str:
    """One entry as plain text, with its sources; addresses are not broken."""
    found = [_wrapped("    ", part, hanging="      ") for part in parts(one)]
    sources = [_wrapped("    ", source, hanging="      ") for source in one.sources]
    tail = [_wrapped("", note) for note in notes]
    return "\n".join([*_block(one), "  found", *found, "  sources", *sources, *tail])


def markdown(entries: Sequence[Entry], notes: Sequence[str] = ()) -> str:
    """A page: the rules, a table of all verdicts, then each claim with what was found and from where."""
    head = [f"Made by `{COMMAND}`; change the data, not this page.", "", "# Claims", "", RULES, ""]
    table = ["| Claim | Verdict | Found |", "| --- | --- | --- |"]
    table += [f"| [{_md(one.text)}](#{one.id}) | {one.word} | {_md(one.lines[0].found)} |" for one in entries]
    sections = [line for one in entries for line in _section(one)]
    return "\n".join([*head, *table, *sections, *(f"\n{_md(note)}" for note in notes)]) + "\n"


def parts(one: Entry) -> list[str]:
    """Each part of what was found, with the check that it is for."""
    return [f"{line.label}: {part}" for line in one.lines for part in line.parts]


def found_words(check: CheckVerdict) -> str:
    """What a check found on one line: the range, how many, the closest pair or what agrees."""
    if not check.found:
        return f"nothing; looked for {check.looked_for}"
    unit = check.check.claimed.unit
    low, high = min(one.low for one in check.found), max(one.high for one in check.found)
    span = _value(low, unit) if low == high else f"{_plain(low, unit)} to {_value(high, unit)}"
    rows = sum(one.count for one in check.found)
    noun = {"rate": "row", "ratio": "pair", "peak_ratio": "pair"}.get(check.check.kind, "value")
    counted = f"{span} ({rows} {noun}{'s' * (rows > 1)})"
    return "; ".join([counted, *_particulars(check, unit)])


def _particulars(check: CheckVerdict, unit: str) -> Iterator[str]:
    groups: dict[str, list[Found]] = {}
    for one in check.found:
        groups.setdefault(one.group, []).append(one)
    agreeing = sum(one.agrees for one in check.found)
    if check.check.kind == "ratio":
        first = check.found[0]
        yield f"closest in conditions: {_value(first.low, unit)}, {first.label}"
    if len(groups) > 1 and (agreeing or "ratio" in check.check.kind):
        yield from (_group(name, members, unit) for name, members in groups.items())
    if not agreeing and check.nearest is not None:
        yield _miss(check.nearest, check)
    if check.check.because:
        yield check.check.because


def _group(name: str, members: Sequence[Found], unit: str) -> str:
    low, high = min(one.low for one in members), max(one.high for one in members)
    span = _value(low, unit) if low == high else f"{_plain(low, unit)} to {_value(high, unit)}"
    agreeing = sum(one.agrees for one in members)
    if agreeing in (0, len(members)):
        return f"{name} {span}{' agrees' if agreeing else ''}"
    return f"{name} {span}, {agreeing} of {len(members)} agree"


def _miss(nearest: float, check: CheckVerdict) -> str:
    claimed = check.check.claimed
    end = claimed.low if nearest < claimed.low or claimed.high is None else claimed.high
    factor = number(max(nearest / end, end / nearest), 2)
    value = _value(nearest, claimed.unit)
    if nearest > end:
        return f"the nearest, {value}, is {factor} times the claim"
    return f"the claim is {factor} times the nearest, {value}"


def _line(check: CheckVerdict, every: bool) -> Line:
    unit = check.check.claimed.unit
    parts = dict.fromkeys(_part(one, unit) for one in _shown(check, every))
    return Line(check.check.label, str(check.check.claimed), found_words(check), check.word, tuple(parts))


def _part(one: Found, unit: str) -> str:
    rows = f" ({one.count} rows)" if one.count > 1 else ""
    differing = f" ({'; '.join(one.differences)})" if one.differences else ""
    return f"{one.label}: {_span(one, unit)}{rows}{differing}{', agrees' if one.agrees else ''}"


def _near(one: Found) -> str:
    differing = "; ".join(one.differences) or "of another date"
    return f"{one.label}: {_value(one.low, 'x')} ({differing})"


def _own(one: Own) -> str:
    kind = {"measured": "measured here", "forecast": "forecast"}.get(one.kind, one.kind)
    if one.against:
        differing = "; ".join(one.differences) or "no differences listed"
        return f"{kind}: {_value(one.ratio, 'x')}, {one.label}, with {one.against} ({differing}); {one.file}"
    return f"{kind}: {number(one.value)}/s, {_value(one.ratio, 'x')} the claim, {one.label}; {one.file}"


def _sources(verdict: Verdict, every: bool) -> Iterator[str]:
    seen: dict[str, None] = {}
    for check in verdict.checks:
        for one in _shown(check, every):
            chosen = one.sources if every or check.check.kind != "rate" else (one.sources[0], one.sources[-1])
            seen |= dict.fromkeys(_source(source) for source in chosen)
    for one in verdict.near:
        seen |= dict.fromkeys(_source(source) for source in one.sources)
    yield from seen
    for outside in verdict.claim.sources:
        dated = f", {outside.date}" if outside.date else ""
        yield f"not in the table: {outside.text}: {outside.address}{dated}"


def _shown(check: CheckVerdict, every: bool) -> Iterable[Found]:
    """The closest pairs and those at the ends of the range; groups and specifications all."""
    if every or check.check.kind not in ("ratio", "peak_ratio") or len(check.found) <= _MOST_PAIRS:
        return check.found
    ends = [min(check.found, key=_low), max(check.found, key=_low)]
    return [*check.found[:_MOST_PAIRS], *ends]


def _low(one: Found) -> float:
    return one.low


def _source(source: Source) -> str:
    return f"{source.id}: {source.text}, {source.date or 'date not stated'}"


def _plain(value: float, unit: str) -> str:
    return f"{number(value)}x" if unit == "x" else number(value)


def _value(value: float, unit: str) -> str:
    return f"{number(value)}x" if unit == "x" else f"{number(value)} {unit}"


def _span(one: Found, unit: str) -> str:
    return (
        _value(one.low, unit)
        if one.low == one.high
        else f"{_plain(one.low, unit)} to {_value(one.high, unit)}"
    )


def _block(one: Entry) -> list[str]:
    title = textwrap.wrap(f"{one.text} [{one.id}]", width=WIDTH)
    lines = [*title, f"  {one.word.upper()}"]
    for line in one.lines:
        found = f"claimed {line.claimed}, found {line.found}"
        lines.append(_wrapped("  ", f"{line.word}: {line.label}: {found}"))
    lines += [_wrapped("  ", f"not like for like: {near}") for near in one.near]
    lines += [_wrapped("  ", own) for own in one.own]
    return [*lines, _wrapped("  ", f"conditions: {one.conditions}")]


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
    yield from (f"**{one.word.capitalize()}.** {_md(one.conditions)}", "")
    yield from ("| Check | Claimed | Found | Verdict |", "| --- | --- | --- | --- |")
    for line in one.lines:
        yield f"| {_md(line.label)} | {_md(line.claimed)} | {_md(line.found)} | {line.word} |"
    yield from _list("Found:", parts(one))
    yield from _list("Not like for like:", one.near)
    yield from _list("Your results:", one.own)
    yield from _list("Sources:", one.sources)


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield from ("", title, "", *(f"- {_md(item)}" for item in items))


def _md(words: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", _printable(words))
