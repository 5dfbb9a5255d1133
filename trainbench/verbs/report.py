"""`python -m trainbench report`: any results as one HTML page, as plots, or as text."""

import argparse
import sys
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.results import store
from trainbench.results.collect import Collection, collect
from trainbench.verbs.options import Parser, path

_PAGE = Path("report.html")
_FIX = "python -m trainbench report PATH... [--out FILE] [--images DIR] [--text]"
_OPTIONS = "PATH..., --out, --images, --text"
_MOST_NAMED = 3

HELP = """\
python -m trainbench report PATH... [--out FILE] [--images DIR] [--text]

All results found in files and directories, as one HTML page that works offline.

  PATH...            result files, or directories that hold some at any depth
  --out FILE         where the page goes; default: report.html
  --images DIR       write each plot as PNG and SVG too
  --text             print tables and sparklines instead of writing a page; with --out or --images as well

  python -m trainbench report outputs
  python -m trainbench report multirun/2026-11-22 --out sweep.html --images plots
  python -m trainbench report results --text"""


def show(arguments: list[str]) -> int:
    """Write the report of the results below the given paths, or print it.

    Raises:
      UserError: an unknown option, a path that is not there, no result below any, or a file that can't be
        written.
    """
    options = _options(arguments)
    found = collect(options.paths)
    if not found.loaded:
        raise _nothing(found)
    if options.text:
        _print_text(found)
    if options.out or options.images or not options.text:
        _write(found, options)
    return ExitCode.OK


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
    parser.add_argument("paths", metavar="PATH", nargs="+", type=path)
    parser.add_argument("--out", type=path)
    parser.add_argument("--images", type=path)
    parser.add_argument("--text", action="store_true")
    return parser.parse_intermixed_args(arguments)


def _nothing(found: Collection) -> UserError:
    named = [str(one) for one in found.skipped]
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return UserError(
        f"there is no result to report: {'; '.join(named[:_MOST_NAMED])}{more}",
        allowed=f"{store.RESULT_FILE} files as trainbench wrote them, or directories that hold some",
        fix="python -m trainbench model=resnet50, and then the directory that it names",
    )


def _print_text(found: Collection) -> None:
    # Imported late, like the page: neither needs what the other does.
    from trainbench.report import text

    text.write(found, sys.stdout)


def _write(found: Collection, options: argparse.Namespace) -> None:
    """None, after the page and the plots were written as far as they were asked for."""
    from trainbench.report.page import document, images

    sections = document.sections(found)
    if options.out or not options.text:
        page = store.write_asked_for(options.out or _PAGE, document.page(sections).encode())
        many = "file" if len(found.skipped) == 1 else "files"
        left = f", {len(found.skipped)} {many} left out" if found.skipped else ""
        print(f"{len(found.loaded):,} results{left}: {page}")
    if options.images:
        names = [
            store.write_asked_for(options.images / name, content)
            for name, content in images.images(document.plots(sections))
        ]
        print(f"{len(names)} images in {options.images}")
