import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from trainbench.training import compile as aot


@pytest.fixture
def cache_settings():
    """The persistent cache is of this test's own; afterwards it is the session's again."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture
def own_cache(cache_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINBENCH_CACHE", str(tmp_path))
    aot.enable_compilation_cache()
    return tmp_path


def compiled(function, *abstract, donate=(), on_phase=None):
    lowered = aot.lower_function(function, *abstract, donate=donate, on_phase=on_phase)
    return aot.compile_lowered(lowered, on_phase=on_phase)


def add(state, batch):
    return state + batch.sum(), batch.mean()


STATE, BATCH = jax.ShapeDtypeStruct((8,), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.float32)


def test_second_compilation_is_a_hit(own_cache):
    assert compiled(add, STATE, BATCH, donate=(0,)).cache == "miss"
    assert any((own_cache / "xla").iterdir())
    jax.clear_caches()
    assert compiled(add, STATE, BATCH, donate=(0,)).cache == "hit"


def test_cache_off_is_said(cache_settings):
    jax.config.update("jax_compilation_cache_dir", None)
    assert compiled(add, STATE, BATCH).cache == "off"


def test_stages_are_timed_apart_and_announced_in_order():
    phases = []
    executable = compiled(add, STATE, BATCH, on_phase=phases.append)
    assert phases == ["tracing", "lowering", "compiling"]
    assert min(executable.trace_s, executable.lower_s, executable.compile_s) > 0


def test_executable_refuses_another_shape_instead_of_compiling_again():
    executable = compiled(add, STATE, BATCH)
    with pytest.raises(TypeError):
        executable.call(jnp.zeros(8), jnp.zeros(5))


def test_state_is_donated():
    executable = compiled(add, STATE, BATCH, donate=(0,))
    state = jnp.zeros(8)
    executable.call(state, jnp.ones(4))
    assert state.is_deleted()


def test_a_donation_that_cannot_be_used_is_an_error():
    def shrink(state, batch):
        return state[:3] + batch.sum()

    with pytest.raises(aot.UnusableDonation, match="donated"):
        compiled(shrink, STATE, BATCH, donate=(0,))


def test_memory_and_cost_are_read():
    def product(a, b):
        return a @ b

    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    executable = compiled(product, square, square)
    assert executable.flops.total == 2 * 64**3
    assert executable.xla_flops == pytest.approx(2 * 64**3, rel=0.05)
    assert executable.peak_bytes >= 3 * 64 * 64 * 4


@pytest.mark.parametrize("chosen", ["TRAINBENCH_CACHE", "XDG_CACHE_HOME"])
def test_cache_directory_follows_the_environment(chosen, tmp_path, monkeypatch):
    monkeypatch.delenv("TRAINBENCH_CACHE", raising=False)
    monkeypatch.setenv(chosen, str(tmp_path))
    expected = tmp_path if chosen == "TRAINBENCH_CACHE" else tmp_path / "trainbench"
    assert aot.cache_directory() == expected
