"""A comparison for other programs (JSON), and for a pull request (GitHub-flavoured Markdown)."""

import json
import re
from collections.abc import Sequence
from typing import Any

from trainbench.report.compare import COLUMNS, Words
from trainbench.results.collect import printable
from trainbench.results.compare import Compared, Judged
from trainbench.results.compare_pairs import Pairing, Side

# The version of the JSON.
SCHEMA = 1


def markdown(said: Words) -> str:
    """A table and lists; every string from a file is shown as it is, and pings nobody."""
    lines = [line for side in said.sides for line in (escaped(side), "")]
    lines += [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    lines += [_row([escaped(cell.strip()) for cell in row]) for row in said.rows]
    for title, items in (("also", said.details), *said.notes):
        if items:
            lines += ["", f"**{title}**", "", *(f"- {escaped(item)}" for item in items)]
    return "\n".join([*lines, "", escaped("; ".join(said.last)), ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """`text` on one line that Markdown shows as it is.

    Names after @ and numbers after # become links on GitHub even where they are escaped; a zero-width space
    keeps them apart, and `://` and `www.` likewise.

    >>> escaped("a|b <script> *x*")
    'a\\\\|b \\\\<script\\\\> \\\\*x\\\\*'
    """
    shown = re.sub(r"([\\`*_{}\[\]<>|~#&!$])", r"\\\1", printable(text))
    return re.sub(r"(@|#|(?<=:)//|www)", "\\1\u200b", shown)


def as_json(
    compared: Sequence[Compared],
    said: Words,
    pairing: Pairing | None,
    exit_code: int,
    skipped: Sequence[str] = (),
) -> str:
    """Everything that was found, for programs; fractions are fractions, times seconds, sizes bytes.

    Args:
      skipped: files that gave no run, each with the reason.
    """
    content = {
        "schema": SCHEMA,
        "exit_code": exit_code,
        "summary": "; ".join(said.last),
        "sides": list(said.sides),
        "pairs": [_pair(one) for one in compared],
        "only_base": [str(run.file) for run in pairing.only_base] if pairing else [],
        "only_new": [str(run.file) for run in pairing.only_new] if pairing else [],
        "left_out": list(skipped),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _pair(one: Compared) -> dict[str, Any]:
    work = one.pair.work
    return {
        "work": vars(work) if work else None,
        "settings": list(one.pair.settings),
        "base": _side(one.pair.base),
        "new": _side(one.pair.new),
        "across_chips": one.pair.across_chips,
        "status": {"verdict": one.status, "reason": one.status_reason},
        "metrics": {judged.metric.name: _metric(judged) for judged in one.judged},
        "environment": list(one.environment),
        "warnings": list(one.warnings),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "runs": [
            {"file": str(run.file), "id": run.result.id, "status": run.result.status} for run in side.runs
        ],
        "lost": list(side.lost),
    }


def _metric(judged: Judged) -> dict[str, Any]:
    metric = judged.metric
    return {
        "unit": metric.unit,
        "better": metric.better,
        "test": metric.test,
        "base": judged.base,
        "new": judged.new,
        "ratio": judged.ratio,
        "interval": judged.interval,
        "smallest_detectable": judged.detectable,
        "verdict": judged.verdict,
        "reason": judged.reason,
    }
