"""`python -m trainbench claims`: what is widely claimed, what sources show, what was measured or forecast."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainbench.errors import ExitCode, UserError, nearest
from trainbench.hardware import chips
from trainbench.reference import claim, claims, figures, vocabulary
from trainbench.reference.claims import OwnFigure, Verdict
from trainbench.reference.figure import Figure
from trainbench.reference.found import Tables
from trainbench.report import claims as report
from trainbench.report import claims_html
from trainbench.report.numbers import plus_minus
from trainbench.results import store
from trainbench.results.collect import collect
from trainbench.results.record import Result
from trainbench.verbs.options import Parser, path

_NOT_IN_A_RESULT: dict[str, Any] = {
    "best": False,
    "per_device_batch": None,
    "includes_evaluation": False,
    "source_path": "",
    "source_commit": "",
}
_FIX = "python -m trainbench claims [ID] [--results PATH...] [--markdown FILE] [--html FILE] [--json]"

HELP = """\
python -m trainbench claims [ID...] [--results PATH...] [--markdown FILE] [--html FILE] [--json]

What is widely claimed of GPUs and TPUs, what sources show, and a verdict on each claim.

  ID                 one claim with all its sources, or each whose id holds this, in any case; also id=ID
  --results PATH...  set results beside the claims: result files, or directories that hold some
  --markdown FILE    write a Markdown page instead of printing
  --html FILE        write an HTML page instead of printing
  --json             print everything as JSON

  python -m trainbench claims
  python -m trainbench claims resnet50
  python -m trainbench claims resnet50-v100 --results results
  python -m trainbench claims --html claims.html --results outputs"""

_NAMING = ("id=", "claim=")


@dataclass(frozen=True)
class _Results:
    """What result files gave: figures on known chips, runs on other hardware, files that were left out."""

    figures: tuple[OwnFigure, ...] = ()
    elsewhere: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    other_hardware: tuple[str, ...] = ()
    unused: int = 0
    damaged: int = 0

    def counted(self, verdicts: Sequence[Verdict]) -> str:
        """How many results were read, and what became of them; empty where none were asked for."""
        if not (self.figures or self.elsewhere or self.skipped):
            return ""
        beside = {own.file for one in verdicts for own in one.own}
        kinds = Counter(one.kind for one in self.figures if one.file in beside)
        unlike = sum(one.file not in beside for one in self.figures)
        parts = [f"{kinds['measured']} measured beside claims"]
        parts += [f"{kinds['forecast']} forecast beside claims"] if kinds["forecast"] else []
        parts += [f"{unlike} that none of these claims is about"] if unlike else []
        names = f" ({', '.join(dict.fromkeys(self.other_hardware))})" if self.elsewhere else ""
        parts.append(f"{len(self.elsewhere)} on other hardware{names}")
        parts += [f"{self.unused} left out"] if self.unused else []
        read = len(self.figures) + len(self.elsewhere) + self.unused + self.damaged
        results = "result" if read == 1 else "results"
        return f"{read} {results} read: {', '.join(parts)}, {self.damaged} damaged"

    def notes(self) -> list[str]:
        """One line for each run and file that no claim is compared with."""
        elsewhere = [f"other hardware, not compared: {line}" for line in self.elsewhere]
        return [*elsewhere, *(f"left out: {line}" for line in self.skipped)]


def show(arguments: list[str]) -> int:
    """Print the claims with their verdicts, or write them as asked for.

    Raises:
      UserError: an unknown claim or option, a path that is not there, or a file that can't be written.
    """
    options = _options(arguments)
    table = claim.load()
    named = {one.id: one for name in options.claim for one in _find(name, table.claims)}
    chosen = list(named.values()) or list(table.claims)
    results = _read(options.results)
    tables = Tables(figures.load(), {chip.id: chip for chip in chips.load()}, table.peers)
    verdicts = [claims.judge(one, tables, results.figures) for one in chosen]
    written = list(_write(options, verdicts, results))
    if options.json:
        print(_json(verdicts, results))
    elif written:
        print("\n".join([*filter(None, [results.counted(verdicts)]), *written]))
    else:
        print(_text(verdicts, results, in_detail=len(options.claim) >= len(chosen)))
    return ExitCode.OK


def _options(arguments: list[str]) -> argparse.Namespace:
    # id=ID goes anywhere, also behind --results, which takes all that follows.
    named = [word.partition("=")[2] for word in arguments if word.startswith(_NAMING)]
    parser = Parser(allowed="ID, --results, --markdown, --html, --json", fix=_FIX)
    parser.add_argument("claim", nargs="*")
    parser.add_argument("--results", nargs="+", type=path, action="extend", default=[])
    parser.add_argument("--markdown", type=path)
    parser.add_argument("--html", type=path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_intermixed_args([word for word in arguments if not word.startswith(_NAMING)])
    options.claim += named
    return options


def _find(name: str, known: Sequence[claim.Claim]) -> list[claim.Claim]:
    """The claim of that id, or all whose ids hold it."""
    by_id = {one.id: one for one in known}
    wanted = name.lower()
    if wanted in by_id:
        return [by_id[wanted]]
    holding = [one for one in known if wanted and wanted in one.id]
    if not holding:
        near = nearest(wanted, by_id) or known[0].id
        raise UserError(
            f"there is no claim {name!r}", allowed=", ".join(by_id), fix=f"python -m trainbench claims {near}"
        )
    return holding


def _text(verdicts: Sequence[Verdict], results: _Results, *, in_detail: bool) -> str:
    entries = [report.entry(one, every_source=in_detail) for one in verdicts]
    show = report.details if in_detail else report.text
    return show(entries, results.notes(), read=results.counted(verdicts))


def _json(verdicts: Sequence[Verdict], results: _Results) -> str:
    content = {
        "claims": [asdict(one) | _decided(one) for one in verdicts],
        "other_hardware": results.elsewhere,
        "left_out": results.skipped,
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def _decided(verdict: Verdict) -> dict[str, Any]:
    check = verdict.deciding
    return {"deciding_check": check.check.label, "like_for_like": check.like_for_like}


def _write(options: argparse.Namespace, verdicts: Sequence[Verdict], results: _Results) -> Iterator[str]:
    entries = [report.entry(one) for one in verdicts]
    for file, render in ((options.markdown, report.markdown), (options.html, claims_html.page)):
        if file is not None:
            store.write_asked_for(file, render(entries, results.notes()).encode())
            yield f"written to {file}"


def _read(paths: Iterable[Path]) -> _Results:
    """The results in these files and below these directories."""
    found = collect(paths)
    own, elsewhere, other = [], [], []
    skipped = [str(one) for one in found.skipped]
    for one in found.loaded:
        reason = _unusable(one.result)
        if reason:
            skipped.append(f"{one.file}: {reason}")
        elif _known_chip(one.result):
            own.append(OwnFigure(one.result.kind, str(one.file), _figure(one.result, one.file)))
        else:
            elsewhere.append(_elsewhere(one.result, one.file))
            other.append(_hardware(one.result))
    kinds = Counter(one.kind for one in found.skipped)
    unused = len(found.loaded) + kinds["copy"] - len(own) - len(elsewhere)
    left_out = tuple(sorted(skipped))
    return _Results(tuple(own), tuple(elsewhere), left_out, tuple(other), unused, kinds["damaged"])


def _unusable(result: Result) -> str:
    """Why a claim can't be compared with this result; empty where it can."""
    if result.kind == "probe":
        return "a probe trains no model"
    if result.status != "ok":
        return f"its status is {result.status}"
    if result.forecast and result.throughput is None:
        return "it is a bound, and expects no samples/s"
    known = result.workload and result.hardware and _rate(result)
    return "" if known else "it has no samples/s"


