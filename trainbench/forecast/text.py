"""A forecast on the console, in plain lines; several of them as one table."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from trainbench.report import console, facts, forecasts, what_ran
from trainbench.report.comparisons import published, with_differences
from trainbench.report.grid import UNKNOWN, grid, plain
from trainbench.report.numbers import clip, count, duration, number, percent, size
from trainbench.results.forecast_rate import chips as chips_of
from trainbench.results.record import Forecast, ForecastPart, Result

_WIDTH = 110
_TABLE_WIDTH = 160  # the widest numbers there are; it is as narrow as it can be
_MOST_OPERATIONS = 5
_MOST_COMPARISONS = 4
_MOST_UNKNOWN = 3
_MOST_OF_A_PLACE = 60
_SMALLER = "batch_size=auto finds the largest batch that fits"
_SMALLEST_BOUND = "take a smaller batch or model, or a chip with more memory"
_NOT_EVEN_ONE = "not even the smallest batch does: take a smaller model, or a chip with more memory"
_BOUND_ONLY = "bound only"
_OF_A_TRACE = "products, state and batch at the highest rates; nothing was compiled"
_SIDE_BY_SIDE = " (of the bound's step; they may overlap)"
# Choices that decide nothing where nothing runs.
_OF_A_RUN = tuple(f"auto: {name} =" for name in ("steps", "warmup", "input"))
_HEADLINES = {"oom": "OUT OF MEMORY", "failed": "FAILED"}


def summary(result: Result, path: Path) -> list[str]:
    """What is forecast, whether it fits, how fast by which figure, what limits it, against what."""
    about = _forecast(result)
    headline = [] if result.status == "ok" else [f"{_HEADLINES[result.status]}: {result.status_reason}"]
    lines = [*headline, *_what(result), what_ran.labelled("target", about.explanation), *_fits(result)]
    lines += [*_speed(result, about), *_why(about)]
    if result.compile and not is_bound(result):
        lines.append(what_ran.labelled("compile", _compile(result)))
    lines += [what_ran.labelled(label, text) for label, text in forecasts.beside(result)]
    lines += [what_ran.labelled("economy", text) for text in forecasts.economy(result)]
    lines += [what_ran.labelled("published", text) for text in _published(result)]
    lines.append(what_ran.labelled("result", str(path)))
    return [*lines, *(line for line in console.autos(result) if not line.startswith(_OF_A_RUN))]


def table(results: Sequence[Result]) -> str:
    """One row a target, rates per chip, and what they are; no row where there are none."""
    drawn = grid()
    drawn.add_column("target", no_wrap=True)
    economy = forecasts.economy_columns(results)
    for title in (*_titles(results), *economy):
        drawn.add_column(title, justify="right", no_wrap=True)
    drawn.add_column("limit", no_wrap=True)
    drawn.add_column("status", no_wrap=True)
    for place, result in enumerate(results):
        *rates, limit, status = _cells(result)
        values = (column[place] for column in economy.values())
        known = [UNKNOWN if value is None else number(value) for value in values]
        drawn.add_row(*map(Text, (*rates, *known, limit, status)))
    lines = [line.rstrip() for line in plain(drawn, _TABLE_WIDTH).splitlines()]
    return "\n".join([*lines, *_notes(results)])


def _titles(results: Sequence[Result]) -> tuple[str, ...]:
    unit = facts.unit(next((one for one in results if one.workload), results[0]))
    return "chips", "batch", "needs", "has", f"expected {unit}/s", "95 %", "at most"


def _cells(result: Result) -> tuple[str, ...]:
    about, work, memory = _forecast(result), result.workload, result.memory
    needed, has = (memory.peak_bytes_compiled, memory.limit_bytes) if memory else (None, None)
    bound, speed = about.bound_samples_per_s, result.throughput
    chips = chips_of(result)
    ends = speed.samples_per_s_ci95 if speed else None
    longest = about.limits[0] if about.limits else None
    return (
        about.target,
        str(chips) if result.hardware else UNKNOWN,
        f"{work.batch_size:,}" if work else UNKNOWN,
        size(needed) if needed is not None else UNKNOWN,
        size(has) if has is not None else UNKNOWN,
        number(speed.samples_per_s / chips) if speed else UNKNOWN,
        f"{number(ends[0] / chips)} to {number(ends[1] / chips)}" if ends else UNKNOWN,
        number(bound / chips) if bound is not None else UNKNOWN,
        f"{longest.name} {percent(longest.share)}" if longest else UNKNOWN,
        _BOUND_ONLY if result.status == "ok" and is_bound(result) else result.status,
    )


def _notes(results: Sequence[Result]) -> list[str]:
    lines = ["rates per chip; batch, needs and has per JAX device"]
    lines += [_forecast(result).explanation for result in results]
    if any(_forecast(result).bound_samples_per_s for result in results):
        lines.append("at most: FLOPs and bytes at published rates")
    expected = {_forecast(result).calibration for result in results if result.throughput}
    lines += [f"expected rests on {text}" for text in sorted(filter(None, expected))]
    for result in results:
        name = _forecast(result).target
        if is_bound(result):
            lines.append(f"{name}: {_BOUND_ONLY}: {result.reason('throughput')}")
        if result.status != "ok":
            lines.append(f"{name}: {result.status_reason}")
        lines += [f"{name}: {text}" for text in forecasts.economy_basis(result)]
        unknown = _forecast(result).unknown
        lines += [f"{name}: unknown: {text}" for text in _first(unknown, _MOST_UNKNOWN)]
    return lines


def is_bound(result: Result) -> bool:
    """Whether nothing was compiled, so that there is no more than a bound."""
    return _forecast(result).basis == "traced program"


def _forecast(result: Result) -> Forecast:
    assert result.forecast is not None, "a forecast says its target"
    return result.forecast


def _what(result: Result) -> list[str]:
    work = result.workload
    if work is None:
        return [what_ran.labelled("command", result.command)]
    parts = work.gradient_accumulation
    cut = f" in {parts:,} micro-batches of {work.batch_size // parts:,}" if parts > 1 else ""
    known = [work.model, work.precision, f"{count(work.parameters)} parameters", *what_ran.shape(work)]
    batch = f"batch {work.batch_size:,} per device{cut}, {work.global_batch_size:,} global"
    words = [*known, work.optimizer, batch, *what_ran.split(result)]
    return [what_ran.labelled("forecast", " · ".join(words)), *what_ran.levers(result)]


def _fits(result: Result) -> list[str]:
    memory = result.memory
    if memory is None:
        return []
    needed, has = memory.peak_bytes_compiled, memory.limit_bytes
    if result.status == "oom":
        return [what_ran.labelled("fits", f"no; {_smaller(result)}")]
    if is_bound(result):
        of = f" of {size(has)}" if has else ""
        return [
            what_ran.labelled("fits", f"may be: {result.reason('peak_bytes_compiled')}{of} of each device")
        ]
    of = f" of {size(has)}, {percent(needed / has)}" if has and needed is not None else ""
    need = "n/a" if needed is None else f"{size(needed)}{of}"
    return [what_ran.labelled("fits", f"yes: needs {need} of each device, by the compiler")]


def _smaller(result: Result) -> str:
    """What would fit in the place of what doesn't."""
    largest = result.memory.largest_batch_size if result.memory else None
    if largest is not None:
        return f"the largest batch that does is {largest:,} per device: batch_size={largest}"
    if is_bound(result):
        return _SMALLEST_BOUND
    return _NOT_EVEN_ONE if result.config.get("batch_size") == "auto" else _SMALLER


