"""The timed window: accidental compilations are counted, implicit transfers stopped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from trainbench.measure.blocks import measure
from trainbench.measure.errors import MeasurementError
from trainbench.measure.guards import TimedWindow, counting_compilations
from trainbench.measure.plan import Plan
from trainbench.measure.selftest import FakeClock, FakeProgram


def double(values):
    return 2 * values + 1


@pytest.fixture
def cache(tmp_path):
    """An empty persistent compilation cache that takes every program."""
    wanted = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def test_an_accidental_compilation_is_counted():
    step = jax.jit(double)
    small, large = jnp.ones(3), jnp.ones(4)
    step(small)
    window = TimedWindow()
    with window():
        step(small)
    assert window.compilations == 0
    with window():
        step(large)
    assert window.compilations == 1
    with window():
        step(large)
    assert window.compilations == 1


def test_compilations_outside_are_not_counted():
    with counting_compilations() as seen:
        pass
    jax.jit(double)(jnp.ones(17))
    assert seen.count == 0


def test_a_compilation_has_a_duration():
    lowered = jax.jit(double).lower(jnp.ones(19))
    with counting_compilations() as seen:
        lowered.compile()
    assert seen.count == 1
    assert seen.seconds > 0


def test_the_persistent_cache_is_seen_to_miss_and_then_hit(cache):
    argument = jnp.ones(23)
    with counting_compilations() as first:
        jax.jit(double).lower(argument).compile()
    jax.clear_caches()
    with counting_compilations() as second:
        jax.jit(double).lower(argument).compile()
    assert (first.cache, second.cache) == ("miss", "hit")
    assert (first.count, second.count) == (1, 1)


def test_nothing_compiled_is_neither_hit_nor_miss():
    with counting_compilations() as seen:
        pass
    assert seen.cache is None


@pytest.mark.parametrize("compiled_ahead", [False, True])
def test_a_numpy_argument_is_an_implicit_transfer(compiled_ahead):
    step = jax.jit(double)
    call = step.lower(jnp.ones(3)).compile() if compiled_ahead else step
    call(jnp.ones(3))
    window = TimedWindow()
    with pytest.raises(MeasurementError, match="implicit transfer"), window():
        call(np.ones(3, np.float32))
    assert "Disallowed host-to-device transfer" in window.transfer_error


@pytest.mark.parametrize(
    "careless",
    [lambda array: array + 1, lambda array: array[0], lambda array: jnp.zeros(3) + array],
    ids=["python number", "index", "constant"],
)
def test_host_values_mixed_with_device_arrays_are_implicit_transfers(careless):
    array = jnp.ones(3)
    careless(array)
    with pytest.raises(MeasurementError, match="implicit transfer"), TimedWindow()():
        careless(array)


def test_explicit_transfers_pass():
    window = TimedWindow()
    with window():
        jax.device_get(jax.device_put(np.ones(3)))
    assert window.transfer_error is None


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="documents a limit of the CPU backend")
def test_reading_an_array_on_cpu_is_not_seen():
    array = jnp.ones(3)
    with TimedWindow()():
        np.asarray(array)


def test_other_errors_pass_unchanged():
    with pytest.raises(ZeroDivisionError), TimedWindow()():
        raise ZeroDivisionError


def test_compilations_before_an_error_are_kept():
    argument = jnp.ones(29)
    window = TimedWindow()

    def compile_and_fail() -> None:
        jax.jit(double)(argument)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), window():
        compile_and_fail()
    assert window.compilations == 1


def test_an_implicit_transfer_ends_measure_and_keeps_the_blocks_before():
    class Careless(FakeProgram):
        def issue(self) -> None:
            super().issue()
            step(np.ones(3, np.float32) if self.issued == 6 else array)

    step, array = jax.jit(double), jnp.ones(3)
    step(array)
    clock, window = FakeClock(), TimedWindow()
    plan = Plan(calls=5, calls_per_block=1, warmup_min_calls=0, warmup_max_calls=3, window=3)
    timing = measure(Careless(clock, [0.1]), plan, clock=clock, guard=window)
    assert "implicit transfer" in timing.error
    assert window.transfer_error in timing.error
    assert timing.timed_steps == 2


def test_measure_counts_in_its_timed_blocks_only():
    class Compiling(FakeProgram):
        def issue(self) -> None:
            super().issue()
            jax.jit(double)(arguments[self.issued])

    # Each call has its own shape, and so compiles.
    arguments = {call: jnp.ones(100 + call) for call in range(1, 7)}
    clock, window = FakeClock(), TimedWindow()
    plan = Plan(calls=3, calls_per_block=1, warmup_min_calls=0, warmup_max_calls=3, window=3)
    measure(Compiling(clock, [0.1]), plan, clock=clock, guard=window)
    assert window.compilations == 3
