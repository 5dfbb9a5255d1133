"""`python -m trainbench compare`: is NEW slower than BASE, how sure is that, and what else differed."""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.report import compare as report
from trainbench.report import compare_files
from trainbench.report.compare_cells import ANYTHING
from trainbench.results import compare as judge
from trainbench.results import compare_gate, store
from trainbench.results.collect import Collection, Loaded, collect
from trainbench.results.compare_environment import settings
from trainbench.results.compare_metrics import COMPILE_THRESHOLD, THRESHOLD
from trainbench.results.compare_pairing import pair
from trainbench.results.compare_pairs import Pair, Pairing, work_of
from trainbench.results.compare_statistics import FALSE_ALARMS, POWER, Difference, rounds_needed
from trainbench.verbs.options import Parser, path

# The change that --ab is to see with its usual number of rounds, and through what spread between runs of one
# program: the same as the blocks of measure=standard are made for.
AB_CHANGE = 0.03
AB_NOISE = 0.01
AB_ROUNDS = rounds_needed(AB_CHANGE, AB_NOISE, THRESHOLD)

# Runs of a side among which the most alike is looked for, where nothing pairs: enough, and done at once.
_MOST_LOOKED_AT = 100

_FIX = "python -m trainbench compare BASE NEW [--threshold 2%] [--strict] [--json FILE] [--markdown FILE]"
_AB_FIX = "python -m trainbench compare --ab 'OVERRIDES A' 'OVERRIDES B' [--rounds N] [--dir DIR]"
_OPTIONS = "BASE NEW, --ab, --rounds, --dir, --threshold, --strict, --json, --markdown"

HELP = f"""\
python -m trainbench compare BASE NEW [--threshold 2%] [--strict] [--json FILE] [--markdown FILE]
python -m trainbench compare --ab 'OVERRIDES A' 'OVERRIDES B' [--rounds N] [--dir DIR] [...]

Two sets of results, or two configurations run in turn: what got slower, and how sure that is. Exit code 1 for
a regression, 0 for none, 2 if nothing is comparable or decidable.

  BASE NEW           result files, or directories that hold some; runs of the same work on the same chip are
                     paired, and several of them on a side are repeats, unless a setting differs between them
  --ab A B           run two configurations in turn (A B, B A, ...), each in a fresh process, and compare them
  --rounds N         runs of each; default {AB_ROUNDS}: sees {AB_CHANGE:.0%} if runs scatter by {AB_NOISE:.0%}
  --dir DIR          where the runs of --ab go; default outputs/ab/DATE/TIME
  --threshold 2%     the least change that counts; compile time: at least {COMPILE_THRESHOLD:.0%}
  --strict           exit code 1 also if a pair's speed can't be told, a file of NEW is damaged, or a run of
                     BASE has no partner in NEW: for a gate that must not pass blind
  --json FILE        everything that was found, as JSON; - for the terminal, in place of the text
  --markdown FILE    the same for a pull request; - for the terminal, in place of the text

A change is declared if it is significant and above the threshold. Significant: the interval of the ratio,
which holds the truth in {1 - FALSE_ALARMS:.0%} of cases over all pairs together (Bonferroni), is clear of 1.
  one run a side     medians over blocks with McKean and Schrader's (1984) standard error, which allows for
                     autocorrelation; Price and Bonett (2002), Welch (1947). A drift counts as uncertainty
                     (GUM, 4.3.9). Processes of one program differ too, which one run a side cannot see.
  several runs       Welch's t test of the runs' medians, its error no smaller than Student's; with --ab
                     paired by round (Student's t). Three a side see less than --ab with its usual rounds.
                     For one run against several it is assumed that both sides scatter alike.
  compiled memory    is the same each time: any change above the threshold counts
  forecasts          are shown beside forecasts and measurements, and never judged; the interval of such a
                     ratio is by the ends of both
  compile time, allocator's peak: from several runs only (compile time: without the cache)
"could not have seen a change below x %": a change of x % would have been declared with {POWER:.0%} chance
(one run a side: from 20 blocks on).

  python -m trainbench compare results outputs
  python -m trainbench compare --ab 'model=vit_tiny precision=bf16' 'model=vit_tiny precision=fp32'"""


