"""What a step takes for certain, uncompiled: the process `python -m trainbench.forecast.bounds.traced`.

Nothing is compiled and no device is asked for. What is counted is what `bound` divides by a chip's rates.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

from trainbench import autos, config, fits
from trainbench.compiled import products
from trainbench.forecast import reference
from trainbench.forecast.bounds import bound, cpu
from trainbench.forecast.bounds.bound import Bound, Demand
from trainbench.forecast.compiler import compiling
from trainbench.forecast.compiler.messages import Reply, Request
from trainbench.forecast.targets import Target, find
from trainbench.forecast.timing import work
from trainbench.hardware import machine
from trainbench.measure import flops
from trainbench.measure.flops import FlopCount
from trainbench.report.progress import ProgressLine
from trainbench.results import record
from trainbench.training import compile as aot
from trainbench.training.device import Devices
from trainbench.training.state import parameter_count
from trainbench.training.step import repeat
from trainbench.work_sections import hardware_section, parallel_section
from trainbench.workload import Workload

# bfloat16 products that make up one of float32, by JAX's precision.
_PASSES = {
    jax.lax.Precision.DEFAULT: work.PASSES["default"],
    jax.lax.Precision.HIGH: work.PASSES["high"],
    jax.lax.Precision.HIGHEST: work.PASSES["highest"],
}


def traced(request: Request, progress: ProgressLine) -> Reply:
    """The facts of a step and its bound.

    Raises:
      UserError: the configuration is wrong, or not for the target.
    """
    target, asked = find(request.target), config.parse(request.tree)
    devices = reference.devices(target)
    progress.phase("tracing")
    settings, trained = compiling.configured(asked, devices, _any)
    started = time.perf_counter()
    program = _program(settings, trained)
    trace_s = time.perf_counter() - started
    hardware = hardware_section(devices, asked.precision, _host(target))
    least = aot.nbytes(trained.abstract_state) // _parts(settings)
    split = parallel_section(settings, least, ())
    facts = compiling.facts(settings, trained, hardware, split, flops.walk(program), trace_s)
    return Reply(facts=facts, bound=_bound(_demand(program, settings, trained, devices), target))


def least(equation: core.JaxprEqn) -> FlopCount:
    """The FLOPs that no program can do without for a product, under its kind as `bound.Demand` has it."""
    if equation.primitive.name == "dot_general":
        count = flops.dot_flops(equation)
    else:
        count = least_conv_flops(equation)
    return FlopCount(Counter({_kind(equation): count}))


def least_conv_flops(equation: core.JaxprEqn) -> int:
    """2 x batch x output features x input features of a group x pairs of output place and tap that meet."""
    params = equation.params
    numbers = params["dimension_numbers"]
    left, right, out = (_shape(one) for one in (*equation.invars[:2], equation.outvars[0]))
    places = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    pairs = 1
    for number, (inputs, taps, outputs) in enumerate(places):
        pairs *= products.meeting_pairs(
            left[inputs],
            right[taps],
            out[outputs],
            stride=params["window_strides"][number],
            pad=params["padding"][number][0],
            lhs_dilate=params["lhs_dilation"][number],
            rhs_dilate=params["rhs_dilation"][number],
        )
    batch, features = numbers.out_spec[:2]
    return 2 * out[batch] * out[features] * right[numbers.rhs_spec[1]] * pairs


def _kind(equation: core.JaxprEqn) -> str:
    """The narrower dtype of the operands; of float32 also in how many bfloat16 products."""
    dtypes = [_dtype(operand) for operand in equation.invars[:2]]
    narrow = min(dtypes, key=_width)
    if str(narrow) != "float32":
        return str(narrow)
    precision = equation.params.get("precision")
    stated = precision if isinstance(precision, tuple) else (precision,)
    # A dot algorithm, which JAX also takes for a precision, may be the fastest.
    passes = max(_PASSES.get(one, 1) if isinstance(one, jax.lax.Precision) else 1 for one in stated)
    return f"float32*{passes}"


def _width(dtype: Any) -> int:
    return int(dtype.itemsize)


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _dtype(variable: Any) -> Any:
    return variable.aval.dtype


def _program(settings: autos.RunConfig, trained: Workload) -> core.ClosedJaxpr:
    """One device call over the global batch, as `placement` would have it compiled."""
    calls = settings.steps_per_call if settings.input != "resident" and settings.steps_per_call > 1 else None
    function = repeat(trained.step, settings.steps_per_call, stacked=calls is not None)
    batch = aot.abstract_batch(trained.spec, None, calls)
    with jax.default_matmul_precision(settings.request.precision.matmul_precision):
        return jax.jit(function).trace(trained.abstract_state, batch).jaxpr


def live(program: core.ClosedJaxpr) -> tuple[core.ClosedJaxpr, list[bool]]:
    """(the program without what no result needs, whether it reads each of its arguments)."""
    jaxpr, read = partial_eval.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))
    return core.ClosedJaxpr(jaxpr, program.consts), list(read)


def _demand(
    program: core.ClosedJaxpr, settings: autos.RunConfig, trained: Workload, devices: Devices
) -> Demand:
    state, precision = trained.abstract_state, settings.request.precision
    needed, read = live(program)
    arguments = [variable for variable, is_read in zip(program.jaxpr.invars, read, strict=True) if is_read]
    kept = len(jax.tree.leaves(state))
    batch = [variable for variable in arguments if variable in program.jaxpr.invars[kept:]]
    # A result that is an argument handed through need not be written.
    made = [variable for variable in program.jaxpr.outvars if variable not in program.jaxpr.invars]
    moved = _nbytes(arguments) - _nbytes(batch) + _nbytes(made)
    width = min(jnp.dtype(dtype).itemsize for dtype in (precision.param_dtype, precision.compute_dtype))
    parts = _parts(settings)
    return Demand(
        flops=dict(flops.walk(needed, least).by_inputs),
        moved_bytes=moved // parts + _nbytes(batch) // settings.axes.replicas,
        held_bytes=aot.nbytes(state) // parts + fits.input_bytes(trained, settings, devices),
        gradient_bytes=parameter_count(state) * width * settings.steps_per_call // settings.axes.tensor,
    )


def _parts(settings: autos.RunConfig) -> int:
    """Parts that the state is cut into at most."""
    return settings.axes.fsdp * settings.axes.tensor


def _nbytes(variables: Iterable[Any]) -> int:
    return sum(math.prod(_shape(variable)) * _width(_dtype(variable)) for variable in variables)


def _bound(demand: Demand, target: Target) -> Bound:
    if target.platform == "cpu":
        return cpu.bound(demand)
    return bound.of_chips(demand, target)


def _host(target: Target) -> record.Host:
    """This machine, where it is the target."""
    if target.platform != "cpu":
        return record.Host()
    host = machine.host()
    return record.Host(cpu=host.cpu, cores=host.cores, memory_bytes=host.memory_bytes)


def _any(options: Mapping[str, str]) -> bool:
    """Nothing is compiled, so any options will do."""
    del options
    return True


if __name__ == "__main__":
    compiling.serve(traced)
