"""A run beside the published figures: its comparisons, what it costs, and the rows of its chart."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trainbench import reproduce
from trainbench.config import Request
from trainbench.errors import UserError, first_line
from trainbench.levers.registry import LEVERS
from trainbench.model_flops import flops_per_sample
from trainbench.reference import economy, figures, match
from trainbench.reference.differences import RunFacts, same_accelerator
from trainbench.reference.figure import Figure
from trainbench.report import plots
from trainbench.results import record, store
from trainbench.run import Parts
from trainbench.training.parallel_settings import SYNCHRONISED
from trainbench.work_sections import parallel_section

CHART_FILES = ("published.png", "published.svg")

# Rows of the chart: what one screen shows without scrolling, with at most a few from the run's own family.
_ROWS, _OWN_ROWS = 16, 5


def conditions(
    workload: record.Workload,
    num_chips: int,
    mesh: record.Parallel | None = None,
    *,
    levers: Mapping[str, Any] | None = None,
    saves: bool = False,
    **others: Any,
) -> RunFacts:
    """The conditions of a workload on so many chips, with what else `RunFacts` is told.

    Args:
      mesh: how devices share the work; None where there is one that computes nothing again.
      levers: their values, by key.
      saves: whether checkpoints count in the timed window.
    """
    return RunFacts(
        model=workload.model,
        task=workload.task,
        image_size=workload.image_size,
        sequence_length=workload.sequence_length,
        precision=workload.precision,
        batch_size=workload.batch_size,
        gradient_accumulation=workload.gradient_accumulation,
        optimizer=workload.optimizer,
        dataset=workload.data,
        num_chips=num_chips,
        unusual=tuple(_unusual(mesh, levers or {}, saves=saves)),
        **others,
    )


def _unusual(
    mesh: record.Parallel | None, levers: Mapping[str, Any], *, saves: bool
) -> Iterator[tuple[str, str, str]]:
    if mesh is not None:
        sizes = {"fsdp": mesh.fsdp, "tensor": mesh.tensor}
        split = " x ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1)
        if split:
            yield "split over devices", "the batch", split
        if mesh.remat != "none":
            yield "computed again", "nothing", f"remat={mesh.remat}"
        if mesh.batch_norm == SYNCHRONISED:
            yield "batch statistics", "of each replica", mesh.batch_norm
    for key, value in levers.items():
        if key in LEVERS and LEVERS[key].unusual and value != LEVERS[key].plain:
            yield LEVERS[key].summary, str(LEVERS[key].plain), str(value)
    if saves:
        yield "checkpoints", "not timed", "timed"


def run_facts(parts: Parts, workload: record.Workload, speed: record.Throughput | None) -> RunFacts:
    """The conditions of a run, and its rate if it came to one, as `match` compares them."""
    devices, config = parts.devices, parts.config
    assert devices is not None
    assert config is not None
    return conditions(
        workload,
        _chips(parts),
        parallel_section(config, None, ()),
        levers=dataclasses.asdict(config.levers),
        samples_per_s_per_chip=speed.samples_per_s / _chips(parts) if speed else None,
        chip_id=devices.chip.id if devices.chip else None,
        accelerator="CPU" if devices.platform == "cpu" else devices.kind,
        data="real" if config.input in ("real", "all") else "synthetic",
        devices_per_chip=devices.chip.jax_devices_per_chip if devices.chip else 1,
        framework="PyTorch (Hugging Face)" if parts.framework else "JAX (Flax NNX)",
        saves=parts.request.checkpoint.every is not None and parts.request.checkpoint.timed,
    )


def comparisons(
    parts: Parts, workload: record.Workload | None, speed: record.Throughput | None
) -> tuple[record.Comparison, ...]:
    """The user's own figures, then the shipped ones that are nearest to a run; none without a rate."""
    if workload is None or speed is None:
        return ()
    return beside(run_facts(parts, workload, speed), parts.request)