@dataclass(frozen=True)
class Output:
    """The least change that counts, what passes, and where the comparison goes besides the terminal."""

    threshold: float = THRESHOLD
    strict: bool = False
    json: str | None = None
    markdown: str | None = None


def show(arguments: list[str]) -> int:
    """Compare and print; the exit code.

    Raises:
      UserError: an unknown option, a path that is not there, or nothing that may be compared.
    """
    parser = Parser(allowed=_OPTIONS, fix=_AB_FIX if "--ab" in arguments else _FIX)
    parser.add_argument("paths", nargs="*", type=path)
    parser.add_argument("--ab", nargs=2)
    parser.add_argument("--rounds")
    parser.add_argument("--dir", type=path)
    add_output(parser)
    options = parser.parse_intermixed_args(arguments)
    if options.ab:
        return _in_turn(options)
    if options.rounds or options.dir:
        raise UserError("--rounds and --dir belong to --ab", allowed=_OPTIONS, fix=_FIX)
    if len(options.paths) != 2:
        raise UserError(
            f"compare takes two sides, not {len(options.paths)}", allowed="BASE NEW, or --ab", fix=_FIX
        )
    base, new = (collect([side]) for side in options.paths)
    asked = output(options)
    _keep(asked, [*base.loaded, *new.loaded])
    pairing = pair(base.loaded, new.loaded)
    if not pairing.pairs:
        raise _nothing_comparable(base, new)
    damaged = sum(one.kind == "damaged" for one in new.skipped)
    skipped = tuple(str(one) for one in (*base.skipped, *new.skipped))
    return deliver(pairing.pairs, asked, Around(pairing, skipped, damaged))


def _keep(asked: Output, runs: Iterable[Loaded]) -> None:
    """None; UserError where the comparison would be written over a result."""
    inputs = {run.file.resolve() for run in runs}
    for file in (asked.json, asked.markdown):
        if file not in (None, "-") and Path(file).resolve() in inputs:
            raise UserError(f"{file} is one of the results", fix="name another file to write to")


def add_output(parser: argparse.ArgumentParser) -> None:
    """None; the options of `Output`, for each verb that ends with a comparison."""
    parser.add_argument("--threshold", default=f"{THRESHOLD:.0%}")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", metavar="FILE")


def output(options: argparse.Namespace) -> Output:
    """The options of `add_output`, checked.

    Raises:
      UserError: the threshold is no share below 100 %, or two things are to go to one place.
    """
    if options.json is not None and options.json == options.markdown:
        where = "one terminal" if options.json == "-" else options.json
        raise UserError(f"--json and --markdown would both go to {where}", fix="name another file for one")
    return Output(share(options.threshold), options.strict, options.json, options.markdown)


def share(text: str) -> float:
    """The fraction of a share as it was typed, in per cent or plainly.

    Raises:
      UserError: it is none, or not below 100 %.
    """
    number = text.strip()
    try:
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        meant = f"{number}%" if 1 <= share < 100 else "2% or 0.02"
        raise UserError(
            f"--threshold {text} is no share", allowed="0 % to below 100 %", fix=f"--threshold {meant}"
        )
    return share


@dataclass(frozen=True)
class Around:
    """What is to be said beside the pairs.

    Attributes:
      skipped: files that gave no run, each with the reason.
      damaged: how many of them are damaged and belong to NEW.
      sides: a line on each side, where files do not say what it is.
    """

    pairing: Pairing | None = None
    skipped: tuple[str, ...] = ()
    damaged: int = 0
    sides: tuple[str, ...] = ()


