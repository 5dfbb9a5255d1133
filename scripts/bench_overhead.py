"""The harness against a bare hand-written loop over the same compiled step: samples/s as a ratio.

    python scripts/bench_overhead.py model=resnet_tiny batch_size=8

Both sides run the same executable on the same resident batch, in turns in one process. The bare loop issues
all its calls and waits once at the end; the harness runs `measure`, with warm-up, blocks and guards. Each round
gives one ratio harness/bare; printed are the median ratio and its 95 % interval.
"""

import sys
import time

import hydra
import jax
from omegaconf import OmegaConf

from trainbench import config, run
from trainbench.data.feed import Resident
from trainbench.data.synthetic import host_batch
from trainbench.measure.blocks import measure
from trainbench.measure.guards import TimedWindow
from trainbench.measure.plan import Plan
from trainbench.measure.statistics import summarise
from trainbench.training import compile as aot
from trainbench.training import optimizer as optimizers
from trainbench.training.program import TrainingProgram
from trainbench.training.state import Structure, TrainState, init
from trainbench.training.step import make_step

ROUNDS = 24
BLOCKS = 6
BLOCK_TARGET_S = 0.5


def main() -> None:
    """Print the ratio for the given overrides."""
    aot.enable_compilation_cache()
    with hydra.initialize_config_module(version_base="1.3", config_module="trainbench.configs"):
        composed = hydra.compose("config", sys.argv[1:] or ["model=resnet_tiny", "batch_size=8"])
    request = config.parse(OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]
    batch_size = request.batch_size or request.model.batch_size
    task, build_model = run.make_task(request), run.model_builder(request)
    structure = Structure.of(build_model)
    optimizer = optimizers.build(request.optimizer, batch_size)
    spec = task.batch_spec(batch_size)

    def fresh_state() -> TrainState:
        return init(structure, build_model, optimizer, request.seed)

    batch = jax.device_put(host_batch(spec, request.seed))
    abstract_state = jax.eval_shape(fresh_state)
    step = aot.compile_function(make_step(task, structure, optimizer), abstract_state, batch, donate=(0,))
    make_state = jax.jit(fresh_state)
    program = TrainingProgram(step.call, make_state(), Resident(batch), 1)
    bare_state = make_state()

    calls = max(1, round(BLOCK_TARGET_S / time_one(program)))
    plan = Plan(
        calls=calls * BLOCKS, calls_per_block=calls, warmup_min_calls=0, warmup_max_calls=3 * calls, window=3
    )
    ratios = []
    for number in range(ROUNDS):
        bare_first = number % 2 == 0
        if bare_first:
            bare_s, bare_state = bare_loop(step.call, bare_state, batch, plan.calls)
        harness_s = summarise(measure(program, plan, guard=TimedWindow()).step_times_s).median
        if not bare_first:
            bare_s, bare_state = bare_loop(step.call, bare_state, batch, plan.calls)
        ratios.append(bare_s / harness_s)
        print(f"round {number + 1:2}: harness/bare = {ratios[-1]:.4f}", file=sys.stderr)
    summary = summarise(ratios)
    assert summary.ci95 is not None
    low, high = summary.ci95
    print(f"bare step {bare_s * 1e3:.2f} ms, {ROUNDS} rounds of {plan.calls} steps on each side")
    print(f"samples/s, harness / bare loop = {summary.median:.4f}, 95 % interval [{low:.4f}, {high:.4f}]")


def time_one(program: TrainingProgram) -> float:
    """Seconds of one call after two that warm up."""
    for _ in range(3):
        started = time.perf_counter()
        program.issue()
        program.fence()
    return time.perf_counter() - started


def bare_loop(call, state, batch, calls: int):  # type: ignore[no-untyped-def]
    """(seconds per step, state) of the loop that anybody would write."""
    jax.block_until_ready(state)
    started = time.perf_counter()
    for _ in range(calls):
        state, metrics = call(state, batch)
    jax.block_until_ready((state, metrics))
    return (time.perf_counter() - started) / calls, state


if __name__ == "__main__":
    main()
