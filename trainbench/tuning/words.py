"""What tuning has found, in words: tables for the terminal, Markdown and CSV, and the summary."""

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence

from rich.text import Text

from trainbench.report import compare_cells, facts
from trainbench.report.compare_files import escaped
from trainbench.report.grid import UNKNOWN, grid, plain
from trainbench.results.compare_statistics import FALSE_ALARMS
from trainbench.results.outcome import NOT_STEADY
from trainbench.results.record import Result
from trainbench.tuning.effects import Effect
from trainbench.tuning.session import Found
from trainbench.tuning.space import label

_WIDTH = 110
TITLES = ("change", "samples/s, ratio", "verdict", "memory", "loss", "rounds")
CSV_TITLES = (
    *("change", "speed_ratio", "ratio_low", "ratio_high", "verdict", "rounds"),
    *("memory_ratio", "loss_ratio", "changes_what_is_computed", "proof", "problem"),
)
_UNTESTED = "one trial, not tested"
_LOSS_DIGITS = 1e-6


def row(effect: Effect) -> tuple[str, ...]:
    """The cells of `TITLES`."""
    return (
        label(effect.point) + (" (!)" if effect.unusual else ""),
        compare_cells.ratio(effect.speed),
        verdict(effect),
        UNKNOWN if effect.memory is None else f"{effect.memory:.2f}",
        _loss(effect.loss),
        str(effect.rounds) if effect.rounds else UNKNOWN,
    )


def verdict(effect: Effect) -> str:
    """Faster, slower, the same, or not to be told."""
    return compare_cells.verdict(effect.speed) if effect.rounds > 1 else _UNTESTED


def _loss(ratio: float | None) -> str:
    if ratio is None:
        return UNKNOWN
    return "same" if abs(ratio - 1) < _LOSS_DIGITS else f"{ratio - 1:+.1e}"


def table(effects: Sequence[Effect]) -> str:
    """The effects as plain text."""
    shown = grid()
    for number, title in enumerate(TITLES):
        shown.add_column(title, justify="left" if number in (0, 2) else "right", overflow="fold")
    for effect in effects:
        shown.add_row(*(Text(cell) for cell in row(effect)))
    return "\n".join(line.rstrip() for line in plain(shown, _WIDTH).splitlines())


def text(found: Found) -> str:
    """All that is printed at the end, but for where it is kept."""
    lines = [table(found.table)] if found.table else []
    if found.finalists:
        lines += ["", "the fastest of the search, measured again in turn with the default:", ""]
        lines += [table(found.finalists)]
    around = [*legend(found), *_notes(found)]
    folded = [textwrap.fill(line, _WIDTH, subsequent_indent="  ") for line in around]
    return "\n".join([*lines, "", *folded, "", *summary(found)])


def legend(found: Found) -> list[str]:
    """What the columns mean."""
    shown = [*found.table, *found.finalists]
    lines = [
        f"ratios are to the default, with an interval that holds the truth in {1 - FALSE_ALARMS:.0%} of "
        "cases over the whole table; memory by the compiler; loss at the last step that both have, relative"
    ]
    if any(effect.unusual for effect in shown):
        lines.append("(!) changes what is computed: published runs are then not like it")
    if any(effect.compared and effect.rounds == 0 for effect in shown):
        lines.append(f"{_UNTESTED}: the interval is that of its blocks alone, and a search saw many of them")
    return lines


def _notes(found: Found) -> Iterable[str]:
    """Proofs, and what could not be had, one line each."""
    for effect in found.table:
        yield from (f"{label(effect.point)}: {proof}" for proof in effect.proof)
        if effect.problem:
            yield f"{label(effect.point)}: {effect.problem}"
    yield from refusals(found)


def refusals(found: Found) -> list[str]:
    """What could not be had here: a line for each key and reason, as a reason often holds for many values."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for point, why in found.refused.items():
        ((key, value),) = point
        told = why.replace(f"{key}={value}", key)
        grouped.setdefault((key, told), []).append(str(value))
    return [f"not measured: {key}={','.join(values)}: {why}" for (key, why), values in grouped.items()]


def summary(found: Found) -> list[str]:
    """How many trials, and the best."""
    good = sum(not trial.problem for trial in found.trials)
    lines = [f"{len(found.trials)} trials, {good} with a rate{_unsteady(found)}"]
    if found.best is None:
        return [*lines, "best: the default; nothing is proven to be faster"]
    lines.append(f"best: {label(found.best.point)}, {verdict(found.best)} than the default")
    if found.best.unusual:
        names = ", ".join(found.best.unusual)
        lines.append(f"{names} changes what is computed: published runs are then not like it")
    return lines


def _unsteady(found: Found) -> str:
    """How many of the runs behind the ratios never came to a steady step time; empty where all did."""
    pairs = [effect.compared.pair for effect in (*found.table, *found.finalists) if effect.compared]
    runs = {run.file: run.result for pair in pairs for run in (*pair.base.runs, *pair.new.runs)}
    restless = sum(facts.status(result) == NOT_STEADY for result in runs.values())
    return f"; {restless} of the {len(runs)} runs behind the ratios were not steady" if restless else ""


def machine(result: Result) -> list[str]:
    """Where and with what it was measured, a line each."""
    hardware, software, work = result.hardware, result.software, result.workload
    lines = [result.created_utc.date().isoformat()]
    if hardware:
        host = hardware.host
        lines.append(f"{facts.device(result)} · {host.cpu or 'unknown processor'} · {host.cores} cores")
    if software:
        versions = f"jax {software.jax}, jaxlib {software.jaxlib}, Python {software.python}"
        lines.append(f"trainbench {software.trainbench} ({software.git_commit or 'no commit'}), {versions}")
    if work:
        lines.append(
            f"{work.model} · {work.precision} · batch {work.batch_size} per device · {work.data} data"
        )
    return lines


def markdown(found: Found, command: str) -> str:
    """The tables with machine, versions and command, for a page of documentation."""
    default = found.trials[0].loaded
    lines = ["# What each lever does", "", f"    {command}", ""]
    lines += [f"- {escaped(line)}" for line in (machine(default.result) if default else [])]
    for title, effects in (("Each alone", found.table), ("The fastest of the search", found.finalists)):
        if effects:
            lines += ["", f"## {title}", "", _markdown_row(TITLES), _markdown_row(["---"] * len(TITLES))]
            lines += [_markdown_row([escaped(cell) for cell in row(effect)]) for effect in effects]
    lines += ["", *(f"- {escaped(line)}" for line in (*legend(found), *_notes(found), *summary(found)))]
    return "\n".join([*lines, ""])


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_csv(found: Found) -> str:
    """The table with all digits, the finalists after it."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(CSV_TITLES)
    for effect in (*found.table, *found.finalists):
        low, high = effect.speed.interval or (None, None)
        writer.writerow(
            [
                *(label(effect.point), effect.speed.ratio, low, high, effect.speed.verdict, effect.rounds),
                *(effect.memory, effect.loss, bool(effect.unusual), "; ".join(effect.proof), effect.problem),
            ]
        )
    return target.getvalue()
