"""Optional packages: what to type when one is missing."""

import re
import sys
from importlib import metadata


def install(extra: str) -> str:
    """The command that installs the packages of an extra into this very environment.

    They are named one by one: `pip install "trainbench[...]"` would depend on where pip finds a trainbench.
    """
    marked = (text.partition(";") for text in metadata.requires("trainbench") or ())
    named = [name for name, _, marker in marked if f'extra == "{extra}"' in marker.replace("'", '"')]
    packages = [re.split(r"[^\w.-]", name.strip(), maxsplit=1)[0] for name in named]
    return f"{sys.executable} -m pip install {' '.join(packages)}"
