"""Optional packages: what to type when one is missing."""

import re
import shlex
import sys
from importlib import metadata


def install(extra: str) -> str:
    """The command that installs the packages of an extra into this very environment.

    They are named one by one: `pip install "trainbench[...]"` would depend on where pip finds a trainbench.
    Where the installed trainbench is older than the extra, as after `git pull`, it is to be installed again.
    """
    marked = (text.partition(";") for text in metadata.requires("trainbench") or ())
    named = [name for name, _, marker in marked if f'extra == "{extra}"' in marker.replace("'", '"')]
    if not named:
        return (
            f"{shlex.join([sys.executable, '-m', 'pip', 'install', '-e', f'.[{extra}]'])} (in the checkout)"
        )
    return shlex.join([sys.executable, "-m", "pip", "install", *(_without_version(name) for name in named)])


def _without_version(requirement: str) -> str:
    """The package of a requirement with its own extras.

    >>> _without_version("jax[cuda13]>=0.10"), _without_version("tokenizers >=0.21")
    ('jax[cuda13]', 'tokenizers')
    """
    return re.split(r"[^\w.,\[\]-]", requirement.strip(), maxsplit=1)[0]
