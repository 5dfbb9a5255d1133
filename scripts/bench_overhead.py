"""The harness against a bare hand-written loop over the same compiled step: samples/s as a ratio.

    python scripts/bench_overhead.py model=resnet_tiny batch_size=8

Both sides run the executable, the batch and the number of steps that `python -m trainbench` would use with
the same overrides, in turns in one process. The bare loop issues all its calls and waits once at the end; the
harness measures as it always does, in blocks with guards. Each round gives one ratio of the mean step times;
printed are the median ratio and its 95 % interval.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import hydra
import jax
from omegaconf import OmegaConf

from trainbench import autos, config, placement, workload
from trainbench.data.feed import DeviceBatch, Resident
from trainbench.data.synthetic import host_batch
from trainbench.measure.blocks import measure, time_of_one_call
from trainbench.measure.guards import TimedWindow
from trainbench.measure.statistics import summarise
from trainbench.training import compile as aot
from trainbench.training.device import all_devices
from trainbench.training.program import TrainingProgram, first_call
from trainbench.training.state import TrainState

ROUNDS = 30


def main() -> None:
    """Print the ratio for the given overrides."""
    aot.enable_compilation_cache()
    request = config.parse(composed(sys.argv[1:] or ["model=resnet_tiny", "batch_size=8"]))
    device = all_devices().first(1)
    task, platform = workload.make_task(request), device.platform
    settled = autos.resolve(request, task, platform, device_count=1)
    work = workload.build(settled, task)
    options = dict(settled.compiler_options)
    batch = host_batch(work.spec, request.seed)
    placed = placement.place(work, settled, device)
    step = placed.compile(lambda phase: None)
    batch = jax.device_put(batch, placed.batch_sharding)
    make_state = jax.jit(work.make_state, out_shardings=placed.state_shardings, compiler_options=options)
    program, state = TrainingProgram(step.call, make_state(), Resident(batch), 1), make_state()
    first_call(program)
    plan, _ = autos.plan(settled, platform, time_of_one_call(program))

    def harness() -> float:
        timing = measure(program, plan, guard=TimedWindow())
        return sum(timing.block_s) / timing.timed_steps

    def bare() -> float:
        nonlocal state
        seconds, state = bare_loop(step.call, state, batch, plan.calls)
        return seconds

    ratios = []
    for number in range(ROUNDS):
        order = (bare, harness) if number % 2 else (harness, bare)
        seconds = {side: side() for side in order}
        ratios.append(seconds[bare] / seconds[harness])
        print(f"round {number + 1:2}: {ratios[-1]:.4f}", file=sys.stderr)
    summary = summarise(ratios)
    assert summary.ci95 is not None
    low, high = summary.ci95
    print(f"step {seconds[bare] * 1e3:.2f} ms; {ROUNDS} rounds of {plan.calls} steps in {plan.blocks} blocks")
    print(f"samples/s, harness / bare loop = {summary.median:.4f}, 95 % interval [{low:.4f}, {high:.4f}]")


def composed(overrides: list[str]) -> dict[str, Any]:
    """The configuration of these overrides."""
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        tree: Any = OmegaConf.to_container(hydra.compose("config", overrides), resolve=True)
    return dict(tree)


def bare_loop(
    call: Callable[..., Any], state: TrainState, batch: DeviceBatch, calls: int
) -> tuple[float, TrainState]:
    """(seconds per step, state) of the loop that anybody would write."""
    jax.block_until_ready(state)
    started = time.perf_counter()
    for _ in range(calls):
        state, metrics = call(state, batch)
    jax.block_until_ready((state, metrics))
    return (time.perf_counter() - started) / calls, state


if __name__ == "__main__":
    main()
