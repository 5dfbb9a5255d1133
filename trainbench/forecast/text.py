"""A forecast on the console, in plain lines; several of them as one table."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from trainbench.report import console, facts
from trainbench.report.comparisons import published
from trainbench.report.grid import UNKNOWN, grid, plain
from trainbench.report.numbers import clip, count, duration, number, percent, size
from trainbench.results.record import Forecast, ForecastPart, Result

NOT_CALIBRATED = (
    "no expected rate and no interval: the estimate has not been calibrated against published figures yet"
)

_WIDTH = 110
_TABLE_WIDTH = 130  # the widest numbers there are; it is as narrow as it can be
_MOST_OPERATIONS = 5
_MOST_COMPARISONS = 4
_MOST_UNKNOWN = 3
_MOST_OF_A_PLACE = 60
_SMALLER = "batch_size=auto finds the largest batch that fits"
_NOT_EVEN_ONE = "not even the smallest batch does: take a smaller model, or a chip with more memory"
# Choices that decide nothing where nothing runs.
_OF_A_RUN = tuple(f"auto: {name} =" for name in ("steps", "warmup", "input"))
_HEADLINES = {"oom": "OUT OF MEMORY", "failed": "FAILED"}


def summary(result: Result, path: Path) -> list[str]:
    """What is forecast, whether it fits, how fast by which figure, what limits it, against what."""
    about = _forecast(result)
    headline = [] if result.status == "ok" else [f"{_HEADLINES[result.status]}: {result.status_reason}"]
    lines = [*headline, *_what(result), console.labelled("target", about.explanation), *_fits(result)]
    lines += [*_speed(result, about), *_why(about)]
    if result.compile:
        lines.append(console.labelled("compile", _compile(result)))
    lines += [console.labelled("published", text) for text in published(result, _MOST_COMPARISONS)]
    lines.append(console.labelled("result", str(path)))
    return [*lines, *(line for line in console.autos(result) if not line.startswith(_OF_A_RUN))]


def table(results: Sequence[Result]) -> str:
    """One row a target, rates per chip, and what they are; no row where there are none."""
    drawn = grid()
    drawn.add_column("target", no_wrap=True)
    for title in _titles(results[0]):
        drawn.add_column(title, justify="right", no_wrap=True)
    drawn.add_column("limit", no_wrap=True)
    drawn.add_column("status", no_wrap=True)
    for result in results:
        drawn.add_row(*map(Text, _cells(result)))
    lines = [line.rstrip() for line in plain(drawn, _TABLE_WIDTH).splitlines()]
    return "\n".join([*lines, *_notes(results)])


def _titles(result: Result) -> tuple[str, ...]:
    unit = facts.unit(result)
    return "chips", "batch", "needs", "has", f"bound {unit}/s", "estimate", "of bound"


def _cells(result: Result) -> tuple[str, ...]:
    about, work, memory = _forecast(result), result.workload, result.memory
    needed, has = (memory.peak_bytes_compiled, memory.limit_bytes) if memory else (None, None)
    bound, estimate = about.bound_samples_per_s, about.compiler_samples_per_s
    chips = _chips(result)
    longest = about.limits[0] if about.limits else None
    return (
        about.target,
        str(chips) if result.hardware else UNKNOWN,
        f"{work.batch_size:,}" if work else UNKNOWN,
        size(needed) if needed is not None else UNKNOWN,
        size(has) if has is not None else UNKNOWN,
        number(bound / chips) if bound is not None else UNKNOWN,
        number(estimate / chips) if estimate is not None else UNKNOWN,
        percent(estimate / bound) if bound and estimate is not None else UNKNOWN,
        f"{longest.name} {percent(longest.share)}" if longest else UNKNOWN,
        result.status,
    )


def _notes(results: Sequence[Result]) -> list[str]:
    lines = ["rates per chip; batch, needs and has per JAX device"]
    lines += [_forecast(result).explanation for result in results]
    if any(result.throughput for result in results):
        lines += [
            "bound: FLOPs and bytes at published rates; estimate: by the compiler's cycles, uncalibrated"
        ]
        lines.append(NOT_CALIBRATED)
    for result in results:
        name = _forecast(result).target
        if result.status != "ok":
            lines.append(f"{name}: {result.status_reason}")
        unknown = _forecast(result).unknown
        lines += [f"{name}: unknown: {text}" for text in _first(unknown, _MOST_UNKNOWN)]
    return lines


def _forecast(result: Result) -> Forecast:
    assert result.forecast is not None, "a forecast says its target"
    return result.forecast


def _chips(result: Result) -> int:
    return (result.hardware.chip_count or 1) if result.hardware else 1


def _what(result: Result) -> list[str]:
    work = result.workload
    if work is None:
        return [console.labelled("command", result.command)]
    parts = work.gradient_accumulation
    cut = f" in {parts:,} micro-batches of {work.batch_size // parts:,}" if parts > 1 else ""
    known = [work.model, work.precision, f"{count(work.parameters)} parameters", *console.shape(work)]
    batch = f"batch {work.batch_size:,} per device{cut}, {work.global_batch_size:,} global"
    return [console.labelled("forecast", " · ".join([*known, work.optimizer, batch]))]


def _fits(result: Result) -> list[str]:
    memory = result.memory
    if memory is None:
        return []
    needed, has = memory.peak_bytes_compiled, memory.limit_bytes
    if result.status == "oom":
        searched = result.config.get("batch_size") == "auto"
        return [console.labelled("fits", f"no; {_NOT_EVEN_ONE if searched else _SMALLER}")]
    of = f" of {size(has)}, {percent(needed / has)}" if has and needed is not None else ""
    need = "n/a" if needed is None else f"{size(needed)}{of}"
    return [console.labelled("fits", f"yes: needs {need} of each device, by the compiler")]


def _speed(result: Result, about: Forecast) -> list[str]:
    bound, estimate = about.bound_samples_per_s, about.compiler_samples_per_s
    lines = []
    if bound is not None:
        rate = _rate(result, bound)
        lines.append(console.labelled("bound", f"{rate} · FLOPs and bytes at published rates, no more"))
    if estimate is not None:
        assert result.workload is not None
        step = duration(result.workload.global_batch_size / estimate)
        text = f"{_rate(result, estimate)} · by the compiler's cycles, uncalibrated · {step} a step"
        lines += [console.labelled("estimate", text), console.labelled("", NOT_CALIBRATED)]
    return lines


def _rate(result: Result, rate: float) -> str:
    """ "12,000 images/s (3,000 per chip)"."""
    chips = _chips(result)
    return f"{number(rate)} {facts.unit(result)}/s" + (
        f" ({number(rate / chips)} per chip)" if chips > 1 else " per chip"
    )


def _why(about: Forecast) -> list[str]:
    """What takes the time of the estimated step, and what could not be told."""
    lines = []
    if about.limits:
        parts = [f"{part.name} {percent(part.share)}" for part in about.limits]
        lines.append(console.labelled("limits", " · ".join(parts)))
    for place, part in enumerate(about.operations[:_MOST_OPERATIONS]):
        lines.append(console.labelled("" if place else "operations", _operation(part)))
    if about.unestimated_fraction:
        share = percent(about.unestimated_fraction)
        text = f"{share} of the estimate is operations without cycles, which take their bound"
        lines.append(console.labelled("no cycles", text))
    unknown = _first(about.unknown, _MOST_UNKNOWN)
    return lines + [console.labelled("unknown", clip(text, _WIDTH)) for text in unknown]


def _operation(part: ForecastPart) -> str:
    place = facts.place(part.name, _MOST_OF_A_PLACE)
    return f"{percent(part.share):>7} {duration(part.seconds):>8}  {place}"


def _first(texts: Sequence[str], most: int) -> list[str]:
    left = len(texts) - most
    return [*texts[:most], *([f"+{left} more, in the result file"] if left > 0 else [])]


def _compile(result: Result) -> str:
    assert result.compile is not None
    text = console.compile_text(result.compile)
    if result.compile.cache == "hit":
        text = f"taken from the cache; compiling it took {duration(result.compile.compile_s or 0)}"
    libtpu = result.software.libtpu if result.software else None
    return text + (f" · libtpu {libtpu}" if libtpu else "")
