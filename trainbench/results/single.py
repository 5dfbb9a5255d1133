"""The one result that a user names, by its file or by the directory that holds it."""

import os
import shlex
from pathlib import Path

from trainbench.errors import UserError
from trainbench.results import store
from trainbench.results.collect import Loaded, collect, printable

_SHOWN = 3


def read(file: Path, command: str) -> Loaded:
    """The result in the file, or in the `result.json` of the directory.

    Args:
      command: what was typed up to the path, for what to type instead.

    Raises:
      UserError: there is none, or the directory has none itself, but others below it.
    """
    _check_holds_one(file, command)
    return Loaded(file / store.RESULT_FILE if os.path.isdir(file) else file, store.read(file))


def read_run(file: Path, command: str) -> Loaded:
    """`read`, of a measured run that says how it was configured.

    Raises:
      UserError: also where it was not measured, or does not say.
    """
    loaded = read(file, command)
    result = loaded.result
    if result.kind != "measured":
        raise UserError(
            f"{file} is a {result.kind}, which ran no benchmark here",
            allowed="the result of a measured run",
            fix=f"{command}RESULT",
        )
    if not result.config:
        raise UserError(
            f"{file} does not say how it was configured",
            allowed="a result with its configuration",
            fix=f"repeat its command: {printable(result.command)}",
        )
    return loaded


def _check_holds_one(directory: Path, command: str) -> None:
    if not os.path.isdir(directory) or (directory / store.RESULT_FILE).exists():
        return
    found = [str(loaded.file) for loaded in collect([directory]).loaded]
    if found:
        more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UserError(
            printable(f"{directory} has no {store.RESULT_FILE} of its own"),
            allowed=printable(f"below it: {', '.join(found[:_SHOWN])}{more}"),
            fix=printable(f"{command}{shlex.quote(found[0])}"),
        )