def deliver(pairs: Sequence[Pair], asked: Output, around: Around | None = None) -> ExitCode:
    """The exit code, after the comparison of these pairs is printed and written.

    Raises:
      UserError: a file cannot be written.
    """
    compared = judge.compare(pairs, asked.threshold)
    around = around or Around()
    pairing, skipped = around.pairing, around.skipped
    answer = compare_gate.answer(compared, pairing, around.damaged, strict=asked.strict)
    said = report.words(compared, answer, pairing, skipped, around.sides)
    contents = {
        asked.json: compare_files.as_json(compared, said, pairing, answer.code, skipped),
        asked.markdown: compare_files.markdown(said),
    }
    printed = contents.pop("-", None)
    print(report.text(said) if printed is None else printed.rstrip("\n"))
    for file, content in contents.items():
        if file is not None:
            store.write_asked_for(Path(file), content.encode())
    return answer.code


def _in_turn(options: argparse.Namespace) -> int:
    # Imported late: it composes configurations, which takes JAX's import.
    from trainbench.processes import ab

    if options.paths:
        raise UserError(
            f"--ab takes two sets of overrides, each in quotes; what is {str(options.paths[0])!r}?",
            allowed="compare --ab 'KEY=VALUE ...' 'KEY=VALUE ...'",
            fix="put each side's overrides in one pair of quotes",
        )
    asked, rounds = output(options), count(options.rounds)
    print(_visible(rounds, asked.threshold), file=sys.stderr)
    done = ab.run(options.ab, rounds, options.dir)
    if done.pair is None:
        return ExitCode.INTERRUPTED
    sides = tuple(f"{name}: {text}" for name, text in zip("AB", options.ab, strict=True))
    code = deliver([done.pair], asked, Around(sides=sides))
    if done.error:
        raise done.error
    return ExitCode.INTERRUPTED if done.interrupted else code


def _visible(rounds: int, threshold: float) -> str:
    """What so many rounds can see, said before hours are spent on them."""
    if rounds == 1:
        return "1 round cannot see how runs of one program differ"
    level = Difference(0.0, AB_NOISE * math.sqrt(2 / rounds), rounds - 1)
    change = math.expm1(level.detectable(FALSE_ALARMS, math.log1p(threshold)))
    if change > ANYTHING:
        return f"{rounds} rounds are too few to see any change; {AB_ROUNDS} is usual"
    return f"{rounds} rounds see a change of {change:.1%} or more if runs scatter by {AB_NOISE:.0%}"


def count(text: str | None) -> int:
    """The number of rounds that was typed; the usual one for None.

    Raises:
      UserError: it is no whole number from 1 on.
    """
    if text is None:
        return AB_ROUNDS
    try:
        rounds = int(text)
    except ValueError:
        rounds = 0
    if rounds < 1:
        raise UserError(f"--rounds {text} is no count", allowed="whole numbers from 1 on", fix="--rounds 4")
    return rounds


def _nothing_comparable(base: Collection, new: Collection) -> UserError:
    counts = [f"{len(side.loaded)} {'run' if len(side.loaded) == 1 else 'runs'}" for side in (base, new)]
    for side in (base, new):
        if side.skipped and not side.loaded:
            first = side.skipped[0]
            return UserError(
                f"nothing is comparable: {first}",
                allowed="results that this trainbench can read on both sides",
                fix="leave it out, or name other results",
            )
    skipped = [*base.skipped, *new.skipped]
    why = _nearest(base, new) or (f"left out: {skipped[0]}" if skipped else "")
    return UserError(
        f"nothing is comparable: {counts[0]} in BASE, {counts[1]} in NEW, and no two ran the same"
        + (f"; {why}" if why else ""),
        allowed="results of the same model, batch size, precision, input, ... on both sides",
        fix="compare --ab 'OVERRIDES A' 'OVERRIDES B' compares different configurations",
    )


def _nearest(base: Collection, new: Collection) -> str:
    """How the most alike of the first runs differ; empty where a side has none."""
    sides = [
        list({work_of(run.result): run.result for run in side.loaded[:_MOST_LOOKED_AT]}.items())
        for side in (base, new)
    ]
    found = [
        (ours.differences(theirs), one, other)
        for ours, one in sides[0]
        for theirs, other in sides[1]
        if ours and theirs
    ]
    if not found:
        return ""
    lines, one, other = min(found, key=lambda differing: len(differing[0]))
    lines += settings([one], [other])
    return f"the most alike differ in {', '.join(lines)}" if lines else ""
