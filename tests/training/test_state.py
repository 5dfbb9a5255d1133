import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.building import TINY, shallow, workbench
from trainbench.training.state import parameter_count


def numbered(bench):
    """A state whose arrays are all different, made without a compilation."""
    leaves, tree = jax.tree.flatten(bench.abstract_state)
    return tree.unflatten(jnp.asarray(np.full(leaf.shape, n), leaf.dtype) for n, leaf in enumerate(leaves))


@pytest.mark.parametrize("model", TINY)
def test_merge_and_split_are_inverse(model):
    bench = workbench(f"model={model}")
    state = numbered(bench)
    params, statistics = bench.structure.split(bench.structure.merge(state.params, state.statistics))
    assert params.keys() == state.params.keys()
    assert statistics.keys() == state.statistics.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(array, state.params[name])


def test_names_are_readable_paths():
    params = workbench("model=bert_tiny").abstract_state.params
    assert "embeddings/token" in params
    assert all(name == name.strip("/") and " " not in name for name in params)


def test_merge_puts_arrays_where_their_path_says():
    bench = workbench("model=resnet_tiny")
    state = numbered(bench)
    marked = state.params | {"head/bias": jnp.full_like(state.params["head/bias"], 7.0)}
    model = bench.structure.merge(marked, state.statistics)
    np.testing.assert_array_equal(model.head.bias[...], np.full(10, 7.0))


# The three kinds of state; tests/models counts the parameters of every model.
@pytest.mark.parametrize("model", [*TINY, "resnet50", "vit_b16", "bert_base"])
def test_count_is_that_of_the_module(model):
    bench = workbench(f"model={model}")
    module = nnx.eval_shape(lambda: bench.build_model(nnx.Rngs(0)))
    expected = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
    assert parameter_count(bench.abstract_state) == expected


def test_seeds_give_different_parameters_and_the_same_seed_the_same():
    make = jax.jit(shallow("vit_tiny").state)
    first, again, other = make(0).params, make(0).params, make(1).params
    kernel = "head/kernel"
    np.testing.assert_array_equal(first[kernel], again[kernel])
    assert not np.array_equal(first[kernel], other[kernel])
