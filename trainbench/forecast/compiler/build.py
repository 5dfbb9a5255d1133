"""From a configuration and a target to what the target's compiler says of the step, or to a bound."""

import dataclasses
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbench.errors import ExitCode, UserError
from trainbench.forecast.bounds.bound import Bound
from trainbench.forecast.compiler import cache, compilers
from trainbench.forecast.compiler.messages import LOG, Facts, Reply, Request
from trainbench.forecast.compiler.program import Outcome, Program, TooLarge
from trainbench.forecast.targets import Target
from trainbench.processes import batch_search, child
from trainbench.processes.fitting_batch import Fit, fitting_batch
from trainbench.results.record import Auto

# Of the compiler's last words, where it broke down.
SHOWN_LINES = 5

MODULE = "trainbench.forecast.compiler.compiling"
TRACING = "trainbench.forecast.bounds.traced"
# Nothing of this machine's own is started.
TRACING_ENVIRONMENT = {"JAX_PLATFORMS": "cpu"}


class CompilerFailed(Exception):
    """The target's compiler broke down over a program: neither the user's mistake nor a lack of memory."""


@dataclass(frozen=True)
class Build:
    """A training step for a target, and what the target's compiler says of it."""

    target: Target
    facts: Facts
    outcome: Outcome

    @property
    def program(self) -> Program | None:
        """None where the step doesn't fit into the memory of the target's devices."""
        return self.outcome if isinstance(self.outcome, Program) else None


@dataclass(frozen=True)
class Traced:
    """A training step that was traced but not compiled: the least time it takes, and why no more is known.

    Attributes:
      why: what keeps it from being compiled, with what would mend that.
    """

    target: Target
    facts: Facts
    bound: Bound
    why: UserError


Compile = Callable[[Mapping[str, Any], Target], Build]


def compiled(tree: Mapping[str, Any], target: Target) -> Build:
    """The step that `tree` describes, compiled for the target; from the cache where it was compiled before.

    Args:
      tree: a composed configuration; its batch size is a number or "default".

    Raises:
      UserError: the configuration is wrong, or the target can't be compiled for here.
      CompilerFailed: it broke down.
      KeyboardInterrupt: the user stopped it.
    """
    check(target)
    reply = _reply(tree, target, MODULE, compilers.ENVIRONMENT[target.platform])
    assert reply.facts is not None
    outcome = cache.load(Path(reply.facts.entry))
    if outcome is None:
        raise CompilerFailed(f"the compiled program is gone from the cache: {reply.facts.entry}")
    return Build(target, reply.facts, outcome)


def traced(tree: Mapping[str, Any], target: Target, why: UserError) -> Traced:
    """The bound of the step that `tree` describes on the target, without any compiler.

    Args:
      tree: a composed configuration; its batch size is a number or "default".

    Raises:
      UserError: the configuration is wrong.
      CompilerFailed: tracing it broke down.
      KeyboardInterrupt: the user stopped it.
    """
    if tree["batch_size"] == batch_search.AUTO:
        raise UserError(
            f"batch_size=auto is found by compiling, but {why.problem}",
            allowed="a number, for a bound; or what compiling takes",
            fix=f"batch_size=32; or {why.fix}",
        )
    reply = _reply(tree, target, TRACING, TRACING_ENVIRONMENT)
    assert reply.facts is not None
    assert reply.bound is not None
    return Traced(target, reply.facts, reply.bound, why)


def largest(tree: Mapping[str, Any], target: Target, compile_: Compile = compiled) -> Build:
    """The build of the largest batch that the compiler lets fit, with the reason among its autos.

    Each batch that is tried is a compilation. Where not even one sample fits, that is the build.

    Args:
      tree: a composed configuration; the search begins at the default batch size, whatever is asked for.
      compile_: what builds; raises as `compiled` does.
    """
    builds: dict[int, Build] = {}
    tree = {**tree, "global_batch_size": None}

    def probe(batch: int | None) -> Fit:
        build = compile_({**tree, "batch_size": "default" if batch is None else batch}, target)
        builds[build.facts.workload.batch_size] = build
        return _fit(build)

    batch, reason = fitting_batch(probe)
    build = builds.get(batch)
    if build is None or isinstance(build.outcome, TooLarge):
        return builds[min(builds)]
    chosen = build.facts.autos | {"batch_size": Auto(value=batch, reason=reason)}
    return dataclasses.replace(build, facts=build.facts.model_copy(update={"autos": chosen}))


