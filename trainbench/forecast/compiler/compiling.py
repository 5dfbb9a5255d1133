"""The process that compiles: `python -m trainbench.forecast.compiler.compiling`; a request in, a reply out.

It is apart from the rest, since libtpu wants its environment before JAX is imported, keeps the memory that it
took, and ends the process where it breaks down.
"""

import functools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import jax
import jax.numpy as jnp
from filelock import FileLock, Timeout

from trainbench import autos, config, fits, placement, workload
from trainbench.data.settings import SyntheticData
from trainbench.errors import OutOfMemory, UserError, first_line
from trainbench.forecast.compiler import cache, compilers, gpu_devices, topology
from trainbench.forecast.compiler.messages import LOG, Facts, Mistake, Reply, Request
from trainbench.forecast.compiler.program import (
    Outcome,
    Program,
    ProgramMemory,
    TooLarge,
    fitting,
    is_out_of_memory,
    needed_and_available,
    too_large,
)
from trainbench.forecast.targets import Target, find
from trainbench.levers import evidence
from trainbench.levers.lever import NotProven
from trainbench.levers.registry import Use
from trainbench.measure.flops import FlopCount
from trainbench.placement import PlacedStep
from trainbench.processes import child
from trainbench.report.numbers import duration
from trainbench.report.progress import ProgressLine
from trainbench.results import record
from trainbench.training import compile as aot
from trainbench.training.device import Devices
from trainbench.training.precision import check_supported
from trainbench.work_sections import (
    autos_section,
    hardware_section,
    levers_section,
    parallel_section,
    workload_section,
)
from trainbench.workload import Workload

# A float32 square of 1 TiB: no device's memory holds it, so that the compiler says at once what it has.
_TOO_LARGE = 2**19


# What a process does with the one request that it gets; it may raise what `answer` puts into words.
Work = Callable[[Request, ProgressLine], Reply]


@dataclass(frozen=True)
class Step:
    """One training step on a target's devices, with everything that was decided on the way."""

    target: Target
    devices: Devices
    config: autos.RunConfig
    work: Workload
    placed: PlacedStep


def directory() -> Path:
    """Where compiled programs are kept."""
    return aot.cache_directory() / "forecast"


def compiled(request: Request, progress: ProgressLine) -> Reply:
    """The facts of a step whose compiled program is in the cache now.

    Raises:
      UserError: the configuration is wrong, or the target can't be compiled for.
      jax.errors.JaxRuntimeError: the compiler broke down.
      NotProven: the compiled step is not computed as was asked.
    """
    return Reply(facts=_facts(request, progress))


def answer(request: Request, progress: ProgressLine, work: Work = compiled) -> Reply:
    """The reply to a request; whatever goes wrong is in it."""
    try:
        return work(request, progress)
    except UserError as error:
        return Reply(mistake=Mistake(problem=error.problem, allowed=error.allowed, fix=error.fix))
    except (jax.errors.JaxRuntimeError, NotProven) as error:
        return Reply(failure=f"while {progress.text}: {first_line(error)}")


def _facts(request: Request, progress: ProgressLine) -> Facts:
    step = _step(config.parse(request.tree), find(request.target))
    lowered = step.placed.lower(progress.phase)
    versions = compilers.versions(step.target)
    entry = directory() / f"{_key(step, lowered, versions)}.json"
    outcome = cache.load(entry)
    cached = outcome is not None
    if outcome is None:
        with _alone(progress):
            # Whoever compiled meanwhile may have compiled this.
            outcome = cache.load(entry)
            cached = outcome is not None
            if outcome is None:
                outcome = _compile(step, lowered, versions, progress)
                cache.save(entry, step.config.request.model.name, step.target.chip, outcome)
    processes = len({device.process_index for device in step.devices.handles})
    hardware = hardware_section(step.devices, step.config.request.precision, record.Host(), processes)
    split = parallel_section(step.config, step.placed.state_bytes, step.placed.unsplit)
    known = facts(step.config, step.work, hardware, split, lowered.flops, lowered.trace_s)
    compiled = {"lower_s": lowered.lower_s, "entry": str(entry), "cached": cached}
    return known.model_copy(update={**compiled, "levers": levers_section(_levers(step, outcome))})


def _levers(step: Step, outcome: Outcome) -> dict[str, Use]:
    """How the step is computed; in a program that is too large nothing is proven.

    Raises:
      NotProven: not as was asked.
    """
    if not isinstance(outcome, Program):
        return evidence.unproven(step.config)
    program = outcome
    return evidence.proven(step.config, step.placed.state, step.devices, lambda: program.hlo)


def facts(
    settings: autos.RunConfig,
    work: Workload,
    hardware: record.Hardware,
    split: record.Parallel | None,
    flops: FlopCount,
    trace_s: float,
) -> Facts:
    """What is known of a step that was traced.

    Args:
      split: over the devices, if there are several.
      flops: of one device call.
    """
    return Facts(
        workload=workload_section(settings, work.task, work.parameters),
        hardware=hardware,
        autos=autos_section(settings),
        tokens_per_sample=work.task.tokens_per_sample,
        state_bytes=aot.nbytes(work.abstract_state),
        parallel=split,
        levers=levers_section(evidence.unproven(settings)),
        program_flops=flops.total / settings.steps_per_call,
        steps_per_call=settings.steps_per_call,
        trace_s=trace_s,
    )


def _step(request: config.Request, target: Target) -> Step:
    devices = topology.devices(target)
    resolved, work = configured(request, devices, functools.partial(aot.accepted, device=devices.handles[0]))
    return Step(target, devices, resolved, work, placement.place(work, resolved, devices))


