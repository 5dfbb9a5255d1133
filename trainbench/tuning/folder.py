"""The directory of a tuning session: whose it is, and whether an earlier session goes on in it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from trainbench.errors import UserError
from trainbench.processes.alone import alone
from trainbench.results import store
from trainbench.tuning.session import Asked
from trainbench.tuning.trials import TRIALS

NOTE = "tune.json"
LOCK = ".tune.lock"
ROOT = Path("outputs", "tune")


def choose(asked: Asked, named: Path | None) -> Path:
    """The directory that was named, that of an unfinished session which asked the same, or a new one.

    Raises:
      UserError: what is named holds another session.
    """
    if named is None:
        unfinished = [file.parent for file in ROOT.glob(f"*/*/{NOTE}") if _goes_on(file, asked)]
        now = datetime.now()
        return max(unfinished, default=ROOT / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S-%f}")
    known = _read(named / NOTE)
    if known and known.get("asked") != _wanted(asked):
        raise UserError(
            f"{named} holds a session that was asked for something else: {shlex.join(known['asked'])}",
            allowed="the same, to go on with it; minutes may be more",
            fix="name another directory: --dir DIR",
        )
    return named


@contextmanager
def held(directory: Path, asked: Asked) -> Iterator[None]:
    """The directory belongs to this session in here; it is gone again if the session never came to a trial.

    Raises:
      UserError: another session is writing into it, or it cannot be written to.
    """
    mine = False
    try:
        with alone(directory, LOCK, what="another tune", option="--dir DIR"):
            mine = True
            _note(directory, asked, finished=False)
            yield
    finally:
        if mine and not (directory / TRIALS).exists():
            for name in (NOTE, LOCK):
                (directory / name).unlink(missing_ok=True)
            store.remove_empty(directory)


def finish(directory: Path, asked: Asked) -> None:
    """None; the same command then begins anew."""
    _note(directory, asked, finished=True)


def _note(directory: Path, asked: Asked, *, finished: bool) -> None:
    content = {"asked": _wanted(asked), "minutes": asked.minutes, "finished": finished}
    store.write_whole(directory / NOTE, (json.dumps(content, indent=2) + "\n").encode())


def _wanted(asked: Asked) -> list[str]:
    """What has to be the same for a session to go on, as it would be typed; its time may be another."""
    words = [*asked.overrides]
    if asked.levers is not None:
        words.append(f"levers={','.join(asked.levers)}")
    if asked.batches is not None:
        batches = asked.batches if isinstance(asked.batches, str) else ",".join(map(str, asked.batches))
        words.append(f"batch_size={batches}")
    return [*words, "--seed", str(asked.seed), *["--table-only"] * asked.table_only]


def _goes_on(file: Path, asked: Asked) -> bool:
    known = _read(file)
    return known.get("asked") == _wanted(asked) and not known.get("finished", True)


def _read(file: Path) -> Mapping[str, Any]:
    """What the note says; nothing where there is none, or a damaged one."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("asked"), list) else {}