def _speed(result: Result, about: Forecast) -> list[str]:
    if is_bound(result):
        return _bound(result, about)
    bound, by_compiler, speed = about.bound_samples_per_s, about.compiler_samples_per_s, result.throughput
    lines = []
    if speed:
        assert result.workload is not None
        step = duration(result.workload.global_batch_size / speed.samples_per_s)
        text = f"{_rate(result, speed.samples_per_s)}{_interval(result)} · {step} a step"
        lines.append(what_ran.labelled("expected", text))
    elif bound is not None:
        lines.append(what_ran.labelled("expected", f"none: {result.reason('throughput')}"))
    if bound is not None:
        text = f"{_rate(result, bound)} · FLOPs and bytes of the compiled program at published rates"
        lines.append(what_ran.labelled("at most", text))
    if by_compiler is not None:
        text = f"{_rate(result, by_compiler)} · by its own estimates of the operations, taken at their word"
        lines.append(what_ran.labelled("compiler", text))
    if about.calibration:
        lines += _wrapped("rests on", about.calibration)
    return lines


def _interval(result: Result) -> str:
    """The 95 % interval per chip, with a comma before it."""
    chips = chips_of(result)
    ends = result.throughput.samples_per_s_ci95 if result.throughput else None
    return f", 95 %: {number(ends[0] / chips)} to {number(ends[1] / chips)} per chip" if ends else ""


