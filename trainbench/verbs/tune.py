"""`python -m trainbench tune`: which levers and which batch train fastest here, and what each lever does."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trainbench.errors import ExitCode
from trainbench.tuning import MINUTES
from trainbench.verbs.options import Parser, path

if TYPE_CHECKING:
    from trainbench.tuning.session import Asked

_FIX = "python -m trainbench tune model=NAME [levers=A,B] [batch_size=8,16|auto] [minutes=30] [--table-only]"
_OPTIONS = "KEY=VALUE, levers=, batch_size=, minutes=, --table-only, --dir, --seed, --markdown"

HELP = f"""\
python -m trainbench tune [KEY=VALUE ...] [levers=A,B,...] [batch_size=N,N|auto] [minutes={MINUTES:g}]
                          [--table-only] [--dir DIR] [--seed N] [--markdown FILE]

Searches the levers (ways of computing the same step) and the batch for the most samples per second, and
shows what each lever does by itself. What you set stays as it is. Each trial is a short run in a process of
its own.

  KEY=VALUE          what is trained, as of a run; measure=quick unless you say otherwise
  levers=A,B         the levers to vary; default: all that the model has and that are not set
  batch_size=8,16    the batches to try; N: that one alone; auto: some around the default (the default)
  minutes=30         the time for all runs together
  --table-only       no search: all the time goes to the table of each lever's own effect
  --dir DIR          where trials and tables go; default: outputs/tune/DATE/TIME
  --seed N           of the search
  --markdown FILE    the tables once more, with machine, versions and command

First the default runs, then each lever's other values alone, then Optuna's tree-structured Parzen estimator
proposes combinations. The two best and, if there is time, each lever alone are then measured again in turn
with the default, round after round; only what is significant then, and more than 2 %, is called faster. The
best is written to DIR/tuned/best.yaml, to be run with --config-dir DIR +tuned=best. The same command goes on
where it was stopped; `report DIR` shows all trials. precision is never varied: it is what you ask for.

  python -m trainbench tune model=vit_b16 minutes=60
  python -m trainbench tune model=resnet50 levers=remat,steps_per_call batch_size=64,128,256
  python -m trainbench tune model=vit_b16 levers=compiler_flags --table-only     each preset of flags"""


def show(arguments: list[str]) -> int:
    """Tune, print and keep; the exit code.

    Raises:
      UserError: an option or an override that is none, a lever that there is not, or too little time.
    """
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--dir", type=path)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--markdown", metavar="FILE", type=path)
    options = parser.parse_intermixed_args(arguments)

    # Imported late: Hydra and JAX take seconds, and a wrong option should be answered at once.
    from trainbench import config, recompose
    from trainbench.distributed import start
    from trainbench.pytorch import settings
    from trainbench.tuning import arguments as typed
    from trainbench.tuning import folder, search

    start.check_alone("tune", options.overrides)
    asked = typed.read(options.overrides, options.seed, table_only=options.table_only)
    if not asked.table_only:
        search.optimizer()
    tree = recompose.compose(asked.base)
    settings.refuse(str(tree.get("framework")), "tuning")
    config.parse(tree)
    directory = folder.choose(asked, options.dir)
    command = shlex.join(["python", "-m", "trainbench", "tune", *arguments])
    with folder.held(directory, asked):
        return _run(asked, directory, options.markdown, command)


def _run(asked: "Asked", directory: Path, markdown: Path | None, command: str) -> int:
    from trainbench.processes import interrupts
    from trainbench.tuning import folder, kept, possible, session, tuned, words
    from trainbench.tuning.trials import Runner

    try:
        with interrupts.one_wish():
            space, base = session.space_of(asked, possible.ask(asked.base))
            print(f"{space.size:,} combinations, into {directory}", file=sys.stderr)
            runner = Runner(base, [axis.key for axis in space.axes], directory)
            found = session.run(asked, space, runner)
    except possible.Refused as refused:
        return refused.code
    except session.Broken as broken:
        print(f"trainbench: {broken}", file=sys.stderr)
        return broken.code
    kept.write(found, asked, runner, directory, markdown, command)
    print(words.text(found))
    print(f"to run it: {tuned.command(directory)}")
    print(f"all trials: python -m trainbench report {shlex.quote(str(directory))}")
    if found.interrupted:
        print("stopped by the user; the same command goes on", file=sys.stderr)
        return ExitCode.INTERRUPTED
    folder.finish(directory, asked)
    return ExitCode.OK
