"""What goes wrong while a data set is prepared, in a user's words."""

import contextlib
import errno
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.util import DownloadError

from trainbench import extras
from trainbench.data import catalogue
from trainbench.data.stored import Reference
from trainbench.errors import UserError, first_line

# ArrayRecord's writer reports what the system said as text alone.
_NO_SPACE_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_SPACE_TEXTS = ("No space left", "quota exceeded", "File too large", "Not enough disk space")

_WITHOUT_NETWORK = "data=digits, data=photos, data=kjv and data=synthetic need no network"


@contextlib.contextmanager
def explained(name: str, directory: Path, command: str) -> Iterator[None]:
    """Errors of the disk and of the network become the user's to mend.

    Raises:
      UserError: instead of these, and instead of one that TFDS wrapped in another.
    """
    try:
        yield
    except Exception as error:
        chain = list(_chain(error))
        for each in chain:
            if isinstance(each, UserError):
                raise each from None
        found = _space(chain, directory, command) or _network(chain, name, directory, command)
        found = found or _system(chain, directory)
        if found is None:
            raise
        raise found from error


@contextlib.contextmanager
def of_builder(builder: Any, manual_dir: str | None, command: str) -> Iterator[None]:
    """Errors that come of what the builder itself needs become the user's to mend.

    Raises:
      UserError: a package is missing, or a file that the user must obtain.
    """
    try:
        yield
    except Exception as error:
        chain = list(_chain(error))
        if any(isinstance(each, UserError) for each in chain):
            raise
        found = _package(chain, builder) or _manual(chain, builder, manual_dir, command)
        if found is None:
            raise
        raise found from error


def download_not_allowed(name: str, builder: Any, command: str) -> UserError:
    return UserError(
        f"preparing {name} downloads {catalogue.downloads(type(builder))}",
        allowed=f"data.download=true, which lets it; {_WITHOUT_NETWORK}",
        fix=f"{command} data.download=true",
    )


def no_network(name: str, directory: Path, reason: str) -> UserError:
    return UserError(
        f"{name} cannot be downloaded: {reason}",
        allowed=f"a machine with network; {_WITHOUT_NETWORK}",
        fix=f"prepare it on another machine, and copy its data.dir to {directory}; or data=digits",
    )


def no_such_version(reference: Reference, builder_class: Any, error: Exception) -> UserError:
    versions = sorted({str(builder_class.VERSION), *map(str, builder_class.SUPPORTED_VERSIONS)} - {"None"})
    # TFDS puts all the arguments before what it has to say.
    reason = str(error).splitlines()[0].rpartition('": ')[2]
    return UserError(
        f"data.name={reference} cannot be prepared: {reason}",
        allowed=f"versions {', '.join(versions)}" if versions else f"data.name={reference.base}",
        fix=f"data.name={Reference(reference.base, reference.config)}",
    )


def require_beam(reference: Reference) -> None:
    """Nothing if Apache Beam is installed.

    Raises:
      UserError: it is not.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            f"preparing {reference} needs Apache Beam, which is not installed: it is made on a cluster",
            allowed="a copy of the set as prepared elsewhere; or the package apache-beam, and much time",
            fix=f"copy {reference.base}/ into data.dir; or pip install apache-beam; or data=kjv",
        )


def _package(chain: list[BaseException], builder: Any) -> UserError | None:
    text = " ".join(
        str(each) for each in chain if isinstance(each, ImportError) or "No module named" in str(each)
    )
    if not text:
        return None
    name = builder.info.full_name
    if "tensorflow" in text.lower():
        return UserError(
            f"preparing {name} needs TensorFlow, which is not installed; reading it afterwards does not",
            allowed="TensorFlow on this machine, or a copy of the set as prepared on another",
            fix=extras.install("prepare"),
        )
    missing = next((each.name for each in chain if isinstance(each, ImportError) and each.name), None)
    return UserError(
        f"preparing {name} needs a package that is not installed: {text.splitlines()[0]}",
        allowed="the package, or a copy of the set as prepared on another machine",
        fix=f"pip install {(missing or 'PACKAGE').partition('.')[0].replace('_', '-')}",
    )


def _manual(
    chain: list[BaseException], builder: Any, manual_dir: str | None, command: str
) -> UserError | None:
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not instructions or _says_no_space(chain) or not any(map(_says_no_file, chain)):
        return None
    where = f"data.manual_dir={manual_dir} lacks them" if manual_dir else "data.manual_dir is not given"
    return UserError(
        f"preparing {builder.info.full_name} needs files that you must obtain yourself; {where}",
        allowed=" ".join(instructions.split()),
        fix=f"{command} data.manual_dir=DIR",
    )


def _space(chain: list[BaseException], directory: Path, command: str) -> UserError | None:
    if not _says_no_space(chain):
        return None
    return UserError(
        f"the disk of {directory} is full, or a quota is used up: {_free(directory)} "
        f"({first_line(chain[0])})",
        allowed="room for the set, and as much again for what is downloaded; nothing half-written is kept",
        fix=f"make room, or choose another disk with data.dir=DIR, and again: {command}",
    )


def _network(chain: list[BaseException], name: str, directory: Path, command: str) -> UserError | None:
    for each in chain:
        if isinstance(each, NonMatchingChecksumError):
            return UserError(
                f"what was downloaded for {name} is not what TFDS expects: {first_line(each)}",
                allowed="the files as their authors published them",
                fix=f"delete {directory / 'downloads'} and try again: {command} data.download=true",
            )
        if isinstance(each, (requests.RequestException, DownloadError)):
            return no_network(name, directory, first_line(each))
    return None


def _system(chain: list[BaseException], directory: Path) -> UserError | None:
    for each in chain:
        if isinstance(each, OSError) and _concerns(each, directory):
            return UserError(
                f"{directory} cannot be written to: {each.strerror or first_line(each)}",
                allowed="a directory that exists or can be made, and written to",
                fix="choose a writable directory with data.dir=DIR or the variable TRAINBENCH_CACHE",
            )
    return None


def _concerns(error: OSError, directory: Path) -> bool:
    """True if the error is about the directory, something in it, or one that it lies in."""
    if not isinstance(error.filename, str):
        return False
    path = Path(error.filename)
    return path.is_relative_to(directory) or directory.is_relative_to(path)


def _says_no_file(error: BaseException) -> bool:
    # Builders assert that their files are there; TensorFlow has an error of its own for those that are not.
    return isinstance(error, (AssertionError, FileNotFoundError)) or type(error).__name__ == "NotFoundError"


def _says_no_space(chain: list[BaseException]) -> bool:
    return any(
        getattr(each, "errno", None) in _NO_SPACE_NUMBERS
        or any(text in str(each) for text in _NO_SPACE_TEXTS)
        for each in chain
    )


def _free(directory: Path) -> str:
    place = next(path for path in (directory, *directory.parents) if path.exists())
    return f"{tfds.core.utils.Size(shutil.disk_usage(place).free)} are free without what was half-written"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
