"""The real command line, in processes of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema

from trainbench.results.record import schema

FAST = ("measure=quick", "steps=6", "warmup=1")
# In place of `-m trainbench`, where it doesn't matter how long the step without input is measured.
BRIEF = (
    "-c",
    "from trainbench import autos; autos.SHORT_BLOCK_S = 0.05; from trainbench.__main__ import main; main()",
)


def environment(cache: Path) -> dict[str, str]:
    """A user's environment with that cache, one CPU device, and no colours."""
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return kept | {"TRAINBENCH_CACHE": str(cache), "PYTHONWARNINGS": "default"}


def run(
    cache: Path,
    directory: Path,
    *arguments: str,
    module: tuple[str, ...] = ("-m", "trainbench"),
    timeout_s: float = 300,
    **extra: str,
) -> "subprocess.CompletedProcess[str]":
    """A whole run, in that directory, with `extra` variables in its environment."""
    return subprocess.run(
        [sys.executable, *module, *arguments],
        cwd=directory,
        env=environment(cache) | extra,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


@contextmanager
def running_until(
    words: str, arguments: list[str], cache: Path, directory: Path
) -> Iterator["subprocess.Popen[str]"]:
    """A run whose progress has come to a line with these words; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainbench", *arguments, "hydra.run.dir=out"],
        cwd=directory,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if words in line:
                    break
            yield process
        finally:
            process.kill()


def result_of(directory: Path) -> dict[str, Any]:
    """The valid record in a directory."""
    record: dict[str, Any] = json.loads((directory / "result.json").read_text())
    jsonschema.validate(record, schema())
    return record
