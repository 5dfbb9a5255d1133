"""`python -m trainbench references`: the published figures, listed, explained, exported and checked."""

import argparse
import csv
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.reference import figures, listing, select, vocabulary, words
from trainbench.reference.columns import NAMES
from trainbench.reference.figure import Figure
from trainbench.verbs.options import Parser, path

_EXAMPLE = "python -m trainbench references model=resnet50 accelerator=A100,V100 precision=16-bit"
_OPTIONS = (
    "KEY=VALUE[,VALUE] KEY==EXACT_VALUE 'KEY>=NUMBER' sort=KEY "
    "--json --csv --explain ID --extra FILE --check FILE --columns"
)
HELP = """\
usage: python -m trainbench references [FILTER ...] [sort=KEY] [OPTION ...]

filters (several must all hold; quote what holds a space, <, > or ?):
  KEY=VALUE[,VALUE]     any of the values, in any case; a part of one where nothing is the whole: model=llama
  KEY==VALUE            that very value: precision==bf16, where precision=bf16 finds all 16-bit figures
  'KEY>=N'              numbers at least N; also > < <=
  KEY=none              not stated
  'KEY=?'               every value of KEY with its number of figures
  runnable=yes|no       whether reproduce=ID runs it again here
  KEY is a column (--columns): model, accelerator, chip, precision, task, num_chips, date, source, ...

order:
  sort=KEY              numbers and dates from the highest, words from A; sort=-KEY: words from Z

options:
  --explain ID          one figure in full, as id=ID
  --json, --csv         all columns of what is found
  --extra FILE          with figures of your own (also extra=FILE, reference.extra=FILE)
  --check FILE          what is wrong with a table of your own, and what in it is never compared
  --columns             what each column holds

examples:
  python -m trainbench references model=resnet50 accelerator=A100,V100 precision=16-bit
  python -m trainbench references model=bert_large 'num_chips<=8' sort=value_per_chip
  python -m trainbench references accelerator=TPU runnable=yes
  python -m trainbench references 'model=?'"""
_SHOWN_IDS = 3
# As `run` takes it.
_EXTRA = re.compile(r"^(?:reference\.)?extra=")
_FILTER = re.compile(r"(\w+)(==|>=|<=|=|>|<)(.*)", re.DOTALL)


def show(arguments: list[str]) -> int:
    """Print the figures that are asked for.

    Raises:
      UserError: an unknown option, column or id; a filter that nothing fits; a file with bad rows.
    """
    options = _options(arguments)
    if options.columns:
        return _print(listing.schema())
    if options.check:
        return _print(_check(options.check))
    table = figures.load(options.extra, _flops_counter()) if options.extra else figures.load()
    filters, key = _filters(options.filters)
    if asked := [name for name, typed in filters.items() if "?" in typed]:
        return _print(_every_value(table, filters, asked[0]))
    wanted = filters.pop("id", []) if options.explain is None else [options.explain]
    if wanted:
        table = tuple(figures.find(name, options.extra) for name in wanted)
    found = select.ordered(select.chosen(table, filters), key)
    found = found if key else select.exact_first(found, filters)
    if options.csv:
        return _write_csv(found)
    if options.json:
        return _print([json.dumps([_plain(figure) for figure in found], indent=2)])
    if wanted:
        return _print("\n\n".join("\n".join(listing.explanation(figure)) for figure in found).splitlines())
    lines = listing.table(_grouped(found) if key is None else found, len(table))
    said = f"{select.widened(found, filters)} {select.broadened(table, filters)}"
    return _print([*lines, *listing.wrapped(said.strip())])


