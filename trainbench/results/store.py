"""Result files: written whole or not at all, and read back with a clear word on what is wrong."""

import errno
import json
import os
import secrets
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from trainbench.errors import UserError
from trainbench.results.record import SCHEMA_VERSION, Result

RESULT_FILE = "result.json"
PREVIOUS_FILE = "result.previous.json"
TRACEBACK_FILE = "traceback.txt"
_SHOWN_ERRORS = 3


def write(result: Result, directory: Path) -> Path:
    """The path of the `result.json` written into `directory`, which is created when it is missing.

    Raises:
      UserError: the directory can't be written to, or the disk is full.
      ValidationError: the record could not be read back (a copy that skipped validation).
    """
    text = result.model_dump_json(indent=2) + "\n"
    Result.model_validate_json(text, strict=True)
    return write_whole(directory / RESULT_FILE, text.encode())


def write_whole(target: Path, content: bytes) -> Path:
    """The path `target`, after `content` is there; its directory is created when it is missing.

    The bytes go to a temporary name in the same directory (a rename is atomic within one file system only),
    are flushed to the disk, and then renamed: a reader sees the old file, the new one or none, never a half.

    Raises:
      UserError: the directory can't be written to, or the disk is full.
    """
    directory = target.parent
    temporary = _temporary(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_through(temporary, content)
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(directory, error) from error
    finally:
        _remove(temporary)
    return target


def check_writable(directory: Path) -> None:
    """None; to be called before the expensive part of a run, so that it isn't lost for want of a directory.

    Creates the directory. A file is really written: permission bits say nothing about read-only mounts,
    quotas and the root user.

    Raises:
      UserError: the directory can't be created or written to.
    """
    temporary = _temporary(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_through(temporary, b"trainbench checks that results can be written here\n")
    except OSError as error:
        raise _cannot_write(directory, error) from error
    finally:
        _remove(temporary)


def set_aside(directory: Path) -> None:
    """Rename the result of an earlier run in `directory`, lest it be taken for that of the next one."""
    earlier = directory / RESULT_FILE
    if earlier.exists():
        os.replace(earlier, directory / PREVIOUS_FILE)
    (directory / TRACEBACK_FILE).unlink(missing_ok=True)


def read(path: Path) -> Result:
    """The record in the file `path`, or in the `result.json` of the directory `path`.

    Raises:
      UserError: no such file, not a result, damaged, or written by a newer trainbench.
    """
    file = path / RESULT_FILE if path.is_dir() else path
    text = _text(file)
    _check_version(file, text)
    try:
        return Result.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise UserError(
            f"{file} is not a valid result: {_first_errors(error)}",
            allowed=f"a {RESULT_FILE} of schema {SCHEMA_VERSION}, as trainbench wrote it",
            fix="leave this file out, or run the benchmark again",
        ) from error


def _temporary(directory: Path) -> Path:
    """A hidden name that no other process uses; opened with the user's umask, which mkstemp would ignore."""
    return directory / f".{RESULT_FILE}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _write_through(path: Path, content: bytes) -> None:
    """None, after the content is on the disk, not just in the page cache."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(temporary: Path) -> None:
    """None; an error here would only hide the one that matters."""
    try:
        temporary.unlink(missing_ok=True)
    except OSError:
        return


def _cannot_write(directory: Path, error: OSError) -> UserError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    first = "free some space there" if full else "make it a directory that you may write to"
    return UserError(
        f"cannot write results to {directory}: {error.strerror or error}",
        allowed="a directory that exists or can be created, with room for a few hundred kilobytes",
        fix=f"{first}, or choose another: hydra.run.dir=DIRECTORY (a sweep: hydra.sweep.dir=DIRECTORY)",
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UserError(
            f"there is no result at {file}",
            allowed=f"a {RESULT_FILE}, or the directory that holds one",
            fix="check the path; each run prints where its result file is",
        ) from error
    except UnicodeDecodeError as error:
        raise _damaged(file, "it is not UTF-8 text") from error
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {error.strerror or error}", fix="check its permissions"
        ) from error


def _check_version(file: Path, text: str) -> None:
    """None; looked at before the fields, as a newer schema would fail on those with a misleading message."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise _damaged(file, str(error)) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise _damaged(file, "it has no schema_version")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{file} was written by a newer trainbench (schema {version})",
            allowed=f"schema {SCHEMA_VERSION}",
            fix="upgrade trainbench to read it",
        )


def _no_constant(name: str) -> NoReturn:
    """Nothing: NaN and infinity are not JSON, though Python's parser takes them."""
    raise ValueError(f"it holds {name}, which is not JSON")


def _damaged(file: Path, why: str) -> UserError:
    return UserError(
        f"{file} is damaged or not a result: {why}",
        allowed=f"a {RESULT_FILE} as trainbench wrote it",
        fix="leave this file out, or run the benchmark again",
    )


def _first_errors(error: ValidationError) -> str:
    """The first few complaints on one line, each as "field: what is wrong"."""
    found = error.errors(include_url=False)
    shown = [f"{'.'.join(str(part) for part in item['loc']) or 'record'}: {item['msg']}" for item in found]
    more = f"; and {len(shown) - _SHOWN_ERRORS} more" if len(shown) > _SHOWN_ERRORS else ""
    return "; ".join(shown[:_SHOWN_ERRORS]) + more
