"""`python -m trainbench report`: any results as one HTML page, as plots, or as text."""

import argparse
import shlex
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
      UserError: an unknown option, a path that is not there, no result below any, or a page or plots that
        can't be written.
    """
    options = _options(arguments)
    _check(options)
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


def _check(options: argparse.Namespace) -> None:
    """None; UserError where the page or the plots have no place, before anything is read."""
    if options.images and options.images.exists() and not options.images.is_dir():
        raise UserError(
            f"{options.images} is a file", allowed="a directory for the plots", fix="--images plots"
        )
    for target in filter(None, (options.out, options.images)):
        if not target.absolute().parent.is_dir():
            raise UserError(
                f"{target.parent} is no directory, so {target} cannot be written",
                allowed="a place in a directory that exists",
                fix=f"mkdir -p {shlex.quote(str(target.parent))}, or name another place",
            )


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
        left = f", {_many(len(found.skipped), 'file')} left out" if found.skipped else ""
        print(f"{_many(len(found.loaded), 'result')}{left}: {page}")
    if options.images:
        names = [
            store.write_asked_for(options.images / name, content)
            for name, content in images.images(document.plots(sections))
        ]
        print(f"{_many(len(names), 'image')} in {options.images}")


def _many(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
