"""The command line of the verbs that run what Hydra composes: overrides, and the options that Hydra knows."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from trainbench import usage
from trainbench.errors import UserError, nearest
from trainbench.verbs.options import Parser

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Overrides and options, as attributes.

    Raises:
      UserError: an unknown option, or an override that is none of a run.
    """
    parser = Parser(allowed=", ".join(usage.OPTIONS), fix=usage.SHORT)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=INFO)
    options, unknown = parser.parse_known_intermixed_args(arguments)
    if options.config_dir and not Path(options.config_dir).is_dir():
        raise UserError(
            f"--config-dir {options.config_dir} is not a directory",
            allowed="a directory with configurations of your own",
            fix="check the path, or leave --config-dir out",
        )
    if unknown:
        known = [word.rstrip(",") for text in usage.OPTIONS for word in text.split() if word.startswith("-")]
        near = nearest(unknown[0], known)
        raise UserError(
            f"{unknown[0]} is not an option",
            allowed=", ".join(usage.OPTIONS),
            fix=f"did you mean {near}?" if near else usage.SHORT,
        )
    options.overrides = _plainly_named(options.overrides)
    return options


def _plainly_named(overrides: Sequence[str]) -> list[str]:
    """The overrides with the keys that are looked at here in one spelling: without +, the price in full."""
    plain = [re.sub(r"^\+*(price|price_per_hour|reproduce|batch_size)=", r"\1=", item) for item in overrides]
    plain = [re.sub(r"""^batch_size=["']+(auto|best)["']+$""", r"batch_size=\1", item) for item in plain]
    if any(item.startswith("hydra.mode=") for item in plain):
        raise UserError(
            "hydra.mode does not apply: a sweep has more to it here than to Hydra",
            allowed="-m for a sweep",
            fix="python -m trainbench -m KEY=A,B,C",
        )
    keys = {override.partition("=")[0] for override in plain}
    if {"price", "price_per_hour"} <= keys:
        raise UserError(
            "price and price_per_hour are one key, and both are given",
            allowed="one of them",
            fix="leave one out: price=2.50",
        )
    return [re.sub("^price=", "price_per_hour=", override) for override in plain]


def for_hydra(options: argparse.Namespace) -> list[str]:
    """The options before the overrides: Hydra's own parser does not take them mixed."""
    flags = []
    for name, value in vars(options).items():
        if name != "overrides" and value not in (None, False):
            option = f"--{name.replace('_', '-')}"
            flags.append(option if value is True else f"{option}={value}")
    return [*flags, *options.overrides]
