"""The command line: verbs, Hydra, exit codes, and errors on one screen.

A bare word that is not an override names a verb; none means "run".
"""

import argparse
import importlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trainbench import __version__, command_line, complaints, usage
from trainbench.errors import ExitCode, UserError, nearest
from trainbench.processes import batch_search, child, interrupts
from trainbench.report.console import error_screen
from trainbench.results import store

CONFIG_PATH = "pkg://trainbench.configs"
# Hydra makes a directory for each run, unless it is told this.
LEAVING_NOTHING = ["hydra.run.dir=.", "hydra.output_subdir=null"]

# One point of what Hydra composed: its configuration, and Hydra's settings for it.
Job = Callable[[DictConfig, Any], None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    child.begin()
    try:
        if {"-h", "--help"} & set(arguments):
            return _print(_help(arguments[0]))
        if "--version" in arguments:
            return _print(f"trainbench {__version__}")
        verb, rest = _split_verb(arguments)
        run = VERBS.get(verb) or _module(verb).show
        return int(run(rest))
    except UserError as error:
        print(error_screen(error), file=sys.stderr)
        return ExitCode.USER_ERROR
    except KeyboardInterrupt:
        print("trainbench: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED


def _print(text: str) -> int:
    print(text)
    return ExitCode.OK


def _help(first: str) -> str:
    """The page of the verb that `first` names, if it has one of its own; else the page of all."""
    if first in OWN_PAGES:
        return str(_module(first).HELP)
    return usage.page({name: _summary(name) for name in (*VERBS, *OWN_PAGES)})


def _summary(verb: str) -> str:
    return OWN_PAGES.get(verb) or (VERBS[verb].__doc__ or "").partition("\n")[0]


def _module(verb: str) -> ModuleType:
    """The module of a verb with options of its own; imported late, as no verb needs another's."""
    return importlib.import_module(f"trainbench.verbs.{verb}")


def _split_verb(arguments: list[str]) -> tuple[str, list[str]]:
    if arguments and re.fullmatch(r"[A-Za-z]\w*", arguments[0]):
        verb = arguments[0]
        known = [*VERBS, *OWN_PAGES]
        if verb not in known:
            near = nearest(verb, known)
            raise UserError(
                f"{verb!r} is neither a verb nor an override",
                allowed=f"verbs: {', '.join(known)}; overrides: KEY=VALUE, for example model=resnet50",
                fix=f"python -m trainbench {near}" if near else usage.SHORT,
            )
        return verb, arguments[1:]
    return "run", arguments


def _run(arguments: list[str]) -> int:
    """One benchmark, or with -m a sweep of them; the verb when none is given."""
    options = command_line.parse(arguments)
    if options.multirun and not (options.cfg or options.info):
        return _sweep(options)
    return _single(options, shlex.join(["python", "-m", "trainbench", *arguments]))


def _single(options: argparse.Namespace, command: str) -> int:
    codes: list[ExitCode] = []
    asked = list(options.overrides)
    searched = batch_search.is_asked_for(asked)
    # Imported late, as what only a run needs.
    from trainbench.distributed import farewell, start

    if searched:
        start.check_alone("a search for the batch size", asked)
    several = None if searched or options.cfg or options.info else start.joined(asked)
    if not searched:
        options.overrides = _expanded(asked)
    writes = several is None or several.members.index == 0
    if not writes:
        options.overrides += LEAVING_NOTHING

    def job(config: DictConfig, settings: Any) -> None:
        directory = Path(settings.runtime.output_dir)
        if searched:
            kind = str(config.batch_size)
            codes.append(batch_search.search_and_show(asked, options.config_dir, kind, directory, command))
            return
        # Imported late: the parent of other processes must not start a JAX backend, which would take the
        # device's memory.
        from trainbench import benchmark, together

        try:
            tree = _plain(config)
            start.check_typed(tree, asked)
            if several is None:
                codes.append(benchmark.run_and_show(tree, directory, command))
            else:
                codes.append(together.run_and_show(tree, directory, command, several))
        except UserError:
            if writes:
                _remove_if_empty(directory)
            raise

    with interrupts.one_wish(), farewell.telling(several):
        _with_hydra(options, job)
    return codes[0] if codes else ExitCode.OK


def _remove_if_empty(directory: Path) -> None:
    """Remove what Hydra made for a run that never began."""
    if [path.name for path in directory.iterdir()] == [".hydra"]:
        shutil.rmtree(directory / ".hydra")
        store.remove_empty(directory)


def _expanded(overrides: list[str]) -> list[str]:
    """The overrides with those that `reproduce=ID` stands for."""
    if not any(override.startswith("reproduce=") for override in overrides):
        return overrides
    # Imported late: it asks JAX for the device, which other errors needn't wait for.
    from trainbench import reproduce

    return reproduce.expand(overrides)


def _sweep(options: argparse.Namespace) -> int:
    # Imported late, as one benchmark doesn't need it.
    from trainbench.distributed import start
    from trainbench.processes import sweep, sweep_plan

    start.check_alone("a sweep", options.overrides)
    plan = sweep_plan.plan(options.overrides, options.config_dir)
    where = [f"hydra.sweep.dir={child.quoted(str(plan.directory))}"]
    own = [f"--config-dir={options.config_dir}"] if options.config_dir else []

    def job(config: DictConfig, settings: Any) -> None:
        del config
        if sweep.run_point(plan, list(settings.overrides.task), own).interrupted:
            raise KeyboardInterrupt

    # Each point's process keeps what Hydra composed beside its own result.
    options.overrides += [*where, "hydra.sweep.subdir=.", "hydra.output_subdir=null"]
    with interrupts.one_wish(), sweep.alone(plan):
        sweep.announce(plan)
        try:
            _with_hydra(options, job)
            sweep_plan.note(plan, finished=not sweep.unfinished(plan))
        except UserError:
            # Hydra composes all points before it launches the first.
            if not sweep.outcomes(plan):
                sweep.abandon(plan)
            raise
        finally:
            if sweep.outcomes(plan):
                print(sweep.summary(plan))
                drawn = sweep.plot(plan)
                if drawn:
                    print(drawn)
        return sweep.exit_code(plan)


def _prepare(arguments: list[str]) -> int:
    """Write a data set to the disk, once; it downloads only with data.download=true."""
    options = command_line.parse(arguments)
    if options.multirun:
        raise UserError("prepare takes one data set", allowed="one set of overrides", fix="leave -m out")
    # Nothing is measured, so there is no result and no directory for one.
    options.overrides[:0] = LEAVING_NOTHING

    def job(config: DictConfig, settings: Any) -> None:
        del settings
        # Imported late: TFDS takes seconds to import, and other verbs don't need it.
        from trainbench import preparation

        preparation.prepare_and_show(_plain(config))

    _with_hydra(options, job)
    return ExitCode.OK


def _fits(arguments: list[str]) -> int:
    """Compile the training step without running it: the memory that it needs, and whether it fits."""
    as_json = "--json" in arguments
    options = command_line.parse([word for word in arguments if word != "--json"])
    if options.multirun:
        raise UserError("fits takes one configuration", allowed="one set of overrides", fix="leave -m out")
    options.overrides = [*LEAVING_NOTHING, *_expanded(options.overrides)]
    codes: list[ExitCode] = []

    def job(config: DictConfig, settings: Any) -> None:
        del settings
        # Imported late, as everything that imports JAX.
        from trainbench import fitting

        codes.append(fitting.compile_and_show(_plain(config), as_json=as_json))

    _with_hydra(options, job)
    return codes[0] if codes else ExitCode.OK


class _JobFailed(BaseException):
    """Carries a job's exception out of Hydra, which would announce an Exception itself and go on."""

    def __init__(self, failure: Exception) -> None:
        super().__init__(failure)
        self.failure = failure


def _with_hydra(options: argparse.Namespace, job: Job) -> None:
    """Compose what `options` ask for and call `job` for each point; for --cfg and --info print, and no more.

    Raises:
      UserError: Hydra cannot compose that, or cannot make the output directory.
    """

    def point(config: DictConfig) -> None:
        try:
            job(config, HydraConfig.get())
        except Exception as failure:
            raise _JobFailed(failure) from None

    # Without this Hydra prints its own report and ends the process with code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *command_line.for_hydra(options)]
    try:
        hydra.main(version_base="1.3", config_path=CONFIG_PATH, config_name="config")(point)()
    except _JobFailed as failed:
        raise failed.failure from None
    except complaints.ERRORS as error:
        raise complaints.translated(error, options.overrides) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(
            f"the output directory cannot be made: {error.strerror}: {error.filename}",
            fix="choose a writable one: hydra.run.dir=DIR (for a sweep hydra.sweep.dir=DIR)",
        ) from None


def _plain(config: DictConfig) -> Any:
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise complaints.translated(error, []) from None


# Verbs that run what Hydra composes.
VERBS: dict[str, Callable[[list[str]], int]] = {
    "run": _run,
    "fits": _fits,
    "prepare": _prepare,
}
# Verbs with options and a help page of their own, each a module of its name in trainbench.verbs.
OWN_PAGES = {
    "references": "the published figures with their sources: list, filter, sort, explain, export, check",
    "claims": "what is widely claimed of GPUs and TPUs, what sources show, and a verdict",
    "report": "one self-contained HTML page of any results, or with --text a table for the terminal",
    "compare": "two runs or folders of runs: what is faster or slower, how sure that is; 1 on a regression",
    "tune": "which levers and which batch train fastest here, and what each lever does by itself",
    "race": "the same workload in JAX and in PyTorch, in turn: the ratio, and what remains different",
    "rerun": "run again what a result file describes, and compare",
    "forecast": "a training step on a TPU or GPU that isn't here: does it fit, how fast is it, its limits",
    "export": "results as CSV, Parquet, JSON Lines, MLPerf log lines, dashboard JSON, TensorBoard events",
}
