"""From a composed configuration back to the overrides that compose it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import hydra
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from trainbench import complaints, shipped
from trainbench.errors import UserError
from trainbench.results.compare_pairs import flattened

# Bare words that Hydra reads as something else than text.
_WORDS = ("null", "true", "false", "nan", "inf")


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that these overrides make up, with nothing run.

    Raises:
      UserError: they cannot be composed.
    """
    asked = [re.sub("^price=", "price_per_hour=", override) for override in overrides]
    try:
        with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
            tree: Any = OmegaConf.to_container(hydra.compose("config", asked), resolve=True)
    except complaints.ERRORS as error:
        raise complaints.translated(error, asked) from None
    return dict(tree)


def overrides(leaves: Mapping[str, Any]) -> list[str]:
    """The overrides that compose a configuration with these leaves (by dotted key): groups first, by name.

    Raises:
      UserError: a leaf that the shipped configurations don't have.
    """
    # Results from before there was a group were run as its default is now; `migrate` says what was not.
    known = [group for group in shipped.GROUPS if any(key.startswith(f"{group}.") for key in leaves)]
    groups = [f"{group}={_choice(group, leaves)}" for group in known]
    composed = dict(flattened(compose(groups)))
    unknown = [key for key in leaves if key not in composed]
    if unknown:
        raise UserError(
            f"this trainbench has no {', '.join(unknown)}, which the result was run with",
            allowed="configurations of this version",
            fix="use the version that wrote the result: its commit stands under software.git_commit",
        )
    # A reproduced figure's conditions stand in for all that is not given.
    everything = leaves.get("reproduce") is not None
    different = [
        key
        for key, value in leaves.items()
        if _text(value) != _text(composed[key]) or (everything and "." not in key)
    ]
    return [*groups, *(f"{key}={written(leaves[key])}" for key in different)]


def _choice(group: str, leaves: Mapping[str, Any]) -> str:
    """The shipped configuration of that name; else the one with the same keys and the fewest other values.

    A data set may have any name: `data=tfds data.name=food101`.
    """
    section = {key: value for key, value in leaves.items() if key.startswith(f"{group}.")}
    distances = {}
    for name in shipped.names(group):
        content = {key: value for key, value in shipped.read(group, name).items() if key != "defaults"}
        option = dict(flattened(content, f"{group}."))
        if option.keys() == section.keys():
            distances[name] = sum(_text(option[key]) != _text(section[key]) for key in option)
    if not distances:
        raise UserError(
            f"no {group} of this trainbench has the keys that the result was run with",
            allowed=", ".join(shipped.names(group)),
            fix="use the version that wrote the result: its commit stands under software.git_commit",
        )
    named = section.get(f"{group}.name")
    return min(distances, key=lambda name: (name != named, distances[name]))


def _text(value: Any) -> str:
    """For comparing: True is not 1 here."""
    return json.dumps(value, sort_keys=True)


def written(value: Any) -> str:
    """A value as Hydra's grammar for overrides reads it.

    >>> written([1, None, True, "it's a, b"])
    "[1,null,true,'it\\\\'s a, b']"
    """
    if isinstance(value, str):
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value) and value.lower() not in _WORDS:
            return value
        # OmegaConf would take ${ for a reference; backslashes before it count twice then.
        literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
        return QuotedString(literal, Quote.single).with_quotes()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    return "null" if value is None else str(value).lower()
