"""What a checkpoint is of: all in the configuration that makes the training, and its timing, what it is."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainbench.checkpoints.settings import CheckpointConfig
from trainbench.errors import UserError
from trainbench.results.compare_pairs import flattened

# Where checkpoints go by default, below the working directory.
ROOT = "checkpoints"
# Keys that may change while a run goes on: how many devices there are and how they are found, what happens
# beside the training and after it, what its speed is compared with.
APART = (
    "parallel",
    "distributed",
    "timeout_s",
    "checkpoint",
    "trace",
    "reproduce",
    "price_per_hour",
    "reference",
)
DIGITS = 10
# Differences that a message names.
MOST_SHOWN = 3


def identity(tree: Mapping[str, Any], config: CheckpointConfig) -> dict[str, Any]:
    """The part of a composed configuration that a run must share with the one that it goes on from.

    Where saves count in the timed window they are a part of what is measured.
    """
    kept = {key: value for key, value in tree.items() if key not in APART}
    return kept | ({"checkpoint": {"timed": True, "every": config.every}} if config.timed else {})


def directory(model: str, settings: Mapping[str, Any], config: CheckpointConfig) -> Path:
    """Where the checkpoints of a run with these settings are; the same in every process.

    Raises:
      UserError: it is no directory of a file system.
    """
    if config.dir is not None and "://" in config.dir:
        raise UserError(
            f"checkpoint.dir={config.dir} is no directory of a mounted file system",
            allowed="a path; a bucket where it is mounted, for example with gcsfuse",
            fix="checkpoint.dir=DIRECTORY",
        )
    if config.dir is not None:
        return Path(config.dir).expanduser().absolute()
    text = json.dumps(settings, sort_keys=True)
    return Path(ROOT, f"{model}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}").absolute()


def different_settings(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The settings in which two identities differ, such as "seed is 0 there and 1 here"."""
    old, new = dict(flattened(there)), dict(flattened(here))
    return [
        f"{key} is {old.get(key)} there and {new.get(key)} here"
        for key in sorted(old.keys() | new.keys())
        if json.dumps(old.get(key)) != json.dumps(new.get(key)) or (key in old) != (key in new)
    ]


def different_arrays(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What two states don't share, such as "params/head/bias is float32[10] there and float32[5] here"."""
    return [
        f"{name} is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here"
        for name in dict.fromkeys((*here, *there))
        if there.get(name) != here.get(name)
    ]


def first_few(differences: list[str]) -> str:
    """Some of them, and how many there are more."""
    rest = len(differences) - MOST_SHOWN
    return "; ".join(differences[:MOST_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")
