"""`python -m trainbench race`: the same workload in JAX and in PyTorch, in turn, on the same device."""

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.processes import race as heats
from trainbench.processes.race import BATCH, FRAMEWORKS, Heat, Raced
from trainbench.pytorch import settings
from trainbench.report import race as report
from trainbench.results import store
from trainbench.results.compare_metrics import THRESHOLD
from trainbench.results.race import Figures, Standing, standing
from trainbench.verbs.compare import AB_ROUNDS, count, share
from trainbench.verbs.options import Parser, path

_FIX = "python -m trainbench race model=resnet50 [overrides] [--rounds N] [--dir DIR]"
_OPTIONS = "KEY=VALUE, --rounds, --dir, --jax, --torch, --best-batch, --threshold, --markdown, --json"
RESULTS = ("race.json", "race.md")
# What is trained, which is never one side's own.
WORK = ("model", "data", "input", "image_size", "sequence_length", "optimizer")

HELP = f"""\
python -m trainbench race model=M[,M...] [KEY=VALUE ...] [--rounds N] [--dir DIR] [--best-batch]
                          [--jax 'KEY=VALUE ...'] [--torch 'KEY=VALUE ...'] [--markdown FILE] [--json FILE]

The same workload in JAX and in PyTorch, run in turn (A B, B A, ...) on the same device, each run in a fresh
process: the same model with as many parameters, batch, precision, optimizer, data and meter. The ratio is
JAX's samples/s over PyTorch's; its interval holds the truth in 99 % of cases over all models together. Exit
code 1 where JAX is slower, 0 where it is not, 2 if nothing could be decided.

  model=M,M            one model, or several one after the other
  KEY=VALUE            overrides of both sides
  --jax, --torch       overrides of one side: levers here, --torch 'torch.compile=max-autotune' there
  --rounds N           runs of each side; default {AB_ROUNDS}
  --best-batch         each side at its own best batch: of batch_size=8,16,32 if such a list is given, else
                       doubled (or halved) from the default while the rate grows
  --dir DIR            where the runs go; default outputs/race/DATE/TIME
  --threshold 2%       the least difference that counts
  --markdown, --json   the table for a page, and everything for programs; both are in DIR as well

On a CPU both take as many threads as the process may use cores (taskset limits both alike).
PyTorch comes with the extra `torch`.

  python -m trainbench race model=resnet50,vit_s16 precision=bf16 --best-batch
  python -m trainbench race model=vit_tiny precision=fp32 --torch torch.compile=inductor --rounds 4"""


def show(arguments: list[str]) -> int:
    """Race, print the table, write it; the exit code.

    Raises:
      UserError: an unknown option, no model, no PyTorch, or overrides that cannot be run.
    """
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds")
    parser.add_argument("--dir", type=path)
    parser.add_argument("--jax", default="")
    parser.add_argument("--torch", default="")
    parser.add_argument("--best-batch", action="store_true")
    parser.add_argument("--threshold", default=f"{THRESHOLD:.0%}")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_intermixed_args(arguments)
    planned, batches = plan(options.overrides, options.jax, options.torch, search=options.best_batch)
    rounds, threshold = count(options.rounds), share(options.threshold)
    settings.check_installed("a race", "compare --ab, for two configurations in JAX")
    top = options.dir or Path(
        "outputs", "race", f"{datetime.now():%Y-%m-%d}", f"{datetime.now():%H-%M-%S-%f}"
    )
    raced, interrupted = run(planned, rounds, top, batches)
    if not raced:
        return ExitCode.INTERRUPTED
    standings = stand(raced, threshold)
    print(report.text(standings))
    contents = {top / RESULTS[0]: _json(standings, raced), top / RESULTS[1]: report.markdown(standings)}
    contents |= {Path(options.json): _json(standings, raced)} if options.json else {}
    contents |= {Path(options.markdown): report.markdown(standings)} if options.markdown else {}
    for file, content in contents.items():
        store.write_asked_for(file, content.encode())
    print(f"results are in {top}")
    return ExitCode.INTERRUPTED if interrupted else exit_code(standings)


def plan(
    overrides: Sequence[str], jax: str = "", torch: str = "", *, search: bool = False
) -> tuple[list[Heat], list[int] | None]:
    """One heat a model; and the batches to choose from: None without a search, empty to look for them.

    Raises:
      UserError: no model is named, a framework is, or a list stands where one value is meant.
    """
    models = [
        one for override in overrides if override.startswith("model=") for one in override[6:].split(",")
    ]
    if not models or not all(models):
        raise UserError("race which model?", allowed="model=M, or model=M,M", fix=_FIX)
    shared = [override for override in overrides if not override.startswith("model=")]
    batches: list[int] | None = [] if search else None
    for override in [one for one in shared if search and one.startswith(BATCH)]:
        shared.remove(override)
        batches = _batches(override)
    own = {"jax": _words(jax, "--jax"), "torch": _words(torch, "--torch")}
    for override in (*shared, *own["jax"], *own["torch"]):
        _check_plain(override)
    for override in (*own["jax"], *own["torch"]):
        _check_one_side(override)
    sides = tuple((framework, tuple(own[framework])) for framework in FRAMEWORKS)
    return [Heat(model, tuple(shared), sides) for model in models], batches


