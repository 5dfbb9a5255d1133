"""The command line: verbs, Hydra, exit codes, and errors on one screen.

A bare word that is not an override names a verb; none means "run".
"""

import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainbench import sweep
from trainbench.errors import ExitCode, UserError, nearest
from trainbench.report.console import error_screen

# The folders of trainbench/configs.
GROUPS = ("model", "precision", "optimizer", "data", "measure")
CONFIG_PATH = "pkg://trainbench.configs"
USAGE = """\
usage: python -m trainbench [model=NAME] [precision=NAME] [batch_size=N] [KEY=VALUE ...]
       python -m trainbench -m batch_size=8,16,32 [KEY=VALUE ...]      a sweep
       python -m trainbench --cfg job                                   the composed configuration"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        verb, overrides = _split_verb(arguments)
        return int(VERBS[verb](overrides))
    except UserError as error:
        print(error_screen(error), file=sys.stderr)
        return ExitCode.USER_ERROR
    except KeyboardInterrupt:
        print("trainbench: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _split_verb(arguments: list[str]) -> tuple[str, list[str]]:
    if arguments and re.fullmatch(r"[A-Za-z]\w*", arguments[0]):
        verb = arguments[0]
        if verb not in VERBS:
            near = nearest(verb, VERBS)
            raise UserError(
                f"{verb!r} is neither a verb nor an override",
                allowed=f"verbs: {', '.join(VERBS)}; overrides: KEY=VALUE, for example model=resnet50",
                fix=f"python -m trainbench {near}" if near else f"\n{USAGE}",
            )
        return verb, arguments[1:]
    return "run", arguments


def _run(overrides: list[str]) -> int:
    """One benchmark, or with -m a sweep of them."""
    # Without this Hydra prints its own report and ends the process with code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    codes: list[ExitCode] = []
    points: list[sweep.Point] = []
    failures: list[BaseException] = []

    def job(config: DictConfig) -> None:
        settings = HydraConfig.get()
        directory = Path(settings.runtime.output_dir)
        # Raised again below: Hydra would announce it with a line of its own and, in a sweep, go on.
        try:
            if settings.mode == RunMode.MULTIRUN:
                if not sweep.was_interrupted(points):
                    varied = _varied(overrides, settings)
                    points.append(sweep.run_point(list(settings.overrides.task), varied, directory))
            else:
                codes.append(_benchmark(config, directory, ["python", "-m", "trainbench", *overrides]))
        except (Exception, KeyboardInterrupt) as failure:
            failures.append(failure)

    entry = hydra.main(version_base="1.3", config_path=CONFIG_PATH, config_name="config")(job)
    sys.argv = [sys.argv[0], *overrides]
    try:
        entry()
    except (HydraException, OmegaConfBaseException) as error:
        raise _translated(error, overrides) from None
    except OSError as error:
        raise UserError(
            f"the output directory cannot be made: {error.strerror}: {error.filename}",
            fix="choose a writable one: hydra.run.dir=DIR (for a sweep hydra.sweep.dir=DIR)",
        ) from None
    if failures:
        raise failures[0]
    if points:
        print(sweep.table(points))
        return sweep.exit_code(points)
    return codes[0] if codes else ExitCode.OK


def _varied(asked: list[str], settings: Any) -> list[str]:
    """The overrides of this point that were not given as they are: those that the sweep varies."""
    return [override for override in settings.overrides.task if override not in asked]


def _benchmark(config: DictConfig, directory: Path, command: list[str]) -> ExitCode:
    # Imported late: a sweep's parent must never start a JAX backend, which would take the device's memory.
    from trainbench import benchmark

    tree: Any = OmegaConf.to_container(config, resolve=True)
    return benchmark.run_and_show(tree, directory, shlex.join(command))


def _translated(error: Exception, overrides: list[str]) -> UserError:
    """Hydra's complaint as one of ours: the value, what is allowed, the fix."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _unknown_choice(str(error.missing_cfg_file), list(error.options))
    text = str(error)
    missing = re.search(r"Could not (?:override|append)[^']*'([\w./@-]+)'|Key '(\w+)' is not in struct", text)
    if missing and "Multiple values" not in text:
        return _unknown_key(missing.group(1) or missing.group(2), overrides)
    if isinstance(error, OverrideParseException):
        return UserError(f"cannot read the override {error.override!r}", allowed="KEY=VALUE", fix=USAGE)
    several = re.search(r"Ambiguous value for argument '(.+)'", text)
    if several:
        return UserError(
            f"{several.group(1)} names several values, and this is not a sweep",
            allowed="one value, or -m for a sweep over them",
            fix=f"python -m trainbench -m {several.group(1)}",
        )
    return UserError(text.splitlines()[0], fix=USAGE)


def _unknown_choice(missing: str, options: list[str]) -> UserError:
    group, _, name = missing.rpartition("/")
    near = nearest(name, options)
    return UserError(
        f"{group}={name} is not known",
        allowed=", ".join(options),
        fix=f"{group}={near}" if near else f"choose one of these, for example {group}={options[0]}",
    )


def _unknown_key(key: str, overrides: list[str]) -> UserError:
    known = _known_keys(overrides)
    near = nearest(key, known)
    group = key.rpartition(".")[0]
    beside = [name for name in known if name.rpartition(".")[0] == group]
    if not beside:
        beside = [name for name in known if "." not in name]
    return UserError(
        f"{key} is not a known key",
        allowed=", ".join(beside),
        fix=f"did you mean {near}?" if near else "python -m trainbench --cfg job shows all keys",
    )


def _known_keys(overrides: list[str]) -> list[str]:
    """All keys of the configuration that the chosen groups make up."""
    chosen = [text for text in overrides if text.partition("=")[0] in GROUPS and "," not in text]
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        try:
            tree = hydra.compose("config", chosen)
        except HydraException:
            tree = hydra.compose("config")
    return [*_flattened(OmegaConf.to_container(tree, resolve=False)), "hydra.run.dir", "hydra.sweep.dir"]


def _flattened(tree: Any, prefix: str = "") -> Sequence[str]:
    names: list[str] = []
    for key, value in tree.items():
        names.append(prefix + key)
        if isinstance(value, dict):
            names.extend(_flattened(value, f"{prefix}{key}."))
    return names


VERBS: dict[str, Callable[[list[str]], int]] = {"run": _run}
