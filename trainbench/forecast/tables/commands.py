"""`python -m trainbench forecast` in a process of its own, for programs that make many forecasts."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.processes import child
from trainbench.results import store
from trainbench.results.record import Result


def typed(target: str, overrides: Sequence[str]) -> str:
    """The command as one types it, without where its file goes."""
    return shlex.join(["python", "-m", "trainbench", "forecast", f"target={target}", *overrides])


def run(target: str, overrides: Sequence[str], directory: Path) -> Result:
    """The record of one forecast, also of one that doesn't fit or failed; its progress shows on stderr.

    Args:
      directory: its file goes to a directory below this one.

    Raises:
      UserError: it was not made; why stands on stderr.
      KeyboardInterrupt: the user stopped it.
    """
    place = directory / target.replace(":", "-")
    store.set_aside(place)
    with open(os.devnull, "wb") as nowhere:
        arguments = ["forecast", f"target={target}", *overrides, "--dir", str(directory)]
        code = child.wait(child.start(arguments, nowhere.fileno()))
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if not (place / store.RESULT_FILE).exists():
        raise UserError(f"no forecast was made (exit code {code})", fix=typed(target, overrides))
    return store.read(place)
