"""The file in a directory of checkpoints that tells whose they are, and which processes wrote them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from trainbench.errors import UserError
from trainbench.results import store

FILE = "run.json"

Ended = Literal["ok", "interrupted", "failed", "killed"]


@dataclass(frozen=True)
class Part:
    """One process, or group of processes, that worked on a run; `ended` is None while it does."""

    started_utc: datetime
    first_step: int
    device_count: int
    process_count: int
    ended: Ended | None = None


@dataclass(frozen=True)
class Journal:
    """Whose checkpoints these are.

    Attributes:
      settings: what the run must share with one that goes on from here.
      arrays: "dtype[shape]" of each array of the state, by path.
      finished: whether the run came to its end.
    """

    model: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, str]
    parts: tuple[Part, ...] = ()
    finished: bool = False

    def begun(self, part: Part) -> "Journal":
        """The same with one more part; those before it that did not say how they ended were killed."""
        before = (dataclasses.replace(one, ended=one.ended or "killed") for one in self.parts)
        return dataclasses.replace(self, parts=(*before, part))

    def ended(self, how: Ended, *, finished: bool) -> "Journal":
        """The same after its last part has ended."""
        last = dataclasses.replace(self.parts[-1], ended=how)
        return dataclasses.replace(self, parts=(*self.parts[:-1], last), finished=finished)


_FORM = TypeAdapter(Journal)


def read(directory: Path) -> Journal | None:
    """The journal of a directory; None where nothing was ever saved.

    Raises:
      UserError: it is damaged, or there are checkpoints and no journal.
    """
    file = directory / FILE
    try:
        return _FORM.validate_json(file.read_bytes())
    except FileNotFoundError:
        strangers = [path.name for path in directory.glob("*") if path.name.isdigit()]
    except (OSError, ValidationError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "damaged"
        raise _not_ours(directory, f"{file} cannot be read: {why}") from None
    if strangers:
        raise _not_ours(directory, f"{directory} holds checkpoints and no {FILE}: another program wrote them")
    return None


def write(directory: Path, journal: Journal) -> None:
    """Replace the journal of a directory, as a whole."""
    store.write_whole(directory / FILE, _FORM.dump_json(journal, indent=1))


def _not_ours(directory: Path, problem: str) -> UserError:
    return UserError(
        problem,
        allowed="a directory that is new, empty, or written by the same run",
        fix=f"move it away (mv {directory} {directory}.old), or choose another: checkpoint.dir=DIRECTORY",
    )
