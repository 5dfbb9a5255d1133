"""Optional packages: what to type when one is missing."""

import shlex
import sys
from importlib import metadata

from packaging.requirements import Requirement


def install(extra: str) -> str:
    """The command that installs the packages of an extra into this very environment.

    They are named one by one: `pip install "trainbench[...]"` would depend on where pip finds a trainbench.
    Where the installed trainbench is older than the extra, as after `git pull`, it is to be installed again.
    """
    known = (Requirement(text) for text in metadata.requires("trainbench") or ())
    named = [
        _without_marker(one)
        for one in known
        if one.marker and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
    ]
    if not named:
        return (
            f"{shlex.join([sys.executable, '-m', 'pip', 'install', '-e', f'.[{extra}]'])} (in the checkout)"
        )
    return shlex.join([sys.executable, "-m", "pip", "install", *named])


def _without_marker(requirement: Requirement) -> str:
    """The package with its own extras; with versions where the newest is not meant.

    >>> _without_marker(Requirement("jax[cuda13]>=0.10; extra == 'cuda'"))
    'jax[cuda13]'
    >>> _without_marker(Requirement("libtpu>=0.0.43,<0.0.46"))
    'libtpu<0.0.46,>=0.0.43'
    """
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    newest = all(one.operator in (">", ">=") for one in requirement.specifier)
    return f"{requirement.name}{extras}{'' if newest else requirement.specifier}"