def built(tree: Mapping[str, Any], target: Target, compile_: Compile = compiled) -> Build | Traced:
    """`compiled`, or for `batch_size=auto` the `largest`; `traced` where nothing compiles for the target."""
    if tree["batch_size"] == batch_search.AUTO:
        batch_search.check_one_batch_size(batch_search.AUTO, tree.get("global_batch_size"))
    why = not_compiled(target)
    if why is not None:
        return traced(tree, target, why)
    if tree["batch_size"] == batch_search.AUTO:
        return largest(tree, target, compile_)
    return compile_(tree, target)


def not_compiled(target: Target) -> UserError | None:
    """Why there is no more than a bound for the target on this machine; None where there is."""
    if target.platform != "cpu":
        return compilers.missing(target)
    return UserError(
        "there is no model of a CPU's time, so nothing is compiled for one",
        allowed="target=v6e-1, h100-1, ... for a forecast",
        fix="leave out `forecast target=cpu`, which measures this one",
    )


def check(target: Target) -> None:
    """Nothing, where this machine can compile for the target.

    Raises:
      UserError: it can't.
    """
    error = compilers.missing(target)
    if error is not None:
        raise error


def _reply(tree: Mapping[str, Any], target: Target, module: str, environment: Mapping[str, str]) -> Reply:
    """What a process of its own replies, with its facts."""
    with tempfile.TemporaryDirectory(prefix="trainbench-") as scratch:
        reply, log = Path(scratch, "reply.json"), Path(scratch, "compiler.log")
        with reply.open("wb") as output:
            process = child.start(
                [], output.fileno(), module=module, environment={**environment, LOG: str(log)}
            )
            _ask(process, Request(tree=dict(tree), target=target.name))
            code = child.wait(process)
        if code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        said = log.read_text(errors="replace") if log.exists() else ""
        return _read(target, code, reply.read_text(), said)


def _ask(process: subprocess.Popen[bytes], request: Request) -> None:
    assert process.stdin is not None
    # One that died at once is noticed by its exit code.
    with suppress(BrokenPipeError):
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()


def _read(target: Target, code: int, text: str, log: str) -> Reply:
    """What the process left when it ended with `code`."""
    if code != ExitCode.OK or not text:
        raise CompilerFailed(_last_words(target, code, log))
    reply = Reply.model_validate_json(text)
    if reply.mistake is not None:
        raise UserError(reply.mistake.problem, allowed=reply.mistake.allowed, fix=reply.mistake.fix)
    if reply.facts is None:
        raise CompilerFailed(f"the compiler for {target.name} failed {reply.failure}")
    return reply


def _last_words(target: Target, code: int, log: str) -> str:
    """How the process ended, and what it said last; not what libtpu says of a crash itself ("RAW: ...")."""
    how = f"with {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    installed = compilers.versions(target) | {"xla_flags": None}
    used = ", ".join(f"{name} {version}" for name, version in installed.items() if version)
    lines = [line for line in log.strip().splitlines() if "] RAW:" not in line]
    words = f": {' | '.join(lines[-SHOWN_LINES:])}" if lines else ""
    return (
        f"the process for {target.name} broke down {how} over this step ({used}); another release of jax and "
        f"its compiler may not{words}"
    )


def _fit(build: Build) -> Fit:
    """As `batch_search` wants it. The sizes of programs that are too large are of another kind: left out."""
    work, program = build.facts.workload, build.program
    return {
        "platform": build.target.platform,
        "batch_size": work.batch_size,
        "gradient_accumulation": work.gradient_accumulation,
        "flops_per_sample": work.flops_per_sample,
        "needed_bytes": program.memory.peak_bytes if program else None,
        "available_bytes": build.outcome.available_bytes,
        "fits": program is not None,
    }
