"""`python -m trainbench compare`: is NEW slower than BASE, how sure is that, and what else differed."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainbench.errors import ExitCode, UserError
from trainbench.report import compare as report
from trainbench.report import compare_files
from trainbench.results import compare as judge
from trainbench.results import store
from trainbench.results.collect import Collection, Loaded, collect
from trainbench.results.compare_environment import settings
from trainbench.results.compare_metrics import COMPILE_THRESHOLD, THRESHOLD
from trainbench.results.compare_pairs import Pair, Pairing, pair, work_of
from trainbench.results.compare_statistics import FALSE_ALARMS, POWER, rounds_needed
from trainbench.verbs.options import Parser, path

# The change that --ab is to see with its usual number of rounds, and through what spread between runs of one
# program: the same as the blocks of measure=standard are made for.
AB_CHANGE = 0.03
AB_NOISE = 0.01
AB_ROUNDS = rounds_needed(AB_CHANGE, AB_NOISE, THRESHOLD)

# Runs of a side among which the most alike is looked for, where nothing pairs: enough, and done at once.
_MOST_LOOKED_AT = 100

_FIX = "python -m trainbench compare BASE NEW [--threshold 2%] [--json FILE] [--markdown FILE]"
_OPTIONS = "BASE NEW, --ab, --rounds, --dir, --threshold, --json, --markdown"

HELP = f"""\
python -m trainbench compare BASE NEW [--threshold 2%] [--json FILE] [--markdown FILE]
python -m trainbench compare --ab 'OVERRIDES A' 'OVERRIDES B' [--rounds N] [--dir DIR] [...]

Two sets of results, or two configurations run in turn: what got slower, and how sure that is. Exit code 1 for
a regression, 0 for none, 2 if nothing is comparable.

  BASE NEW           result files, or directories that hold some; runs of the same work on the same chip are
                     paired, and several of them on a side are repeats, unless a setting differs between them
  --ab A B           run two configurations in turn (A B, B A, ...), each in a fresh process, and compare them
  --rounds N         runs of each; default {AB_ROUNDS}: sees {AB_CHANGE:.0%} if runs scatter by {AB_NOISE:.0%}
  --dir DIR          where the runs of --ab go; default outputs/ab/DATE/TIME
  --threshold 2%     the least change that counts; compile time: at least {COMPILE_THRESHOLD:.0%}
  --json FILE        everything that was found, as JSON; - for the terminal, in place of the text
  --markdown FILE    the same for a pull request; - for the terminal, in place of the text

A change is declared if it is significant and above the threshold. Significant: the interval of the ratio,
which holds the truth in {1 - FALSE_ALARMS:.0%} of cases over all pairs together (Bonferroni), is clear of 1.
  one run a side     medians over blocks with McKean and Schrader's (1984) standard error, which allows for
                     autocorrelation; Price and Bonett (2002), Welch (1947). A drift counts as uncertainty
                     (GUM, 4.3.9). Processes of one program differ too, which one run a side cannot see.
  several runs       Welch's t test of the runs' medians, its error no smaller than Student's; with --ab
                     paired by round (Student's t)
  compiled memory    is the same each time: any change above the threshold counts
  compile time, allocator's peak: from several runs only (compile time: without the cache)
"could not have seen a change below x %": a change of x % would have been declared with {POWER:.0%} chance.

  python -m trainbench compare results outputs
  python -m trainbench compare --ab 'model=vit_tiny precision=bf16' 'model=vit_tiny precision=fp32'"""


@dataclass(frozen=True)
class Output:
    """The least change that counts, and where the comparison goes besides the terminal."""

    threshold: float = THRESHOLD
    json: str | None = None
    markdown: str | None = None


def show(arguments: list[str]) -> int:
    """Compare and print; the exit code.

    Raises:
      UserError: an unknown option, a path that is not there, or nothing that may be compared.
    """
    parser = Parser(allowed=_OPTIONS, fix=_FIX)
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
    skipped = [str(one) for one in (*base.skipped, *new.skipped)]
    return deliver(pairing.pairs, asked, pairing, skipped)


def _keep(asked: Output, runs: Iterable[Loaded]) -> None:
    """None; UserError where the comparison would be written over a result."""
    inputs = {run.file.resolve() for run in runs}
    for file in (asked.json, asked.markdown):
        if file not in (None, "-") and Path(file).resolve() in inputs:
            raise UserError(f"{file} is one of the results", fix="name another file to write to")


def add_output(parser: argparse.ArgumentParser) -> None:
    """None; the options of `Output`, for each verb that ends with a comparison."""
    parser.add_argument("--threshold", default=f"{THRESHOLD:.0%}")
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
    return Output(_share(options.threshold), options.json, options.markdown)


def _share(text: str) -> float:
    try:
        number = text.strip()
        share = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise UserError(
            f"--threshold {text} is no share", allowed="0 % to below 100 %", fix="--threshold 2% or 0.02"
        )
    return share


def deliver(
    pairs: Sequence[Pair], asked: Output, pairing: Pairing | None = None, skipped: Sequence[str] = ()
) -> ExitCode:
    """The exit code, after the comparison of these pairs is printed and written.

    Raises:
      UserError: a file cannot be written.
    """
    compared = judge.compare(pairs, asked.threshold)
    said = report.words(compared, pairing, skipped)
    code = judge.exit_code(compared)
    contents = {
        asked.json: compare_files.as_json(compared, said, pairing, code, skipped),
        asked.markdown: compare_files.markdown(said),
    }
    printed = contents.pop("-", None)
    print(report.text(said) if printed is None else printed.rstrip("\n"))
    for file, content in contents.items():
        if file is not None:
            store.write_asked_for(Path(file), content.encode())
    return code


def _in_turn(options: argparse.Namespace) -> int:
    # Imported late: it composes configurations, which takes JAX's import.
    from trainbench.processes import ab

    if options.paths:
        raise UserError(
            f"--ab takes two sets of overrides, each in quotes; what is {str(options.paths[0])!r}?",
            allowed="compare --ab 'KEY=VALUE ...' 'KEY=VALUE ...'",
            fix="put each side's overrides in one pair of quotes",
        )
    asked = output(options)
    done = ab.run(options.ab, _count(options.rounds), options.dir)
    if done.pair is None:
        return ExitCode.INTERRUPTED
    code = deliver([done.pair], asked)
    return ExitCode.INTERRUPTED if done.interrupted else code


def _count(text: str | None) -> int:
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
