"""Every result below the given paths, and every file that could not be one, with the reason."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trainbench.errors import UserError
from trainbench.results import decode, store
from trainbench.results.record import Result


@dataclass(frozen=True)
class Loaded:
    """A record and the file it is in."""

    file: Path
    result: Result


@dataclass(frozen=True)
class Skipped:
    """A file or directory that gave no record; its text is one printable line, whatever its name holds."""

    file: Path
    why: str  # a predicate: "is damaged or not a result: ..."
    kind: Literal["damaged", "copy", "empty"] = "damaged"

    def __str__(self) -> str:
        return printable(f"{self.file} {self.why}")


@dataclass(frozen=True)
class Collection:
    """What some paths hold: records in the order of the paths and then of the names, and what is left out."""

    loaded: tuple[Loaded, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _Candidate:
    """A file that may be a result; `expected` when it should be: named by the user, or called result.json."""

    file: Path
    expected: bool


def collect(paths: Iterable[Path]) -> Collection:
    """The results in these files and anywhere below these directories.

    Below a directory a result is any `result.json`, and any other `*.json` that holds one. Sound JSON of
    something else is passed over there, unless it is called result.json; so are hidden files, earlier results
    that a run has set aside, and in hidden directories all but `result.json`. Links are followed. A file that
    is reached twice, and a copy of a run that is there already (by its id), count once.

    Raises:
      UserError: there is nothing at one of the paths.
    """
    paths = tuple(paths)
    skipped: list[Skipped] = []
    below = {path: {_identity(one.file): one for one in _at(path, skipped)} for path in paths}
    loaded: dict[str, Loaded] = {}
    passed_over = set()
    for identity, candidate in _merged(below.values()).items():
        try:
            result = decode.record(store.content(candidate.file))
        except decode.Unreadable as error:
            if error.foreign and not candidate.expected:
                passed_over.add(identity)
            else:
                skipped.append(Skipped(candidate.file, error.why))
        except FileNotFoundError:
            skipped.append(Skipped(candidate.file, "is gone, or is a link to nothing"))
        else:
            first = loaded.setdefault(result.id, Loaded(candidate.file, result))
            if first.result is not result:
                why = f"is a copy of {first.file}: both hold the run {result.id}"
                skipped.append(Skipped(candidate.file, why, "copy"))
    told = {one.file for one in skipped}
    empty = [path for path in paths if path not in told and below[path].keys() <= passed_over]
    skipped += [Skipped(path, "holds no result file", "empty") for path in dict.fromkeys(empty)]
    return Collection(tuple(loaded.values()), tuple(skipped))


def printable(text: str) -> str:
    """`text` on one line without control characters, which names and records may hold.

    >>> printable("two\\nlines and \\x1b[31mred")
    'two?lines and ?[31mred'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _merged(several: Iterable[dict[object, _Candidate]]) -> dict[object, _Candidate]:
    """Each file once, by its first name; expected if any of the ways that lead to it says so."""
    found: dict[object, _Candidate] = {}
    for candidates in several:
        for identity, candidate in candidates.items():
            known = found.setdefault(identity, candidate)
            if candidate.expected and not known.expected:
                found[identity] = replace(known, expected=True)
    return found


def _at(path: Path, skipped: list[Skipped]) -> Iterator[_Candidate]:
    if os.path.isdir(path):  # unlike Path's, False for a name that is too long
        yield from _below(path, skipped)
    elif os.path.lexists(path):
        yield _Candidate(path, expected=True)
    else:
        raise UserError(
            f"there is nothing at {path}",
            allowed="result files, or directories that hold some",
            fix="check the path",
        )


def _below(top: Path, skipped: list[Skipped]) -> Iterator[_Candidate]:
    """The files to look into, in the order of their names; what can't be looked into goes to `skipped`."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(Path(error.filename), f"cannot be read: {error.strerror}"))

    seen = {_identity(top)}
    for here, directories, files in os.walk(top, followlinks=True, onerror=unreadable):
        at = Path(here)
        if store.RESULT_FILE in directories:
            skipped.append(Skipped(at / store.RESULT_FILE, "is a directory"))
        directories[:] = sorted(name for name in directories if _is_new(at / name, seen))
        hidden = any(part.startswith(".") for part in at.relative_to(top).parts)
        for name in sorted(files):
            if name == store.RESULT_FILE or (not hidden and _may_be_a_result(name)):
                yield _Candidate(at / name, expected=name == store.RESULT_FILE)


def _may_be_a_result(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".") and name != store.PREVIOUS_FILE


def _is_new(directory: Path, seen: set[object]) -> bool:
    """Whether it is met for the first time: a link to a directory above would else go round for ever."""
    identity = _identity(directory)
    new = identity not in seen
    seen.add(identity)
    return new


def _identity(path: Path) -> object:
    """Equal for two names of one file; the name itself where the system can't tell."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino
