"""Verdicts on claims as one HTML file: no scripts, nothing loaded; light and dark, for phones and paper."""

from collections.abc import Iterator, Sequence
from html import escape

from trainbench.report.claims import RULES, Entry, Line, parts, qualified

_STYLE = """
:root { color-scheme: light dark; --line: #8886; }
:root { --good: #1a7f37; --part: #8a6100; --bad: #b3261e; --none: #667; }
@media (prefers-color-scheme: dark) {
  :root { --good: #5fd07a; --part: #e5b454; --bad: #ff8a80; --none: #9ab; }
}
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
body { overflow-wrap: anywhere; }
section { border-top: 1px solid var(--line); margin-top: 2rem; }
h2 { font-size: 1.15rem; margin-bottom: .25rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; }
th, td { border-bottom: 1px solid var(--line); }
.word { font-weight: 600; overflow-wrap: normal; }
.supported { color: var(--good); } .supported-with-conditions { color: var(--part); }
.not-supported, .contradicted { color: var(--bad); } .not-established { color: var(--none); }
ul { padding-left: 1.2rem; } details { font-size: .9rem; }
@media (min-width: 40.01rem) { td:first-child { min-width: 12rem; } }
@media (max-width: 40rem) {
  thead { display: none; }
  table, tbody, tr, td { display: block; }
  td { border: 0; padding: .1rem 0; } tr { border-bottom: 1px solid var(--line); padding: .4rem 0; }
}
@media print { body { max-width: none; } section { break-inside: avoid; } }
"""


def page(entries: Sequence[Entry], notes: Sequence[str] = ()) -> str:
    """The whole page; every string from tables and result files is escaped."""
    body = "\n".join(line for one in entries for line in _section(one))
    rows = "".join(
        f'<tr><td><a href="#{escape(one.id)}">{escape(one.text)}</a></td>'
        f"<td>{_word(one.word, one.deciding)}</td>"
        f"<td>{escape(one.deciding.label)}: {escape(one.deciding.found)}</td></tr>\n"
        for one in entries
    )
    last = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Claims about GPUs and TPUs</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Claims about GPUs and TPUs</h1>\n<p>{escape(RULES)}</p>\n"
        f"{_table(('Claim', 'Verdict', 'Found'), rows)}\n{body}\n{last}</body>\n</html>\n"
    )


def _section(one: Entry) -> Iterator[str]:
    yield f'<section id="{escape(one.id)}"><h2>{escape(one.text)}</h2>'
    yield f"<p>{_word(one.word, one.deciding)}. {escape(one.conditions)}</p>"
    yield from _list("Your results", one.own)
    rows = "".join(
        f"<tr><td>{escape(line.label)}</td><td>{escape(line.claimed)}</td><td>{escape(line.found)}</td>"
        f"<td>{_word(line.word, line)}</td></tr>\n"
        for line in one.lines
    )
    yield _table(("Check", "Claimed", "Found", "Verdict"), rows)
    yield from _list("Found", parts(one))
    yield from _list("Not like for like", one.near)
    yield from _list("Divided by", one.divisors)
    items = "".join(f"<li>{escape(source)}</li>" for source in one.sources)
    yield f"<details open><summary>Sources</summary><ul>{items}</ul></details></section>"


def _list(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"<p>{title}:</p><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _table(titles: Sequence[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>"


def _word(word: str, line: Line) -> str:
    shown = escape(qualified(word, line.qualification))
    return f'<span class="word {word.replace(" ", "-")}">{shown}</span>'
