"""What lies in a directory of TFDS data sets: DIR/NAME/[CONFIG/]VERSION, each with a dataset_info.json."""

import fnmatch
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbench.errors import UserError

DESCRIPTION = "dataset_info.json"

_WORD = re.compile(r"[A-Za-z]\w*")
_CONFIG = re.compile(r"[\w.+-]+")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_VERSION_PATTERN = re.compile(r"(\d+|\*)\.(\d+|\*)\.(\d+|\*)")


@dataclass(frozen=True)
class Reference:
    """A data set by name; `config` and `version` are None where any will do."""

    base: str
    config: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return (
            self.base
            + (f"/{self.config}" if self.config else "")
            + (f":{self.version}" if self.version else "")
        )


@dataclass(frozen=True)
class Stored:
    """A prepared data set; `config` is empty for a set without configurations."""

    reference: Reference
    path: Path


def parse(name: str) -> Reference:
    """The reference that a user's text names.

    >>> parse("glue/sst2:1.0.0")
    Reference(base='glue', config='sst2', version='1.0.0')
    >>> parse("food101/2.0.0")
    Reference(base='food101', config=None, version='2.0.0')

    Raises:
      UserError: the text has another form.
    """
    base, *rest = re.split("[/:]", name)
    version = rest.pop() if rest and _VERSION_PATTERN.fullmatch(rest[-1]) else None
    config = rest.pop() if rest else None
    if rest or not _WORD.fullmatch(base) or (config is not None and not _CONFIG.fullmatch(config)):
        raise UserError(
            f"data.name={name} is not the name of a data set",
            allowed="NAME, NAME/CONFIG, NAME:VERSION or NAME/CONFIG:VERSION",
            fix="data.name=imagenet2012, data.name=wikipedia/20230601.en or data.name=digits",
        )
    return Reference(base, config, version)


def stored(base: str, directory: Path) -> list[Stored]:
    """Every prepared configuration and version of the set `base`, oldest version first.

    Raises:
      OSError: the directory cannot be read.
    """
    found = []
    for outer in _subdirectories(directory / base):
        candidates = [outer] if _VERSION.fullmatch(outer.name) else _subdirectories(outer)
        for path in candidates:
            if _VERSION.fullmatch(path.name) and (path / DESCRIPTION).exists():
                config = "" if path is outer else outer.name
                found.append(Stored(Reference(base, config, path.name), path))
    return sorted(found, key=_age)


def bases(directory: Path) -> list[str]:
    """The names of all sets that lie prepared in a directory."""
    return [path.name for path in _subdirectories(directory) if stored(path.name, directory)]


def find(reference: Reference, directory: Path) -> Stored | None:
    """The prepared set that `reference` means, or None.

    Where no configuration is named it is the default one, as the set's own metadata gives it, and without
    those the only one that lies there. Of several versions it is the newest.
    """
    matching = [each for each in stored(reference.base, directory) if _matches(reference, each.reference)]
    if reference.config is None and (default := _default_config(directory / reference.base)):
        matching = [each for each in matching if each.reference.config == default]
    if len({each.reference.config for each in matching}) > 1:
        return None
    return matching[-1] if matching else None


def names(sets: Iterable[Stored]) -> str:
    """The sets as a user would name them."""
    return ", ".join(str(each.reference) for each in sets)


def _matches(asked: Reference, there: Reference) -> bool:
    return asked.config in (None, there.config) and fnmatch.fnmatch(there.version or "", asked.version or "*")


def _age(each: Stored) -> tuple[str, Sequence[int]]:
    return each.reference.config or "", [int(part) for part in (each.reference.version or "").split(".")]


def _subdirectories(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.is_dir())


def _default_config(path: Path) -> str | None:
    """What TFDS noted as the default configuration when it prepared one of them."""
    try:
        metadata = json.loads((path / ".config" / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return metadata.get("default_config_name") if isinstance(metadata, dict) else None