def _batches(override: str) -> list[int]:
    texts = override.removeprefix(BATCH).split(",")
    if not all(text.isdecimal() and int(text) > 0 for text in texts):
        raise UserError(
            f"{override} is no list of batch sizes",
            allowed="positive integers, as batch_size=8,16,32; without it the best is searched for",
            fix="batch_size=8,16,32 --best-batch",
        )
    return sorted({int(text) for text in texts})


def _words(text: str, option: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"{option} {text!r} cannot be split into words: {error}", fix="close its quotes"
        ) from None


def _check_plain(override: str) -> None:
    key, equals, value = override.partition("=")
    if re.split(r"[.=]", override)[0] in ("parallel", "distributed"):
        raise UserError(f"{override}: a race is of one device", allowed="one device", fix="leave it out")
    if key == "framework":
        raise UserError(f"{override}: a race has both", allowed="jax and torch, in turn", fix="leave it out")
    if not equals or override.startswith(("-", "hydra.")):
        raise UserError(f"{override} is no override of a race", allowed=_OPTIONS, fix=_FIX)
    if "," in value and not value.startswith(("[", "'", '"')):
        fix = f"{override} --best-batch" if override.startswith(BATCH) else f"{key}={value.split(',')[0]}"
        raise UserError(f"{override}: which?", allowed="one value; of model, several", fix=fix)


def _check_one_side(override: str) -> None:
    """Nothing for what may differ: how a side computes, and its batch."""
    if re.split(r"[.=]", override)[0] in WORK:
        raise UserError(
            f"{override}: both sides of a race train the same",
            allowed=f"{', '.join(WORK)} for both sides; how a side computes, and its batch_size, for one",
            fix=f"python -m trainbench race {override}",
        )


def run(
    planned: Sequence[Heat], rounds: int, top: Path, batches: Sequence[int] | None
) -> tuple[list[Raced], bool]:
    """The heats that came to something, and whether the user stopped it.

    Raises:
      UserError: before there is anything to show.
    """
    raced: list[Raced] = []
    for heat in planned:
        directory = top / heat.model if len(planned) > 1 else top
        try:
            one = heats.race(heat, rounds, directory, batches)
        except KeyboardInterrupt:
            return raced, True
        except UserError as error:
            if not raced:
                raise
            print(f"{heat.model} is left out: {error.problem}", file=sys.stderr)
            continue
        if one.done is None or one.done.pair is not None:
            raced.append(one)
        if one.done is not None and one.done.error is not None:
            print(f"{heat.model} ended early: {one.done.error.problem}", file=sys.stderr)
        if one.done is not None and one.done.interrupted:
            return raced, True
    return raced, False


def stand(raced: Sequence[Raced], threshold: float) -> list[Standing]:
    """How JAX and PyTorch stand to each other in each heat."""
    return [
        standing(one.heat.model, one.done.pair, threshold, len(raced))
        if one.done is not None and one.done.pair is not None
        else _without_a_batch(one)
        for one in raced
    ]


def _without_a_batch(raced: Raced) -> Standing:
    """A heat whose search found no batch that runs, for one side at least."""
    searches = dict(raced.searches)

    def side(framework: str) -> Figures:
        tried = searches[framework]
        return Figures(
            broke=None if tried.best else f"none of {len(tried.rates) or 1} batches tried gave a rate"
        )

    return Standing(raced.heat.model, side("jax"), side("torch"), None, None, "broken")


def _json(standings: Sequence[Standing], raced: Sequence[Raced]) -> str:
    more = [
        {
            "overrides": {framework: one.heat.overrides(framework) for framework in FRAMEWORKS},
            "searched": {framework: dict(search.rates) for framework, search in one.searches},
        }
        for one in raced
    ]
    return report.as_json(standings, more)


def exit_code(standings: Sequence[Standing]) -> ExitCode:
    """1 where JAX is slower, 2 where nothing could be decided, else 0."""
    verdicts = {one.verdict for one in standings}
    if "slower" in verdicts:
        return ExitCode.FAILED_CHECK
    return ExitCode.OK if verdicts & {"faster", "same"} else ExitCode.USER_ERROR
