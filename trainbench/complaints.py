"""Hydra's complaints as ours: the value, what is allowed, the fix."""

import re
from collections.abc import Sequence
from typing import Any

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainbench import shipped, usage
from trainbench.errors import UserError, nearest

# Hydra checks some of what the user typed with plain exceptions and asserts.
ERRORS = (HydraException, OmegaConfBaseException, ValueError, TypeError, AssertionError, KeyError)


def translated(error: Exception, overrides: Sequence[str]) -> UserError:
    """What the user should read in place of `error`, which composing with `overrides` raised."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _unknown_choice(str(error.missing_cfg_file), list(error.options))
    text = str(error)
    missing = re.search(r"Could not (?:override|append)[^']*'([\w./@-]+)'|Key '(\w+)' is not in struct", text)
    if missing and "Multiple values" not in text:
        return _unknown_key(missing.group(1) or missing.group(2), overrides)
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    several = re.search(r"Ambiguous value for argument '(.+)'", text)
    if several:
        return UserError(
            f"{several.group(1)} names several values, and this is not a sweep",
            allowed="one value, or -m for a sweep over them",
            fix=f"python -m trainbench -m {several.group(1)}",
        )
    nameless = [override for override in overrides if override.startswith("=")]
    return _unreadable(nameless[0]) if nameless else _not_a_choice(overrides) or _first_line(error)


def _unreadable(override: str) -> UserError:
    """With quotes as the fix where they help: around a value with no others and no control characters."""
    key, _, value = override.partition("=")
    bare = value.strip("'\"")
    special = re.fullmatch(r"""[^'"]*[^\w./@+'"-][^'"]*""", bare, re.ASCII)
    helps = special and bare.isprintable() and key.isascii()
    return UserError(
        f"cannot read the override {override!r}",
        allowed="KEY=VALUE; a value with more than English letters and digits in quotes of its own",
        fix=f"""'{key}="{bare}"'""" if helps else usage.SHORT,
    )


def _first_line(error: Exception) -> UserError:
    lines = str(error).strip().splitlines()
    return UserError(lines[0] if lines else type(error).__name__, fix=usage.SHORT)


def _not_a_choice(overrides: Sequence[str]) -> UserError | None:
    """The override that gives a group something else than a name, which Hydra refuses without naming it."""
    for override in overrides:
        group, _, value = override.partition("=")
        if group in shipped.GROUPS and re.fullmatch(r"null|true|false|[-+.\d]\S*", value, re.IGNORECASE):
            return _unknown_choice(f"{group}/{value}", list(shipped.names(group)))
    return None


def _unknown_choice(missing: str, options: list[str]) -> UserError:
    group, _, name = missing.rpartition("/")
    near = nearest(name, options)
    return UserError(
        f"{group}={name} is not known",
        allowed=", ".join(options),
        fix=f"{group}={near}" if near else f"choose one of these, for example {group}={options[0]}",
    )


def _unknown_key(key: str, overrides: Sequence[str]) -> UserError:
    """The nearest key of the same group; of all keys where there is no such group."""
    keys = _known_keys(overrides)
    group, _, name = key.rpartition(".")
    beside = {other.rpartition(".")[2]: other for other in keys if other.rpartition(".")[0] == group}
    near = nearest(name, beside)
    full_name = beside[near] if near else nearest(key, keys) if not group or not beside else None
    shown = beside.values() or [other for other in keys if "." not in other]
    show_all = f"python -m trainbench --cfg job{f' -p {group}' if group and beside else ''}"
    return UserError(
        f"{key} is not a known key",
        allowed=", ".join(shown),
        fix=f"did you mean {full_name}?"
        if full_name
        else f"choose one of these; {show_all} shows their values",
    )


def _known_keys(overrides: Sequence[str]) -> list[str]:
    """All keys of the configuration that the chosen groups make up."""
    chosen = [text for text in overrides if text.partition("=")[0] in shipped.GROUPS and "," not in text]
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        try:
            tree = hydra.compose("config", chosen)
        except ERRORS:
            tree = hydra.compose("config")
    return [*_flattened(OmegaConf.to_container(tree, resolve=False)), "hydra.run.dir", "hydra.sweep.dir"]


def _flattened(tree: Any, prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, value in tree.items():
        names.append(prefix + key)
        if isinstance(value, dict):
            names.extend(_flattened(value, f"{prefix}{key}."))
    return names
