"""The best point as a configuration to reuse: `python -m trainbench --config-dir DIR +tuned=best`.

It holds what differs from the shipped configurations, as Hydra's experiments do, and composes with overrides.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from trainbench import shipped
from trainbench.errors import UserError
from trainbench.results import store

GROUP, NAME = "tuned", "best"


def write(directory: Path, overrides: Sequence[str], comments: Sequence[str]) -> Path:
    """The file `tuned/best.yaml` in `directory`, which composes what these overrides do.

    Raises:
      UserError: it cannot be written.
    """
    groups, values = _sorted(overrides)
    content: dict[str, Any] = {}
    if groups:
        content["defaults"] = [{f"override /{group}": name} for group, name in groups.items()]
    lines = ["# @package _global_", *(f"# {comment}" for comment in comments)]
    text = "\n".join([*lines, yaml.safe_dump(content | values, sort_keys=False, allow_unicode=True)])
    return store.write_whole(directory / GROUP / f"{NAME}.yaml", text.encode())


def command(directory: Path) -> str:
    """What runs the configuration in `directory`."""
    return shlex.join(
        ["python", "-m", "trainbench", "--config-dir", str(directory), f"+{GROUP}={NAME}"],
    )


def check(overrides: Sequence[str]) -> None:
    """Nothing if these overrides can be kept in a file.

    Raises:
      UserError: one adds or removes a key, or says where results go.
    """
    for override in overrides:
        if override.startswith(("+", "~", "hydra.", "-", "reproduce=")) or "=" not in override:
            raise UserError(
                f"{override} is not for tune",
                allowed="KEY=VALUE; --dir DIR sets where the results go",
                fix="leave it out",
            )


def _sorted(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Group choices, and the other values as a tree."""
    groups: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for parsed in OverridesParser.create().parse_overrides(list(overrides)):
        key = str(parsed.key_or_group)
        if key in shipped.GROUPS:
            groups[key] = parsed.value()
        else:
            _set(values, key.split("."), _plain(parsed.value()))
    return groups, values


def _set(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _plain(value: Any) -> Any:
    """What YAML can hold: Hydra keeps quotes around text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return getattr(value, "text", value)
