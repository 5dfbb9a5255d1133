"""The files of checkpoints: which there are, whether they are whole, what is in them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from trainbench.results import store
from trainbench.training.state import TrainState

# Beside a checkpoint, hidden: the sizes of its files, by which a damaged one is found and named.
SIZES = ".{step}.sizes.json"


def note_sizes(directory: Path, step: int) -> None:
    """Write down how large each file of a checkpoint is."""
    sizes = json.dumps(_sizes(directory / str(step)))
    store.write_whole(directory / SIZES.format(step=step), sizes.encode())
    forget_gone(directory)


def forget_gone(directory: Path) -> None:
    """Remove what was written down of checkpoints that are gone; another may come to have the name of one."""
    for file in directory.glob(SIZES.format(step="*")):
        if not (directory / file.name.split(".")[1]).is_dir():
            file.unlink(missing_ok=True)


def steps_in(directory: Path) -> tuple[int, ...]:
    """The steps of the checkpoints in a directory, oldest first; an unfinished save has another name."""
    return tuple(sorted(int(path.name) for path in directory.glob("*") if path.name.isdigit()))


def damage(directory: Path, step: int) -> str | None:
    """What is missing from a checkpoint, with the file's name; None when nothing is known to be.

    A process that was killed right after a save has not written the sizes down: nothing is known then.
    """
    try:
        expected: Mapping[str, Any] = json.loads((directory / SIZES.format(step=step)).read_text())
    except (OSError, ValueError):
        return None
    found = _sizes(directory / str(step))
    for name, size in expected.items():
        if name not in found:
            return f"{step}/{name} is missing"
        if found[name] != size:
            return f"{step}/{name} has {found[name]} bytes in place of {size}"
    return None


def _sizes(directory: Path) -> dict[str, int]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): path.stat().st_size for path in files}


def array_names(state: TrainState) -> dict[str, str]:
    """ "dtype[shape]" of each array of a state, abstract or not, by path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in leaves
    }