def _wrapped(label: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, _WIDTH - len(what_ran.labelled(label, "")))
    return [what_ran.labelled("" if place else label, line) for place, line in enumerate(lines)]


def _bound(result: Result, about: Forecast) -> list[str]:
    """The bound of a step that was not compiled, and what would give more than that."""
    rate = about.bound_samples_per_s
    text = "none: nothing that bounds the step is known"
    if rate is not None:
        text = f"at most {_rate(result, rate)} · {_OF_A_TRACE}"
    shown = [] if result.status != "ok" else [what_ran.labelled("bound", text)]
    return [*shown, what_ran.labelled("why not more", result.reason("throughput") or UNKNOWN)]


def _published(result: Result) -> list[str]:
    """The published figures; beside a bound the nearest ones, those of the own chip as a share of it."""
    bound = _forecast(result).bound_samples_per_s
    if not is_bound(result) or bound is None:
        return published(result, _MOST_COMPARISONS)
    lines = []
    for one in result.comparisons[:_MOST_COMPARISONS]:
        own = not any(text.startswith("accelerator:") for text in one.differences)
        share = f" · {percent(one.value * chips_of(result) / bound)} of the bound" if own else ""
        rate = f"{one.accelerator} {number(one.value)} {facts.unit(result)}/s per chip{share}"
        lines.append(with_differences(one, rate))
    return lines


def _rate(result: Result, rate: float) -> str:
    """ "12,000 images/s (3,000 per chip)"."""
    chips, whole = chips_of(result), f"{number(rate)} {facts.unit(result)}/s"
    if chips > 1:
        return f"{whole} ({number(rate / chips)} per chip)"
    return f"{whole} per chip" if result.hardware and result.hardware.chip else whole


def _why(about: Forecast) -> list[str]:
    """What takes the time of the estimated step, and what could not be told."""
    lines = []
    if about.limits:
        parts = [f"{part.name} {percent(part.share)}" for part in about.limits]
        side_by_side = _SIDE_BY_SIDE if about.basis == "traced program" and len(parts) > 1 else ""
        lines.append(what_ran.labelled("limits", " · ".join(parts) + side_by_side))
    for place, part in enumerate(about.operations[:_MOST_OPERATIONS]):
        lines.append(what_ran.labelled("" if place else "operations", _operation(part)))
    if about.unestimated_fraction:
        share = percent(about.unestimated_fraction)
        text = f"{share} of the step is operations that the compiler has no estimate of"
        lines.append(what_ran.labelled("", text))
    unknown = _first(about.unknown, _MOST_UNKNOWN)
    return lines + [what_ran.labelled("unknown", clip(text, _WIDTH)) for text in unknown]


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
    on_tpu = result.hardware is not None and (result.hardware.chip or "").startswith("tpu")
    libtpu = result.software.libtpu if result.software and on_tpu else None
    return text + (f" · libtpu {libtpu}" if libtpu else "")
