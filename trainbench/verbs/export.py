"""`python -m trainbench export`: results in the forms that other programs read."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbench.errors import ExitCode, UserError
from trainbench.results import export_dashboard, export_mlperf, store
from trainbench.results.collect import Collection, Skipped, collect
from trainbench.verbs.options import Parser, path

_STDOUT = Path("-")
_MOST_NAMED = 10
_TEXTS = ("csv", "jsonl", "mlperf", "dashboard")
_FILES = (*_TEXTS, "parquet")
_ALLOWED = (
    "PATH..., --csv, --parquet, --jsonl, --mlperf, --dashboard, --dashboard-format, --tensorboard, --columns"
)
_FIX = "python -m trainbench export results --csv results.csv"

HELP = """\
python -m trainbench export PATH... [--csv FILE] [--parquet FILE] [--jsonl FILE] [--mlperf FILE]
                            [--dashboard FILE] [--dashboard-format FORMAT] [--tensorboard DIR]
python -m trainbench export --columns

Results as a table, as logs, or for a dashboard. Several forms at once are fine; - is standard output.

  PATH...            result files, or directories that hold some at any depth
  --csv FILE         one row for each result; what a spreadsheet would run as a formula is quoted, and control
                     characters are shown as "?"
  --parquet FILE     the same table with lists as lists and texts as they are
  --jsonl FILE       the whole records, one a line
  --mlperf FILE      log lines in the format of mlperf_logging: not an MLPerf submission, not checked against
                     the rules of MLPerf
  --dashboard FILE   figures to follow from day to day; of each benchmark the newest run that is ok and steady
  --dashboard-format github (default)  github-action-benchmark, tool customBiggerIsBetter: samples/s, MFU
                     github-smaller    ... customSmallerIsBetter: step time, compile time, memory
                     bencher           Bencher's Metric Format: all of them
  --tensorboard DIR  scalars: samples/s of each block, loss, memory, MFU; one directory for each run
  --columns          explain the columns of the table: type, unit, scope

  python -m trainbench export results --csv results.csv --parquet results.parquet
  python -m trainbench export outputs multirun --dashboard bench.json
  python -m trainbench export results --jsonl - | head -n 1"""


@dataclass(frozen=True)
class _Output:
    """One form of the results, and where it goes."""

    form: str
    target: Path
    content: bytes


def show(arguments: list[str]) -> int:
    """Write the results below the given paths in each form that is asked for.

    Everything is made before anything is written, and each file is written whole or not at all.

    Raises:
      UserError: an unknown option, no form asked for, a path that is not there, no result below any, or a
        file that can't be written.
    """
    options = _options(arguments)
    if options.columns:
        print(_columns())
        return ExitCode.OK
    found = collect(options.paths)
    _name(found.skipped)
    _check(options, found)
    outputs = [_Output(form, target, _content(form, found, options)) for form, target in _targets(options)]
    done = [_counted(found), *map(_write, outputs)]
    if options.tensorboard:
        done.append(_write_tensorboard(options.tensorboard, found))
    # Where a form goes to standard output, nothing else may.
    apart = any(output.target == _STDOUT for output in outputs)
    print("\n".join(done), file=sys.stderr if apart else sys.stdout)
    return ExitCode.OK


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(allowed=_ALLOWED, fix=_FIX)
    parser.add_argument("paths", nargs="*", type=path)
    for form in _FILES:
        parser.add_argument(f"--{form}", type=path)
    parser.add_argument("--dashboard-format", choices=export_dashboard.FORMATS, default="github")
    parser.add_argument("--tensorboard", type=path)
    parser.add_argument("--columns", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    if options.columns:
        return options
    if not options.paths:
        raise UserError("export needs the results to export", allowed="files or directories", fix=_FIX)
    if not (options.tensorboard or list(_targets(options))):
        raise UserError("export needs to be told what to write", allowed=_ALLOWED, fix=_FIX)
    return options


def _targets(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    for form in _FILES:
        if target := getattr(options, form):
            yield form, target


def _name(skipped: tuple[Skipped, ...]) -> None:
    """Say on stderr what was left out."""
    for one in skipped[:_MOST_NAMED]:
        print(f"left out: {one}", file=sys.stderr)
    if len(skipped) > _MOST_NAMED:
        print(f"left out: {len(skipped) - _MOST_NAMED:,} more", file=sys.stderr)


def _check(options: argparse.Namespace, found: Collection) -> None:
    """None; UserError for what could not be written, or would write over a result or another form."""
    if not found.loaded:
        raise UserError(
            f"there is no result to export in {', '.join(map(str, options.paths))}",
            allowed=f"{store.RESULT_FILE} files as trainbench wrote them, or directories that hold some",
            fix="python -m trainbench model=resnet50, and then the directory that it names",
        )
    if options.parquet == _STDOUT:
        raise UserError("Parquet is no text for standard output", fix="--parquet results.parquet")
    targets = [target for _, target in _targets(options)]
    inputs = {one.file.resolve() for one in found.loaded}
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise UserError(f"two forms would go to {target}", fix="name a file for each")
        if target.resolve() in inputs:
            raise UserError(f"{target} is one of the results", fix="name another file to write to")
    if options.tensorboard:
        from trainbench.results import export_tensorboard

        export_tensorboard.check_installed()


def _content(form: str, found: Collection, options: argparse.Namespace) -> bytes:
    if form in ("csv", "parquet"):
        # Imported late: polars is large, and the other forms don't need it.
        from trainbench.results import export_tables, table

        frame = table.frame(found)
        return export_tables.csv(frame) if form == "csv" else export_tables.parquet(frame)
    results = [one.result for one in found.loaded]
    if form == "dashboard":
        if unsteady := export_dashboard.passed_over(results):
            print(f"not on the dashboard: {unsteady:,} not steady", file=sys.stderr)
        return _json(export_dashboard.dashboard(results, options.dashboard_format))
    if form == "mlperf":
        lines = [line for result in results for line in export_mlperf.lines(result)]
    else:
        lines = [result.model_dump_json() for result in results]
    return "".join(f"{line}\n" for line in lines).encode()


def _json(content: Any) -> bytes:
    if not content:
        raise UserError(
            "none of the results has a figure for a dashboard",
            allowed="steady measurements, and forecasts, whose status is ok",
            fix="leave --dashboard out",
        )
    return (json.dumps(content, indent=2) + "\n").encode()


def _write(output: _Output) -> str:
    """A line on where it went."""
    if output.target == _STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(output.content)
        sys.stdout.buffer.flush()
    else:
        store.write_asked_for(output.target, output.content)
    return f"{output.form}: {output.target}"


def _write_tensorboard(directory: Path, found: Collection) -> str:
    from trainbench.results import export_tensorboard

    written = export_tensorboard.write((one.result for one in found.loaded), directory)
    return f"tensorboard: {directory}, {len(written):,} with figures (tensorboard --logdir {directory})"


def _counted(found: Collection) -> str:
    results = "result" if len(found.loaded) == 1 else "results"
    return f"{len(found.loaded):,} {results} exported"


def _columns() -> str:
    """The columns of the table, one a line."""
    from trainbench.results.columns import TABLES_OWN, columns

    head = ("column", "type", "unit", "scope", "what it says")
    rows = [head, *TABLES_OWN, *(_row(column) for column in columns())]
    rows.append(("config.KEY", "text", "", "", "the configuration, a column for each key that a run has"))
    widths = [max(len(row[number]) for row in rows) for number in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )


def _row(column: Any) -> tuple[str, str, str, str, str]:
    kind = f"list of {column.kind}" if column.listed else column.kind
    return column.name, kind, column.unit, column.scope, column.description