def _every_value(table: Sequence[Figure], filters: words.Filters, key: str) -> list[str]:
    closed = {name: typed for name, typed in filters.items() if "?" not in typed}
    held = select.counts(table, closed, key)
    return [f"{count:>5} {key}={each}" for each, count in held.items()]


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(allowed=_OPTIONS, fix=_EXAMPLE)
    parser.add_argument("filters", nargs="*")
    for name in ("--json", "--csv", "--columns"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--explain", metavar="ID")
    parser.add_argument("--extra", type=path)
    parser.add_argument("--check", type=path)
    options = parser.parse_intermixed_args([_EXTRA.sub("--extra=", word) for word in arguments])
    if options.json and options.csv:
        raise UserError("--json and --csv exclude each other", allowed="one of them", fix="leave one out")
    return options


def _filters(typed: Sequence[str]) -> tuple[dict[str, list[str]], str | None]:
    """({column: allowed words}, the column to sort by); a column that is named twice takes either's words.

    The sign of "KEY==VALUE" or "KEY>VALUE" goes to the words, as `select.chosen` reads it.
    """
    filters: dict[str, list[str]] = {}
    key = None
    for word in typed:
        match = _FILTER.fullmatch(word)
        name, sign, value = match.groups() if match else (word.partition("=")[0], "", "")
        if not value.strip(", ="):
            raise UserError(f"{word!r} is not KEY=VALUE", allowed=_OPTIONS, fix=_meant(name))
        if name == "sort":
            words.check_key(value.removeprefix("-"))
            key = value
            continue
        words.check_key(name)
        sign = {"=": "", "==": "="}.get(sign, sign)
        filters.setdefault(name, []).extend(sign + part.strip() for part in value.split(",") if part.strip())
    return filters, key


def _meant(word: str) -> str:
    """What to type for a bare word, which may be a column, a model, an accelerator or an id."""
    if word == "sort":
        return "sort=value_per_chip"
    if word in (*NAMES, *words.DERIVED):
        return f"python -m trainbench references '{word}=?'"
    for key in ("model", "accelerator", "id", "task"):
        for figure in figures.load():
            held = words.cell(figure, key)
            if vocabulary.plain(held) == vocabulary.plain(word):
                return f"python -m trainbench references {key}={word}"
    return _EXAMPLE


def _grouped(found: Sequence[Figure]) -> tuple[Figure, ...]:
    """Figures of equal workload and metric side by side, the workload with the most figures first."""
    groups: dict[tuple[object, ...], list[Figure]] = {}
    for figure in found:
        size = figure.image_size, figure.sequence_length
        groups.setdefault((figure.metric, figure.name, figure.task, *size), []).append(figure)
    largest = sorted(groups.values(), key=len, reverse=True)
    return tuple(figure for group in largest for figure in group)


def _check(path: Path) -> list[str]:
    found = figures.read(path, _flops_counter())
    lines = [f"{path}: {len(found)} {'figure' if len(found) == 1 else 'figures'}, all sound"]
    known = {figure.name for figure in figures.load()}
    new = {
        "models that have no figures yet": {each.name for each in found} - known - set(vocabulary.MODELS),
        "accelerators that are not known": {each.accelerator for each in found}
        - set(vocabulary.ACCELERATORS),
    }
    lines += [f"{what}: {', '.join(sorted(names))}" for what, names in new.items() if names]
    lines += _never_compared(found)
    shared = {figure.id for figure in found} & {figure.id for figure in figures.load()}
    if shared and len(shared) < len(found):
        lines.append(f"as --extra it would be refused: {len(shared)} ids are shipped already")
    return lines


def _never_compared(found: Sequence[Figure]) -> list[str]:
    """A line for each reason why figures are compared with no run."""
    by_reason: dict[str, list[str]] = {}
    for figure in found:
        if reasons := figure.never_compared():
            by_reason.setdefault("; ".join(reasons), []).append(figure.id)
    return [
        f"{len(ids)} {'figure is' if len(ids) == 1 else 'figures are'} compared with nothing: {reason} "
        f"({', '.join(ids[:_SHOWN_IDS])}{', ...' if len(ids) > _SHOWN_IDS else ''})"
        for reason, ids in by_reason.items()
    ]


def _flops_counter() -> figures.FlopsPerSample:
    # Imported late: it takes the models, and so JAX, which listing does without.
    from trainbench.model_flops import flops_per_sample

    return flops_per_sample


def _plain(figure: Figure) -> dict[str, object]:
    """A row by column names, null where nothing is stated, and what follows from it."""
    stated: dict[str, object] = {}
    for name in NAMES:
        value = words.value(figure, name)
        stated[name] = None if value in ("", vocabulary.NOT_STATED) else value
    return stated | {
        "samples_per_s_per_chip": figure.samples_per_s_per_chip,
        "missing_to_reproduce": list(figure.missing()),
    }


def _write_csv(found: Sequence[Figure]) -> int:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows(listing.rows_as_cells(found))
    return ExitCode.OK


def _print(lines: Sequence[str]) -> int:
    for line in lines:
        print(line)
    return ExitCode.OK
