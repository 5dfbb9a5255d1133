"""Ahead-of-time compilation: one pure function becomes the executable that is timed.

Tracing, lowering and compiling are timed apart. The executable raises on a shape, dtype or sharding mismatch
instead of compiling again.
"""

import functools
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from trainbench.data.spec import ArraySpec
from trainbench.measure.flops import FlopCount, walk
from trainbench.measure.guards import counting_compilations


class UnusableDonation(Exception):
    """A donated argument whose memory no output can take over: a defect of the program, not of its input."""


@dataclass(frozen=True)
class Executable:
    """A compiled function and what its compilation told us.

    `xla_flops` and `xla_bytes` are XLA's own cost analysis: loop bodies count once, padded taps and custom
    calls are missing. `peak_bytes` is argument + output + temporary - aliased memory per device, from the
    compiled program. `cache` tells whether the persistent compilation cache had it: "hit", "miss" or "off".
    """

    call: jax.stages.Compiled
    trace_s: float
    lower_s: float
    compile_s: float
    cache: Literal["hit", "miss", "off"]
    flops: FlopCount
    xla_flops: float | None
    xla_bytes: float | None
    peak_bytes: int | None

    def text(self) -> str:
        """The program as XLA compiled it."""
        return self._text

    @functools.cached_property
    def _text(self) -> str:
        # A large program takes seconds to be written out.
        return self.call.as_text() or ""


def cache_directory() -> Path:
    """Where compiled programs and prepared data are kept: $TRAINBENCH_CACHE, or the user's own."""
    chosen = os.environ.get("TRAINBENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "trainbench"


def enable_compilation_cache() -> None:
    """Turn JAX's persistent compilation cache on for programs of every size.

    The 1 s threshold that JAX sets by default would leave small programs out.
    """
    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@dataclass(frozen=True)
class Lowered:
    """A traced and lowered function that is not compiled yet."""

    stage: jax.stages.Lowered
    trace_s: float
    lower_s: float
    flops: FlopCount


def lower_function(
    function: Callable[..., Any],
    *abstract: Any,
    donate: tuple[int, ...] = (),
    out_shardings: Any = None,
    matmul_precision: str | None = None,
    on_phase: Callable[[str], None] | None = None,
) -> Lowered:
    """Trace and lower `function` for abstract arguments, whose shardings name the devices.

    Raises:
      UnusableDonation: a donated argument cannot be reused for an output, so memory would silently double.
    """
    say = on_phase or _silent
    jitted = jax.jit(function, donate_argnums=donate, out_shardings=out_shardings)
    with jax.default_matmul_precision(matmul_precision):
        say("tracing")
        started = time.perf_counter()
        traced = jitted.trace(*abstract)
        traced_at = time.perf_counter()
        say("lowering")
        stage = _lower(traced)
        lowered_at = time.perf_counter()
    return Lowered(stage, traced_at - started, lowered_at - traced_at, walk(traced.jaxpr))


def compile_lowered(
    lowered: Lowered,
    compiler_options: Mapping[str, str] | None = None,
    on_phase: Callable[[str], None] | None = None,
) -> Executable:
    """The executable of a lowered function."""
    (on_phase or _silent)("compiling")
    started = time.perf_counter()
    with counting_compilations() as seen:
        compiled = lowered.stage.compile(compiler_options=dict(compiler_options or {}) or None)
    compile_s = time.perf_counter() - started
    cost = compiled.cost_analysis() or {}
    return Executable(
        call=compiled,
        trace_s=lowered.trace_s,
        lower_s=lowered.lower_s,
        compile_s=compile_s,
        cache=seen.cache or "off",
        flops=lowered.flops,
        xla_flops=_positive(cost.get("flops")),
        xla_bytes=_positive(cost.get("bytes accessed")),
        peak_bytes=_program_bytes(compiled.memory_analysis()),
    )


def _lower(traced: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Some donated buffers were not usable")
        try:
            return traced.lower()
        except UserWarning as warning:
            raise UnusableDonation(str(warning)) from None


def placed(abstract: Any, shardings: Any) -> Any:
    """The same abstract arrays, each with its sharding out of a tree of the same form."""

    def place(leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, abstract, shardings)


def abstract_batch(
    spec: Mapping[str, ArraySpec], sharding: jax.sharding.Sharding | None, stacked: int | None
) -> dict[str, jax.ShapeDtypeStruct]:
    """The abstract arrays of a batch; with `stacked`, that many batches along a new leading axis."""
    leading = () if stacked is None else (stacked,)
    return {
        name: jax.ShapeDtypeStruct((*leading, *array.shape), array.dtype, sharding=sharding)
        for name, array in spec.items()
    }


def nbytes(abstract: Any) -> int:
    """Bytes of all arrays in a tree, abstract or not."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract))


def accepted(options: Mapping[str, str], device: Any = None) -> bool:
    """Whether the compiler for `device`, by default the one that JAX uses, knows these options."""
    placement = None if device is None else jax.sharding.SingleDeviceSharding(device)
    scalar = jax.ShapeDtypeStruct((), jnp.float32, sharding=placement)
    try:
        jax.jit(_identity, compiler_options=dict(options)).lower(scalar).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _identity(x: jax.Array) -> jax.Array:
    return x


def _silent(phase: str) -> None:
    del phase


def _positive(value: float | None) -> float | None:
    """XLA writes -1 for costs that it does not know."""
    return float(value) if value is not None and value > 0 else None


def _program_bytes(memory: Any) -> int | None:
    if memory is None:
        return None
    live = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return int(live - memory.alias_size_in_bytes)
