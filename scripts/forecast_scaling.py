"""Scaling efficiency of a model from one chip to many, by forecasts, beside published figures.

  python scripts/forecast_scaling.py --model resnet50 --batch-size 128 \\
      --target v3-1 v3:2x2 v3:4x4 v3:8x8 v3:16x16 batch_norm=synchronised
  python scripts/forecast_scaling.py --model bert_large --batch-size 12 \\
      --target v3-1 v3:4x4 v3:16x16 sequence_length=512
  python scripts/forecast_scaling.py --model resnet50 --check

Rows go to docs/scaling_MODEL.csv as they are made; then the plot to docs/scaling_MODEL.png and .svg, and the
table into docs/scaling.md. The batch size is per device, and the same on every target.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.forecast.tables import commands, documents, rows, scaling
from trainbench.reference import figures
from trainbench.report import plots, scaling_chart
from trainbench.results import store

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = Path("docs", "scaling.md")
RESULTS = Path("outputs", "forecast_scaling")


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Make the rows that are asked for, the plot and the table; or check the table. The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="further KEY=VALUE for each forecast")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--target", nargs="+", default=[])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    try:
        if options.check:
            return _check(options.model, root)
        # A document without a place for the table is told before hours are spent.
        documents.check(root / DOCUMENT, _name(options.model))
        _make(options, root)
        _write(options.model, root)
    except UserError as error:
        print(error, file=sys.stderr)
        return ExitCode.USER_ERROR
    return ExitCode.OK


def _make(options: argparse.Namespace, root: Path) -> None:
    """Each row goes to the CSV as soon as it is made: the next one may take an hour."""
    typed = [word for word in options.target if "=" in word]
    targets = [word for word in options.target if "=" not in word]
    overrides = [f"model={options.model}", "precision=bf16", f"batch_size={options.batch_size}"]
    overrides += [*typed, *options.overrides]
    file = root / _csv(options.model)
    for place, target in enumerate(targets, 1):
        print(f"{place} of {len(targets)}: {options.model} on {target}", file=sys.stderr, flush=True)
        result = commands.run(target, overrides, root / RESULTS / options.model)
        made = rows.row(result, commands.typed(target, overrides), figures.load())
        store.write_whole(file, rows.written(rows.merged(rows.read(file), made)).encode())


def _csv(model: str) -> Path:
    return Path("docs", f"scaling_{model}.csv")


def _name(model: str) -> str:
    """Of the table in the document."""
    return f"scaling of {model}"


def _table(model: str, root: Path) -> str:
    known = rows.read(root / _csv(model))
    return scaling.markdown(known, scaling.published(known, figures.load()))


def _write(model: str, root: Path) -> None:
    documents.write(root / DOCUMENT, _name(model), _table(model, root))
    known = rows.read(root / _csv(model))
    found = [*scaling.points(known), *scaling.published(known, figures.load())]
    if not found:
        return
    chart = scaling_chart.scaling(found, f"Training {model} on ever more chips")
    for suffix, content in zip((".png", ".svg"), plots.images(chart), strict=True):
        store.write_whole((root / _csv(model)).with_suffix(suffix), content)


def _check(model: str, root: Path) -> int:
    if not documents.differs(root / DOCUMENT, _name(model), _table(model, root)):
        return ExitCode.OK
    print(f"{DOCUMENT}: not the table of {_csv(model)}; run scripts/forecast_scaling.py", file=sys.stderr)
    return ExitCode.FAILED_CHECK


if __name__ == "__main__":
    sys.exit(main())
