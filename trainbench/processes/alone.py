"""A directory that one process at a time writes its benchmarks into."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trainbench.errors import UserError
from trainbench.results import store


@contextmanager
def alone(directory: Path, lock_file: str, *, what: str, option: str) -> Iterator[None]:
    """The directory, which is made if it is missing, belongs to this process in here.

    Args:
      lock_file: the name of the file in it that is locked; it stays, as removing it could unlock another's.
      what: who is told to be there already, such as "another sweep".
      option: how another directory is named, such as "--dir DIR".

    Raises:
      UserError: another process has it, or it cannot be written to.
    """
    store.check_writable(directory)
    lock = FileLock(directory / lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{what} is writing into {directory}",
            allowed="one at a time in a directory; on one machine they'd also spoil each other's times",
            fix=f"wait until it ends, or choose another directory: {option}",
        ) from None
    except OSError as error:
        raise UserError(
            f"{lock.lock_file} cannot be locked: {error.strerror or error}",
            fix=f"choose a directory of your own: {option}",
        ) from None
    with lock:
        yield
