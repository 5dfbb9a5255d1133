"""Presets of compiler flags that may be asked for, and what of one a compiler can be given.

Like those that trainbench sets by itself (`flags`), they go into `jax.jit(compiler_options=...)`, hold for
our programs alone, and yield to what the user sets in the environment.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources

import yaml

from trainbench.errors import UserError

NONE = "none"
# Where the user's own flags are; the second is libtpu's.
ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")


@dataclass(frozen=True)
class Preset:
    """Some flags that belong together.

    Attributes:
      platform: whose compiler knows them: "cpu", "gpu" or "tpu".
      does: what changes, in a few words.
      source: where they are described, or advised.
    """

    name: str
    platform: str
    does: str
    source: str
    flags: Mapping[str, str]


@functools.cache
def presets() -> Mapping[str, Preset]:
    """All that are shipped, by name."""
    text = resources.files(__package__).joinpath("compiler_flags.yaml").read_text(encoding="utf-8")
    return {
        name: Preset(name, platform, **about)
        for platform, named in yaml.safe_load(text).items()
        for name, about in named.items()
    }


def options(
    name: str, environment: Mapping[str, str], accepts: Callable[[Mapping[str, str]], bool]
) -> tuple[dict[str, str], str]:
    """The flags of the preset `name` that a compiler is to be given, and a word on those that it is not.

    Args:
      environment: what the user sets in it wins.
      accepts: whether the compiler knows some options.

    Raises:
      UserError: nothing is left of the preset.
    """
    if name == NONE:
        return {}, ""
    flags = presets()[name].flags
    given = " ".join(environment.get(variable, "") for variable in ENVIRONMENT)
    users = [flag for flag in flags if re.search(rf"--{flag}(=|\s|$)", given)]
    unknown = [flag for flag in flags if flag not in users and not accepts({flag: flags[flag]})]
    kept = {flag: value for flag, value in flags.items() if flag not in (*users, *unknown)}
    lost = [
        f"{', '.join(names)} {why}"
        for names, why in ((users, "is set in the environment"), (unknown, "is unknown to this compiler"))
        if names
    ]
    if not kept:
        raise UserError(
            f"compiler_flags={name}: nothing is left of it: {'; '.join(lost)}",
            allowed=f"compiler_flags={NONE}, or another preset",
            fix="leave compiler_flags out",
        )
    return kept, f"without {'; '.join(lost)}" if lost else ""


def without(options: Mapping[str, str], name: str) -> dict[str, str]:
    """The options that are not of the preset `name`."""
    flags = {} if name == NONE else presets()[name].flags
    return {option: value for option, value in options.items() if option not in flags}
