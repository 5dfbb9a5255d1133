"""Compiled programs on the disk: compiling one takes minutes, and it comes out the same every time.

An entry is a JSON file, and beside it the program as compressed HLO text where there is one.
"""

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainbench.errors import UserError
from trainbench.forecast.compiler.program import Outcome, Program, ProgramMemory, TooLarge
from trainbench.forecast.targets import Target
from trainbench.results import store

FORMAT = 1


def key(stablehlo: str, target: Target, versions: Mapping[str, str | None]) -> str:
    """The name of the entry for this program: of everything that decides what the compiler makes of it.

    Args:
      versions: of the compiler, with the flags that are set for it.
    """
    parts = [FORMAT, target.topology, sorted(target.options.items()), sorted(versions.items()), stablehlo]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def save(entry: Path, model: str, chip: str, outcome: Outcome) -> None:
    """Write an entry, whose path ends in .json, with the names of what was compiled for what.

    Raises:
      UserError: the directory cannot be written to.
    """
    stored = dataclasses.asdict(outcome)
    try:
        if isinstance(outcome, Program):
            # First, so that there is none without its program.
            store.write_whole(_program(entry), gzip.compress(stored.pop("hlo").encode(), mtime=0))
        text = json.dumps({"model": model, "chip": chip, "outcome": stored}, indent=1)
        store.write_whole(entry, text.encode())
    except UserError as error:
        raise UserError(
            f"the compiled program cannot be kept: {error.problem}",
            allowed="a cache directory that can be written to",
            fix="TRAINBENCH_CACHE=DIRECTORY python -m trainbench forecast ...",
        ) from None


def load(entry: Path) -> Outcome | None:
    """The outcome of an entry; None if there is none, or what is there cannot be read."""
    try:
        found = json.loads(entry.read_bytes())["outcome"]
        if "memory" not in found:
            return TooLarge(**found)
        hlo = gzip.decompress(_program(entry).read_bytes()).decode()
        if not hlo:
            return None
        return Program(**found | {"hlo": hlo, "memory": ProgramMemory(**found["memory"])})
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None


def earlier_compile_s(directory: Path, model: str, chip: str) -> float | None:
    """How long the model's last compilation took: for this chip, else for another; None for the first."""
    times = sorted(_compile_times(directory, model), key=lambda time: (time[0] == chip, time[1]))
    return times[-1][2] if times else None


def _compile_times(directory: Path, model: str) -> Iterator[tuple[str, float, float]]:
    """(chip, when, seconds) of every entry of the model that was really compiled."""
    for file in directory.glob("*.json"):
        try:
            entry: dict[str, Any] = json.loads(file.read_bytes())
            if entry["model"] == model and entry["outcome"]["compile_s"]:
                yield entry["chip"], file.stat().st_mtime, entry["outcome"]["compile_s"]
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _program(entry: Path) -> Path:
    return entry.with_suffix(".hlo.gz")