def configured(
    request: config.Request, devices: Devices, accepts: Callable[[Mapping[str, str]], bool]
) -> tuple[autos.RunConfig, Workload]:
    """The request for these devices with nothing left open, and what is trained.

    Args:
      accepts: whether the compiler for the devices knows some options.

    Raises:
      UserError: it is nothing that can be forecast, or not for these devices.
    """
    if not isinstance(request.data, SyntheticData):
        raise UserError(
            f"data={request.data.name}: a forecast is of the training step alone, not of reading data",
            allowed="data=synthetic",
            fix="data=synthetic",
        )
    check_supported(request.precision, devices)
    task = workload.make_task(request)
    resolved = autos.resolve(
        request,
        task,
        devices.platform,
        devices.count,
        accepts,
        use_all=True,
        compute_capability=devices.compute_capability,
    )
    return resolved, workload.build(resolved, task)


def _options(step: Step) -> dict[str, str | bool]:
    return {**step.config.compiler_options, **compilers.OPTIONS[step.target.platform]}


def _key(step: Step, lowered: aot.Lowered, versions: Mapping[str, str | None]) -> str:
    """The name of the program's entry in the cache; of a GPU, its topology does not tell which it is."""
    told = {option: str(value) for option, value in _options(step).items()}
    if step.target.platform == "gpu":
        told["device"] = gpu_devices.description(step.target.chip)
    return cache.key(lowered.stage.as_text(), step.target, {**versions, **told})


def _compile(
    step: Step, lowered: aot.Lowered, versions: Mapping[str, str | None], progress: ProgressLine
) -> Outcome:
    available = _available_bytes(step.target, step.devices)
    try:
        fits.refuse_above(
            available, fits.input_bytes(step.work, step.config, step.devices), "the input alone"
        )
    except OutOfMemory as error:
        return TooLarge(None, available, str(error), 0.0, versions)
    progress.phase(_announcement(step))
    started = time.perf_counter()
    try:
        compiled = lowered.stage.compile(compiler_options=_options(step) or None)
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(str(error)):
            raise
        needed, said = needed_and_available(str(error))
        return TooLarge(needed, said or available, first_line(error), time.perf_counter() - started, versions)
    program = _program(compiled, available, time.perf_counter() - started, versions)
    return program if fitting(program) else too_large(program)


def _announcement(step: Step) -> str:
    """What the user reads while the compiler works."""
    model = step.config.request.model.name
    before = cache.earlier_compile_s(directory(), model, step.target.chip)
    usual = "seconds for a small model, minutes for a large one"
    lasts = f"{model} took {duration(before)} the last time" if before else usual
    what = f"{model} at batch {step.config.batch_size} for {step.target.name}"
    return f"compiling {what} with {compilers.NAMES[step.target.platform]} ({lasts})"


def _program(
    compiled: jax.stages.Compiled,
    available: int | None,
    compile_s: float,
    versions: Mapping[str, str | None],
) -> Program:
    cost, stats = compiled.cost_analysis() or {}, compiled.memory_analysis()
    assert stats is not None, "both compilers tell the memory of every program"
    total = stats.argument_size_in_bytes + stats.output_size_in_bytes + stats.temp_size_in_bytes
    memory = ProgramMemory(
        argument_bytes=stats.argument_size_in_bytes,
        output_bytes=stats.output_size_in_bytes,
        temp_bytes=stats.temp_size_in_bytes,
        alias_bytes=stats.alias_size_in_bytes,
        peak_bytes=total - stats.alias_size_in_bytes,
    )
    return Program(
        hlo=compiled.as_text() or "",
        memory=memory,
        available_bytes=available,
        optimal_s=cost.get("optimal_seconds"),
        flops=cost.get("flops"),
        bytes=cost.get("bytes accessed"),
        compile_s=compile_s,
        versions=versions,
    )


def _available_bytes(target: Target, devices: Devices) -> int | None:
    """What a program may take of one device's memory; libtpu says so only where a program doesn't fit."""
    if target.platform == "gpu":
        return gpu_devices.usable_bytes(target.chip)
    sharding = jax.sharding.SingleDeviceSharding(devices.handles[0])
    huge = jax.ShapeDtypeStruct((_TOO_LARGE, _TOO_LARGE), jnp.float32, sharding=sharding)
    try:
        jax.jit(jnp.sin).lower(huge).compile()
    except jax.errors.JaxRuntimeError as error:
        return needed_and_available(str(error))[1]
    return None


class _alone:
    """Context manager: no other process of this user compiles meanwhile, as the compiler takes all cores."""

    def __init__(self, progress: ProgressLine) -> None:
        self._progress = progress
        self._lock = FileLock(Path(tempfile.gettempdir()) / f"trainbench-forecast-{os.getuid()}.lock")

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._progress.phase("waiting for another forecast that is being compiled on this machine")
            self._lock.acquire()

    def __exit__(self, *ignored: object) -> None:
        self._lock.release()


def _apart_from_the_compiler() -> TextIO:
    """A stream to the standard error of this process; what native code writes there goes to a file.

    libtpu complains there of every TPU that is missing. The parent process shows it only where this one dies.
    """
    own = os.fdopen(os.dup(sys.stderr.fileno()), "w", errors="replace", buffering=1)
    log = os.open(os.environ[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, sys.stderr.fileno())
    return own


def serve(work: Work) -> None:
    """Answer the one request on stdin; Ctrl-C ends the process at once, also inside native code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    request = Request.model_validate_json(sys.stdin.buffer.readline())
    child.begin()
    with ProgressLine(_apart_from_the_compiler()) as progress:
        progress.phase("reading the configuration")
        reply = answer(request, progress, work)
    print(reply.model_dump_json(), flush=True)
    # The compiler's threads are not waited for.
    os._exit(0)


if __name__ == "__main__":
    serve(compiled)
