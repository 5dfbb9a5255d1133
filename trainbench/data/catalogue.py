"""What TFDS could prepare: the names it knows, what each downloads, and the command to type."""

import difflib
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import tensorflow_datasets as tfds

# Only after this import does TFDS know its text sets where TensorFlow is missing.
import tensorflow_datasets.text

from trainbench.data.embedded import BUILDERS
from trainbench.data.stored import Reference, Stored, bases, names, parse, stored
from trainbench.errors import UserError, nearest


def known(reference: Reference, directory: Path | None = None) -> Any:
    """The TFDS builder class of a set.

    Args:
      directory: where it was looked for, for the error message.

    Raises:
      UserError: TFDS knows no such set, or the set no such configuration.
    """
    # TFDS's catalogue of community sets lies on the network.
    registered = tfds.list_builders(with_community_datasets=False)
    if reference.base not in registered:
        there = bases(directory) if directory else []
        near = _near(reference.base, there) or _near(reference.base, [*BUILDERS, *registered])
        raise UserError(
            f"data.name={reference}: there is no such data set in TFDS{_looked_in(directory, there)}",
            allowed=f"{', '.join(BUILDERS)} without any network; and the {len(registered)} sets of TFDS"
            + (f", such as {', '.join(near)}" if near else ""),
            fix=(f"data.name={near[0] if near else 'digits'}")
            + ("; or the right data.dir, in which NAME/VERSION lies" if directory and not there else ""),
        )
    builder_class = tfds.builder_cls(reference.base)
    configs = [config.name for config in builder_class.BUILDER_CONFIGS]
    if reference.config is not None and reference.config not in configs:
        _refuse_config(reference, configs)
    return builder_class


def is_beam(builder_class: Any) -> bool:
    """True for sets that TFDS prepares on a cluster, with Apache Beam."""
    return issubclass(builder_class, tfds.core.BeamBasedBuilder)


def downloads(builder_class: Any) -> str:
    """How much a set downloads from where, in words: the sum over all of its configurations."""
    urls = builder_class.url_infos
    if not urls:
        return "an unknown amount"
    size = sum(info.size for info in urls.values())
    hosts = list(dict.fromkeys(urlsplit(url).hostname or url for url in urls))
    more = f" and {len(hosts) - 2} more" if len(hosts) > 2 else ""
    return f"up to {tfds.core.utils.Size(size)} from {', '.join(hosts[:2])}{more}"


def is_known(reference: Reference) -> bool:
    """True if TFDS has a builder of this name."""
    return reference.base in tfds.list_builders(with_community_datasets=False)


def prepare_command(name: str, directory: Path, *, text: bool, needs: str = "") -> str:
    """What to type to prepare a set; `needs` are further overrides."""
    chosen = (
        f"data={name}" if name in BUILDERS else f"data={'tfds_text' if text else 'tfds'} data.name={name}"
    )
    return f"python -m trainbench prepare {chosen} data.dir={shlex.quote(str(directory))} {needs}".rstrip()


def what_preparing_needs(builder_class: Any) -> str:
    """The overrides that let a stock set come onto this machine."""
    if builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS:
        return "data.manual_dir=DIR"
    return "data.download=true"


def not_prepared(name: str, directory: Path, *, text: bool = False, needs: str = "") -> UserError:
    """The error that says how to prepare `name`; `needs` are further overrides of that command."""
    if name in BUILDERS:
        return _not_there(name, prepare_command(name, directory, text=text, needs=needs), directory)
    reference = parse(name)
    if there := stored(reference.base, directory):
        return _another_prepared(reference, there, directory, text, needs)
    needs = f"{needs} {what_preparing_needs(known(reference, directory))}".lstrip()
    return _not_there(name, prepare_command(name, directory, text=text, needs=needs), directory)


def _looked_in(directory: Path | None, there: list[str]) -> str:
    if directory is None:
        return ""
    if not directory.is_dir():
        return f", and data.dir={directory} is no directory"
    return f", nor in data.dir={directory}, which holds {', '.join(there) if there else 'no data set'}"


def _refuse_config(reference: Reference, configs: list[str]) -> None:
    near = difflib.get_close_matches(reference.config or "", configs, n=5, cutoff=0.3) or configs[:5]
    raise UserError(
        f"data.name={reference}: {reference.base} has no configuration {reference.config}",
        allowed=f"{len(configs)}, such as {', '.join(near)}" if near else f"{reference.base} alone",
        fix=f"data.name={reference.base}" + (f"/{near[0]}" if near else ""),
    )


def _not_there(name: str, command: str, directory: Path) -> UserError:
    return UserError(
        f"data.name={name} is not prepared in {directory}",
        allowed="a set that lies there; data=digits, data=photos and data=kjv need no preparing for Grain",
        fix=command,
    )


def _another_prepared(
    reference: Reference, there: list[Stored], directory: Path, text: bool, needs: str
) -> UserError:
    likely = nearest(str(reference), [str(each.reference) for each in there]) or there[-1].reference
    command = ""
    if is_known(reference):
        needs = f"{needs} {what_preparing_needs(known(reference))}".lstrip()
        command = f"; or {prepare_command(str(reference), directory, text=text, needs=needs)}"
    return UserError(
        f"data.name={reference} is not what lies prepared in {directory}, or is one of several",
        allowed=f"prepared there: {names(there)}",
        fix=f"data.name={likely}{command}",
    )


def _near(word: str, choices: list[str]) -> list[str]:
    longer = [choice for choice in choices if choice.startswith(word)]
    return longer[:3] or difflib.get_close_matches(word, choices, n=3, cutoff=0.5)
