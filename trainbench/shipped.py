"""The configurations that the package ships, read without Hydra: what each name stands for."""

from collections.abc import Collection, Mapping
from importlib import resources
from typing import Any

import yaml

from trainbench import checks
from trainbench.errors import UserError

# The folders of trainbench/configs.
GROUPS = ("model", "precision", "optimizer", "data", "parallel", "measure")


def names(group: str) -> tuple[str, ...]:
    """The names that can be chosen in a group, aliases included."""
    files = resources.files("trainbench.configs").joinpath(group).iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def read(group: str, name: str) -> dict[str, Any]:
    """The content of one file; an alias (`vit`) holds no more than a name, and gives what that stands for."""
    file = resources.files("trainbench.configs").joinpath(group, f"{name}.yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    if list(content) == ["defaults"]:
        return read(group, content["defaults"][0])
    return content


def named(tree: Mapping[str, Any], group: str) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """(the composed section of a group, the shipped content of the same name).

    Raises:
      UserError: the section is no section, or nothing of its name is shipped.
    """
    section = checks.section(tree, group)
    checks.present(section, ["name"], group)
    name = checks.choice(section["name"], f"{group}.name", names(group))
    return section, read(group, name)


def check_unchanged(
    group: str, section: Mapping[str, Any], content: Mapping[str, Any], free: Collection[str] = ()
) -> None:
    """Nothing if the section is what its name, under which results are compared, stands for.

    Args:
      free: keys that may differ.

    Raises:
      UserError: another key differs, is missing, or is not shipped.
    """
    meant = {key: value for key, value in content.items() if key != "defaults"}
    checks.known(section, list(meant), group)
    checks.present(section, list(meant), group)
    for key, value in meant.items():
        if key not in (*free, "name") and section[key] != value:
            raise UserError(
                f"{group}.{key}={checks.shown(section[key])} is not what {group}={content['name']} means, "
                f"which is {checks.shown(value)}",
                allowed=", ".join(f"{group}={name}" for name in names(group)),
                fix=f"leave {group}.{key} out"
                + (f"; {key}=N sets it for a run" if key == "batch_size" else ""),
            )
