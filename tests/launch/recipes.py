"""The recipes of scripts/launch, and programs that stand in for those that start them."""

import os
import shlex
import stat
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
LAUNCH = CHECKOUT / "scripts" / "launch"
TRAINBENCH = "-m trainbench "

# Writes its name and arguments down, each ended by a zero byte and all by one more; ends as it was told to.
_STAND_IN = """#!/bin/bash
printf '%s\\0' "$(basename "$0")" "$@" "" >> "$CALLS"
exit "${EXIT_CODE:-0}"
"""


def stand_ins(directory: Path, *names: str) -> dict[str, str]:
    """An environment in which these programs only write down, for `calls`, how they are called."""
    programs = directory / "programs"
    programs.mkdir()
    for name in names:
        program = programs / name
        program.write_text(_STAND_IN)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(directory / "calls")}


def calls(directory: Path) -> list[list[str]]:
    """What was called, in order: each time the program and its arguments."""
    written = directory / "calls"
    if not written.exists():
        return []
    return [call.split("\0") for call in written.read_text().removesuffix("\0\0").split("\0\0")]


def run(
    script: str, *arguments: str, directory: Path, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """A recipe's shell script as a user would start it from `directory`."""
    return subprocess.run(
        ["bash", str(LAUNCH / script), *arguments],
        cwd=directory,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def overrides_of(command: str) -> list[str]:
    """What stands after `python -m trainbench` in a line of shell."""
    return shlex.split(command.split(TRAINBENCH, 1)[1])
