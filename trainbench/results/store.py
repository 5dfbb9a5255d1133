"""Result files: written whole or not at all, and read back with a clear word on what is wrong."""

import errno
import os
import secrets
import stat
from pathlib import Path

from trainbench.errors import UserError
from trainbench.results import decode
from trainbench.results.record import Result

RESULT_FILE = "result.json"
PREVIOUS_FILE = "result.previous.json"
TRACEBACK_FILE = "traceback.txt"
# Thousands of times what one run writes: more than that is something else, and would fill the memory.
LARGEST = 64 * 2**20
_UP_TO = f"a result file of at most {LARGEST // 2**20} MiB"


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


def write_asked_for(file: Path, content: bytes) -> Path:
    """The path of a file that the user named, after `content` is there, written as `write_whole` does.

    A link stays a link; a device or a pipe is written into, as a rename would put a file in its place.

    Raises:
      UserError: it is a directory, can't be written, or the disk is full.
    """
    fix = "name a file that you may write"
    if os.path.isdir(file):
        raise UserError(f"{file} is a directory", allowed="the name of a file", fix=fix)
    try:
        if os.path.exists(file) and not os.path.isfile(file):
            file.write_bytes(content)
        else:
            write_whole(Path(os.path.realpath(file)), content)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}", fix=fix) from error
    except UserError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.problem
        raise UserError(f"cannot write {file}: {reason}", fix=fix) from error
    return file


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


def remove_empty(directory: Path) -> None:
    """None; `directory` and those around it, below the working directory, are gone as far as empty."""
    here = Path.cwd()
    for path in (directory.absolute(), *directory.absolute().parents):
        if path == here or path in here.parents:
            return
        try:
            path.rmdir()
        except OSError:
            return


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
    file = path / RESULT_FILE if os.path.isdir(path) else path
    try:
        return decode.record(content(file))
    except FileNotFoundError as error:
        raise UserError(
            f"there is no result at {file}",
            allowed=f"a {RESULT_FILE}, or the directory that holds one",
            fix="check the path; each run prints where its result file is",
        ) from error
    except decode.Unreadable as error:
        raise UserError(f"{file} {error.why}", allowed=error.allowed, fix=error.fix) from error


def content(file: Path) -> bytes:
    """The bytes of a result file. A pipe or a device in its place is not waited for.

    Raises:
      FileNotFoundError: there is none.
      Unreadable: it can't be read, is no ordinary file, or is too large for a result.
    """
    try:
        with open(file, "rb", opener=_without_waiting) as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise decode.Unreadable("is not an ordinary file", allowed="a result file")
            if status.st_size > LARGEST:
                size = f"{status.st_size / 2**20:,.0f} MiB"
                raise decode.Unreadable(f"is too large for a result: {size}", allowed=_UP_TO)
            return opened.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        why = f"cannot be read: {error.strerror or error}"
        raise decode.Unreadable(why, fix="check its permissions") from error


def _without_waiting(path: str, flags: int) -> int:
    """A descriptor; opening a named pipe would else wait until somebody writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


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
