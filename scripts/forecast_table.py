"""The table of forecasts: ResNet-50, ViT-B/16 and BERT-Large on one chip of each TPU generation.

  python scripts/forecast_table.py                            every row (hours where nothing is cached)
  python scripts/forecast_table.py --model vit_b16 --target v5e-1 v6e-1    these; the others stay as they are
  python scripts/forecast_table.py --check                    whether the documents have the rows of the CSV

Rows go to docs/forecasts.csv as they are made, then the table into README.md and docs/forecasts.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.forecast.tables import commands, documents, rows, table
from trainbench.reference import figures
from trainbench.results import store

ROOT = Path(__file__).resolve().parents[1]
CSV = Path("docs", "forecasts.csv")
# By document: whether it names the published figures.
DOCUMENTS = {Path("README.md"): False, Path("docs", "forecasts.md"): True}
RESULTS = Path("outputs", "forecast_table")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Make the rows that are asked for, or check the documents; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=table.MODELS, default=table.MODELS)
    parser.add_argument("--target", nargs="+", default=table.TARGETS)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return _check(root)
        _write(root)  # A document without a place for the table is told before hours are spent.
        _make([(model, target) for model in options.model for target in options.target], root)
        _write(root)
    except UserError as error:
        print(error, file=sys.stderr)
        return ExitCode.USER_ERROR
    return ExitCode.OK


def _make(wanted: Sequence[tuple[str, str]], root: Path) -> None:
    """Each row goes to the CSV as soon as it is made: the next one may take an hour."""
    for place, (model, target) in enumerate(wanted, 1):
        print(f"{place} of {len(wanted)}: {model} on {target}", file=sys.stderr, flush=True)
        overrides = table.overrides(model, target)
        result = commands.run(target, overrides, root / RESULTS / model)
        made = rows.row(result, commands.typed(target, overrides), figures.load())
        known = rows.merged(rows.read(root / CSV), made)
        store.write_whole(root / CSV, rows.written(known).encode())


def _write(root: Path) -> None:
    known = rows.read(root / CSV)
    for file, ids in DOCUMENTS.items():
        documents.write(root / file, table.NAME, table.markdown(known, ids=ids))


def _check(root: Path) -> int:
    known = rows.read(root / CSV)
    stale = [
        str(file)
        for file, ids in DOCUMENTS.items()
        if documents.differs(root / file, table.NAME, table.markdown(known, ids=ids))
    ]
    if stale:
        print(f"{', '.join(stale)}: not the table of {CSV}; run scripts/forecast_table.py", file=sys.stderr)
    return ExitCode.FAILED_CHECK if stale else ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