def beside(run: RunFacts, request: Request, first: str | None = None) -> tuple[record.Comparison, ...]:
    """The user's own figures, then the shipped ones that are nearest to a run, or to a forecast.

    Args:
      first: the id of a figure that comes before all others.
    """
    table = {figure.id: figure for figure in _table(request)}
    conditions = run.chip_id, request.price_per_hour, run.samples_per_s_per_chip
    ahead = [table[first]] if first else []
    found: dict[str, match.Comparison] = {}
    for one in (*_one_by_one(run, [*ahead, *_extra(request)]), *match.compare(run, figures.load())):
        found.setdefault(one.reference_id, one)
    return tuple(_comparison(one, economy.compare(*conditions, table[each])) for each, one in found.items())


def left_out(parts: Parts, workload: record.Workload | None) -> Iterator[str]:
    """In one line, how many of the user's own figures a run is not compared with, and why."""
    extra = _extra(parts.request)
    if workload is None or not extra:
        return
    run = run_facts(parts, workload, None)
    unlike = [figure.id for figure in extra if not match.comparable(run, figure)]
    why = "another model, task or size, or no rate per chip"
    if unlike:
        yield (
            f"reference.extra: {len(unlike)} of {len(extra)} own figures are compared with nothing ({why}): "
            f"{', '.join(unlike)}"
        )


def reproduction(
    parts: Parts, workload: record.Workload | None, speed: record.Throughput | None
) -> record.Reproduction | None:
    """How a run answers `reproduce=ID`; None where it was not asked, or never came to know its workload."""
    wanted = parts.request.reproduce
    if wanted is None or workload is None:
        return None
    ends = speed.samples_per_s_ci95 if speed else None
    interval = (ends[0] / _chips(parts), ends[1] / _chips(parts)) if ends else None
    figure = figures.find(wanted, parts.request.extra_figures)
    return reproduce.judge(figure, run_facts(parts, workload, speed), interval)


def cost(parts: Parts, speed: record.Throughput | None) -> record.Cost | None:
    """What a million samples cost at this speed; None without a rate or a price."""
    if speed is None or parts.devices is None:
        return None
    return cost_at(price_here(parts), speed.samples_per_s / _chips(parts))


def cost_at(price: economy.Known, rate_per_chip: float) -> record.Cost | None:
    """What a million samples cost at so many a second and chip; None without a price, or a rate.

    Args:
      price: of one chip and hour.
    """
    if price.value is None or rate_per_chip <= 0:
        return None
    source = f"{price.words}; source: {price.source}" if price.source else price.words
    per_chip_and_hour = rate_per_chip * 3600
    return record.Cost(usd_per_million_samples=price.value / per_chip_and_hour * 1e6, price_source=source)


def price_here(parts: Parts) -> economy.Known:
    """The price of one chip of this run and hour, or why there is none."""
    chip = parts.devices.chip if parts.devices else None
    return economy.price_of(chip, parts.request.price_per_hour)


def draw(parts: Parts, result: record.Result, directory: Path) -> str | None:
    """Write the chart into `directory`; where it is, or in one line why there is none.

    None where there is nothing to compare with. What goes wrong here is said and costs no run, whose result
    is written already.
    """
    if not result.comparisons or result.workload is None or result.throughput is None:
        return None
    try:
        run = run_facts(parts, result.workload, result.throughput)
        own = _own_row(run, parts.devices.kind if parts.devices else "unknown device")
        chart = plots.published_chart(result.workload, own, tuple(_rows(run, _extra(parts.request))))
        for name, content in zip(CHART_FILES, plots.images(chart), strict=True):
            store.write_whole(directory / name, content)
    except UserError as error:
        return f"warning: the chart was not written: {error.problem}"
    except Exception as error:
        return f"warning: the chart was not drawn: {type(error).__name__}: {first_line(error)}"
    return f"{'chart':<12} {' and '.join(CHART_FILES)} beside the result"


def remove_chart(directory: Path) -> None:
    """Take away the chart of an earlier run in `directory`, lest it be taken for that of the next one."""
    for name in CHART_FILES:
        (directory / name).unlink(missing_ok=True)


