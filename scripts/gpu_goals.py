"""The GPU goals, measured one after the other on this machine's GPU within a time budget.

    python scripts/gpu_goals.py [--minutes 25] [--dir results/gpu_goals] [--rounds 2] [--search]
                                [--jax 'KEY=VALUE ...'] [--torch 'KEY=VALUE ...'] [--only NAME ...]
                                [--dry-run]

Each goal's runs are in DIR/NAME; the table, DIR/goals.md, and DIR/goals.json are written anew after each
goal, so that what was measured is there whatever ends the script. A goal that is in goals.json already is not
measured again: the same command goes on, and one with other options, versions or GPUs needs another DIR.
--search has each side look for its own best batch, which takes
about three times as long. Exit code 0 where every goal was reached, else 1; 2 for a mistake, and without a
GPU.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainbench.errors import ExitCode, UserError
from trainbench.goals import GOALS, Answer, Goal, affordable, answer
from trainbench.hardware import machine
from trainbench.processes import child
from trainbench.processes import race as heats
from trainbench.processes.race import Heat
from trainbench.pytorch import settings
from trainbench.report import race as report
from trainbench.report.console import error_screen
from trainbench.report.numbers import duration
from trainbench.results import store
from trainbench.results.collect import Loaded
from trainbench.results.compare_metrics import THRESHOLD
from trainbench.results.compare_pairs import Side
from trainbench.results.race import Figures, Standing, figures, standing
from trainbench.verbs import race as verb

COLUMNS = ("goal", "wanted", "answer", *report.COLUMNS[1:])


@dataclass(frozen=True)
class Measured:
    """One goal with what was found; None was not measured."""

    goal: Goal
    found: Standing | None
    answer: Answer
    seconds: float = 0.0
    note: str = ""


def main(arguments: list[str]) -> int:
    """Measure what there is time for; the exit code."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    try:
        goals = [goal for goal in GOALS if not options.only or goal.name in options.only]
        names = [goal.name for goal in GOALS]
        unknown = [name for name in options.only if name not in names]
        if unknown:
            raise UserError(f"no goal is called {' or '.join(unknown)}", allowed=", ".join(names))
        if options.dry_run:
            print(_plan(goals, 60 * options.minutes))
            return ExitCode.OK
        if machine.nvidia_gpus() is None:
            raise UserError("this machine has no NVIDIA GPU", fix="--dry-run shows what would be measured")
        settings.check_installed("a race", "--dry-run, which shows the plan")
        return _measure_all(goals, options, started)
    except UserError as error:
        print(error_screen(error), file=sys.stderr)
        return ExitCode.USER_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--dir", type=Path, default=Path("results", "gpu_goals"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jax", default="")
    parser.add_argument("--torch", default="")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    parser.add_argument("--dry-run", action="store_true")
    return parser


def _plan(goals: list[Goal], seconds: float) -> str:
    taken, left = affordable(goals, seconds)
    lines = [f"{duration(seconds)}, of which {duration(sum(goal.seconds for goal in taken))} are planned:"]
    lines += [
        f"  {goal.name:<16} {goal.wanted:<40} about {duration(goal.seconds)}: "
        f"{'race' if goal.races else 'run'} {' '.join(_overrides(goal, search=False))}"
        for goal in taken
    ]
    return "\n".join([*lines, *(f"  {goal.name}: no time for it" for goal in left)])


def _measure_all(goals: list[Goal], options: argparse.Namespace, started: float) -> int:
    earlier = _earlier(options.dir, _conditions(options))
    done: dict[str, Measured] = {}
    stopped = False
    for goal in goals:
        left_s = 60 * options.minutes - (time.monotonic() - started)
        if goal.name in earlier:
            done[goal.name] = earlier[goal.name]
        elif stopped or goal.seconds > left_s:
            note = "stopped" if stopped else f"{duration(max(0.0, left_s))} were left"
            done[goal.name] = Measured(goal, None, "not measured", note=note)
        else:
            print(f"{goal.name}: {goal.wanted}; {duration(left_s)} left", file=sys.stderr, flush=True)
            try:
                done[goal.name] = _measure(goal, options)
            except KeyboardInterrupt:
                done[goal.name] = Measured(goal, None, "not measured", note="stopped")
                stopped = True
            except Exception as error:
                # One goal's mistake must not cost the others their loan of a GPU.
                note = f"{type(error).__name__}: {error}"
                done[goal.name] = Measured(goal, None, "not measured", note=note)
        # What an earlier command measured stays, whether its turn has come or not.
        _write({**earlier, **done}, options)
    print(_table(list(done.values())))
    if stopped:
        return ExitCode.INTERRUPTED
    reached = all(one.answer == "reached" for one in done.values())
    return ExitCode.OK if reached else ExitCode.FAILED_CHECK


