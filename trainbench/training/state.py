"""The training state: one pytree of plain arrays, keyed by parameter path.

NNX modules exist only while a step is traced. What crosses the device boundary is flat dictionaries from a
path such as "blocks/0/attention/query/kernel" to an array, which JAX flattens in C++ at each call; walking an
NNX graph there instead costs 10 to 40 ms a step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

Arrays = dict[str, jax.Array]
BuildModel = Callable[[nnx.Rngs], nnx.Module]


class TrainState(NamedTuple):
    """Everything that a step reads and writes; donated as a whole.

    `statistics` holds batch-normalisation averages, empty for models without them; `step` is an int32 scalar;
    `rng` is the raw key data from which each step derives its own key.
    """

    params: Arrays
    statistics: Arrays
    optimizer: optax.OptState
    step: jax.Array
    rng: jax.Array


@dataclass(frozen=True)
class _Leaves:
    """How one NNX state becomes a flat dictionary and back: paths in leaf order, and their tree."""

    names: tuple[str, ...]
    treedef: Any

    @classmethod
    def of(cls, state: nnx.State) -> "_Leaves":
        names = tuple("/".join(map(str, path)) for path, _ in nnx.to_flat_state(state))
        return cls(names, jax.tree.structure(state))

    def pack(self, arrays: Arrays) -> nnx.State:
        return jax.tree.unflatten(self.treedef, [arrays[name] for name in self.names])

    def unpack(self, state: nnx.State) -> Arrays:
        return dict(zip(self.names, jax.tree.leaves(state), strict=True))


@dataclass(frozen=True)
class Structure:
    """The static half of an NNX module: everything but its arrays."""

    graphdef: Any
    params: _Leaves
    statistics: _Leaves

    @classmethod
    def of(cls, build_model: BuildModel) -> "Structure":
        """Read from an abstract build: no array is made."""
        graphdef, params, statistics = _split(_abstract(build_model))
        return cls(graphdef, _Leaves.of(params), _Leaves.of(statistics))

    def merge(self, params: Arrays, statistics: Arrays) -> nnx.Module:
        """The module that holds these arrays."""
        return nnx.merge(self.graphdef, self.params.pack(params), self.statistics.pack(statistics))

    def split(self, model: nnx.Module) -> tuple[Arrays, Arrays]:
        """(parameters, statistics) of a module of this structure, keyed by "/"-joined path."""
        _, params, statistics = _split(model)
        return self.params.unpack(params), self.statistics.unpack(statistics)


def _split(model: nnx.Module) -> tuple[Any, nnx.State, nnx.State]:
    graphdef, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, statistics = states
    return graphdef, params, statistics


def _abstract(build_model: BuildModel) -> nnx.Module:
    return nnx.eval_shape(lambda: build_model(nnx.Rngs(0)))


def init(
    structure: Structure, build_model: BuildModel, optimizer: optax.GradientTransformation, seed: int
) -> TrainState:
    """A fresh state; call it under `jax.jit` or `jax.eval_shape`."""
    model_key, step_key = jax.random.split(jax.random.key(seed))
    params, statistics = structure.split(build_model(nnx.Rngs(model_key)))
    step, rng = jnp.zeros((), jnp.int32), jax.random.key_data(step_key)
    return TrainState(params, statistics, optimizer.init(params), step, rng)


def parameter_count(state: TrainState) -> int:
    """The number of trained parameters; running statistics are not among them."""
    return sum(int(array.size) for array in state.params.values())