def _table(request: Request) -> tuple[Figure, ...]:
    return figures.load(request.extra_figures, flops_per_sample)


def _extra(request: Request) -> list[Figure]:
    """The user's own figures."""
    shipped = {figure.id for figure in figures.load()}
    return [figure for figure in _table(request) if figure.id not in shipped]


def _one_by_one(run: RunFacts, own: Iterable[Figure]) -> Iterator[match.Comparison]:
    """Every figure that can be compared, where `match.compare` would keep one of an accelerator."""
    for figure in own:
        yield from match.compare(run, [figure])


def _chips(parts: Parts) -> int:
    """Chips of a run; a device that is not in the table counts as one, a CPU with simulated devices too."""
    assert parts.devices is not None
    return parts.devices.chip_count or (1 if parts.devices.platform == "cpu" else parts.devices.count)


def _rows(run: RunFacts, extra: Iterable[Figure]) -> Iterator[plots.Row]:
    """The user's figures, the nearest ones of the run's own family, then the best of each other one."""
    for figure in extra:
        for one in match.compare(run, [figure]):
            yield _row(one, figure)
    figures_by_id = {figure.id: figure for figure in figures.load()}
    own = [figure for figure in figures_by_id.values() if same_accelerator(run, figure)]
    others = [figure for figure in figures_by_id.values() if not same_accelerator(run, figure)]
    nearest = list(_nearest(run, own, _OWN_ROWS))
    best = match.compare(run, others, limit=_ROWS - len(nearest))
    for one in (*nearest, *sorted(best, key=_lowness)):
        yield _row(one, figures_by_id[one.reference_id])


def _nearest(run: RunFacts, family: list[Figure], most: int) -> Iterator[match.Comparison]:
    for _ in range(most):
        for one in match.compare(run, family, limit=1):
            yield one
            family = [figure for figure in family if figure.id != one.reference_id]


def _lowness(one: match.Comparison) -> float:
    return -one.value


def _own_row(run: RunFacts, device: str) -> plots.Row:
    assert run.precision is not None, "a run knows its precision"
    assert run.num_chips is not None, "a run knows its chips"
    batch = f"{run.micro_batch_per_chip:g}"
    known = _conditions(run.precision, run.num_chips, batch, run.gradient_accumulation, run.data)
    rate = run.samples_per_s_per_chip or 0.0
    return plots.Row(f"this run: {device}", known, "", rate, ratio=1.0, like_for_like=True)


def _row(one: match.Comparison, figure: Figure) -> plots.Row:
    place = figure.source.split()[0].removeprefix("https://").removeprefix("http://")
    batch = None if figure.micro_batch_per_chip is None else f"{figure.micro_batch_per_chip:g}"
    precision = figure.precision or "precision not stated"
    assert figure.num_chips is not None, "a figure without a chip count has no rate per chip"
    return plots.Row(
        accelerator=one.accelerator,
        conditions=_conditions(precision, figure.num_chips, batch, figure.accumulation, figure.data),
        source=f"{place} {figure.date[:4] if figure.date else 'undated'}",
        value=one.value,
        ratio=one.ratio or 0.0,
        like_for_like=one.like_for_like,
    )


def _conditions(precision: str, chips: float, batch: str | None, accumulation: int, data: str | None) -> str:
    """What one has to know of a figure, in a few words; `batch` is the micro-batch of a chip."""
    known = [precision, "1 chip" if chips == 1 else f"{chips:g} chips"]
    if batch is not None:
        known.append(f"batch {batch}" + (f" x {accumulation}" if accumulation > 1 else ""))
    return " · ".join(known + ([f"{data} data"] if data else []))


def _comparison(one: match.Comparison, ratios: economy.Economy) -> record.Comparison:
    return record.Comparison(
        reference_id=one.reference_id,
        accelerator=one.accelerator,
        value=one.value,
        ratio=one.ratio,
        like_for_like=one.like_for_like,
        differences=one.differences,
        source=one.source,
        date=one.date,
        per_watt=ratios.per_watt,
        per_dollar=ratios.per_dollar,
        basis=ratios.basis,
    )