def _measure(goal: Goal, options: argparse.Namespace) -> Measured:
    began = time.monotonic()
    directory = _fresh(options.dir / re.sub(r"\W+", "_", goal.name.lower()))
    overrides = [*_overrides(goal, search=options.search), "measure=quick"]
    planned, batches = verb.plan(overrides, options.jax, options.torch, search=options.search)
    if goal.races:
        found = _race(planned[0], options.rounds, directory, batches)
    else:
        found = _alone(planned[0], directory, batches)
    return Measured(goal, found, answer(goal, found), time.monotonic() - began)


def _overrides(goal: Goal, *, search: bool) -> list[str]:
    batch = [] if search else [f"batch_size={goal.batch_size}"]
    return [f"model={goal.model}", *goal.overrides, *batch]


def _fresh(directory: Path) -> Path:
    """The directory, or one beside it where an earlier attempt broke off."""
    attempt = directory
    count = 2
    while attempt.exists():
        attempt, count = directory.with_name(f"{directory.name}_{count}"), count + 1
    return attempt


def _race(heat: Heat, rounds: int, directory: Path, batches: list[int] | None) -> Standing | None:
    raced = heats.race(heat, rounds, directory, batches)
    if raced.done is not None and raced.done.interrupted:
        raise KeyboardInterrupt
    if raced.done is None or raced.done.pair is None:
        return None
    return standing(heat.model, raced.done.pair, THRESHOLD)


def _alone(heat: Heat, directory: Path, batches: list[int] | None) -> Standing | None:
    """JAX's side without a race."""
    if batches is not None:
        best = heats.search_for(heat, "jax", batches, directory / "search").best
        if best is None:
            return None
        heat = heat.with_batch("jax", best)
    outcome = child.run(heat.overrides("jax"), directory)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.result is None:
        return None
    side = figures(Side((Loaded(directory / store.RESULT_FILE, outcome.result),)))
    work = outcome.result.workload
    unit = work.sample_unit if work else None
    return Standing(heat.model, side, Figures(), None, None, "unclear", unit)


def _row(one: Measured) -> tuple[str, ...]:
    cells = report.row(one.found)[1:] if one.found else ("-",) * (len(report.COLUMNS) - 1)
    return (one.goal.name, one.goal.wanted, one.answer, *cells)


def _table(measured: list[Measured]) -> str:
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, measured)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *(f"- {one.goal.name}: {one.note}" for one in measured if one.note)]
    for one in measured:
        if one.found and one.found.differences:
            lines += ["", f"**{one.goal.name}**", "", *(f"- {text}" for text in one.found.differences)]
    return "\n".join([*lines, ""])


def _conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What has to be the same for the goals of one table."""
    # Named as options: software has versions under jax.
    asked = {f"--{key}": getattr(options, key) for key in ("rounds", "jax", "torch", "search")}
    software = machine.software()
    # The results that the script writes may be what changes a checkout.
    commit = (software.pop("git_commit") or "").removesuffix("-dirty")
    return asked | software | {"git_commit": commit, "GPUs": machine.nvidia_gpus()}


def _write(measured: dict[str, Measured], options: argparse.Namespace) -> None:
    in_order = [measured[goal.name] for goal in GOALS if goal.name in measured]
    store.write_whole(options.dir / "goals.md", _table(in_order).encode())
    content = {"conditions": _conditions(options), "goals": {one.goal.name: asdict(one) for one in in_order}}
    store.write_whole(options.dir / "goals.json", (json.dumps(content, indent=2) + "\n").encode())


def _earlier(directory: Path, conditions: dict[str, Any]) -> dict[str, Measured]:
    """The goals that an earlier run of this script measured.

    Raises:
      UserError: it did so under other conditions.
    """
    file = directory / "goals.json"
    if not file.is_file():
        return {}
    content: dict[str, Any] = json.loads(file.read_text())
    known, now = content["conditions"], json.loads(json.dumps(conditions))
    changed = [name for name in now if known.get(name) != now[name]]
    if changed:
        raise UserError(
            f"{file} was measured with other {', '.join(changed)}",
            allowed="the same, to go on with it",
            fix="name another directory: --dir DIR",
        )
    by_name = {goal.name: goal for goal in GOALS}
    found = {}
    for name, one in content["goals"].items():
        if one["found"] is None or name not in by_name:
            continue
        known = one["found"]
        sides = {side: Figures(**known[side]) for side in ("jax", "torch")}
        interval = tuple(known["interval"]) if known["interval"] else None
        stands = Standing(
            **(known | sides | {"interval": interval, "differences": tuple(known["differences"])})
        )
        found[name] = Measured(by_name[name], stands, answer(by_name[name], stands), one["seconds"])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