def _known_chip(result: Result) -> bool:
    chip = result.hardware.chip if result.hardware else None
    return chip in vocabulary.ACCELERATOR_OF_CHIP


def _rate(result: Result) -> float | None:
    """Samples/s per chip; of all devices where it is not known how many chips they are."""
    speed, hardware = result.throughput, result.hardware
    if speed is None or speed.samples_per_s_per_chip is not None:
        return speed.samples_per_s_per_chip if speed else None
    return speed.samples_per_s / ((hardware.chip_count if hardware else None) or 1)


def _elsewhere(result: Result, file: Path) -> str:
    assert result.workload is not None
    assert result.hardware is not None
    kind = result.hardware.device_kind
    return f"{result.workload.model} on {kind}, {_rate(result):.4g} samples/s ({result.kind}); {file}"


def _hardware(result: Result) -> str:
    kind = result.hardware.device_kind if result.hardware else "unknown"
    return "a CPU" if kind.lower() == "cpu" else kind


def _figure(result: Result, file: Path) -> Figure:
    work, hardware, rate = result.workload, result.hardware, _rate(result)
    assert work is not None
    assert hardware is not None
    assert hardware.chip is not None
    assert rate is not None
    accelerator = vocabulary.ACCELERATOR_OF_CHIP[hardware.chip]
    masked = work.task == vocabulary.MASKED_LANGUAGE_MODEL
    return Figure(
        id=str(file) if result.kind == "measured" else f"{file} ({result.kind})",
        name=work.model,
        published_model=work.model,
        model_variant="v1.5" if work.model.startswith("resnet") else "",
        task=work.task,
        dataset=work.data,
        accelerator=accelerator,
        board="" if accelerator.startswith("TPU") else hardware.chip,
        chip=hardware.chip,
        num_chips=hardware.chip_count,
        num_devices=hardware.device_count,
        precision=work.precision if work.precision in vocabulary.PRECISION_CLASSES else None,
        global_batch=work.global_batch_size,
        gradient_accumulation=work.gradient_accumulation,
        sequence_length=work.sequence_length,
        image_size=work.image_size,
        optimizer=work.optimizer,
        # Every row that a run here trains on has the full length.
        objective="MLM" if masked else None,
        padding=vocabulary.PADDED if masked else None,
        framework="JAX (trainbench)",
        framework_version=result.software.jax if result.software else "",
        data="synthetic" if work.data == "synthetic" else "real",
        metric="samples/sec",
        value=rate * (hardware.chip_count or 1),
        value_per_chip=rate,
        derivation=result.kind,
        repository=str(file),
        date=result.created_utc.date().isoformat(),
        note=_sureness(result),
        **_NOT_IN_A_RESULT,
    )


def _sureness(result: Result) -> str:
    """The interval of a forecast's rate, which is wide; empty for a measurement."""
    speed = result.throughput
    ends = speed.samples_per_s_ci95 if speed else None
    return plus_minus(speed.samples_per_s, ends) if speed and ends and result.forecast else ""
