"""Where each array of the training state lies, by the rules in sharding.yaml."""

import functools
import re
from dataclasses import dataclass
from importlib import resources
from math import prod
from typing import Any

import jax
import optax
import yaml
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from trainbench.models.blocks import is_stacked
from trainbench.training.parallel import FSDP, TENSOR
from trainbench.training.state import Arrays, TrainState


@dataclass(frozen=True)
class TensorRule:
    """Parameters whose path ends so are split along one dimension by the axis `tensor`."""

    path: re.Pattern[str]
    dimension: int


@dataclass(frozen=True)
class Rules:
    """The content of sharding.yaml.

    Attributes:
      rows_only: parameters of which the axis `fsdp` splits the first dimension or none.
      least_elements: smaller parameters are not split by it.
    """

    tensor: tuple[TensorRule, ...]
    rows_only: re.Pattern[str]
    least_elements: int

    def tensor_dimension(self, path: str, ndim: int) -> int | None:
        """The dimension that `tensor` is to split; None where it splits none."""
        found = next((rule.dimension for rule in self.tensor if rule.path.search(path)), None)
        return None if found is None else found % ndim


@functools.cache
def rules() -> Rules:
    """The shipped rules."""
    text = resources.files("trainbench.training").joinpath("sharding.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return Rules(
        tuple(TensorRule(_at_the_end(rule["path"]), rule["dimension"]) for rule in content["tensor"]),
        _at_the_end(content["fsdp"]["rows_only"]),
        content["fsdp"]["least_elements"],
    )


def _at_the_end(path: str) -> re.Pattern[str]:
    return re.compile(rf"(^|/)(?:{path})$")


def spec_of(path: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """The axes that split each dimension of one parameter.

    A dimension that an axis does not divide stays whole; `unsplit` tells of it. A stack of layers is split as
    each of them would be, so that every device has its part of every layer.
    """
    if is_stacked(path):
        return PartitionSpec(None, *_spec_of_layer(path, shape[1:], mesh))
    return _spec_of_layer(path, shape, mesh)


def _spec_of_layer(path: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    axes: list[str | tuple[str, str] | None] = [None] * len(shape)
    split = rules().tensor_dimension(path, len(shape)) if shape else None
    if split is not None and mesh.shape[TENSOR] > 1 and shape[split] % mesh.shape[TENSOR] == 0:
        axes[split] = TENSOR
    fsdp = mesh.shape[FSDP]
    if fsdp == 1 or prod(shape) < rules().least_elements:
        return PartitionSpec(*axes)
    if rules().rows_only.search(path):
        if axes[0] is None and shape[0] % fsdp == 0:
            axes[0] = FSDP
        elif axes[0] == TENSOR and shape[0] % (fsdp * mesh.shape[TENSOR]) == 0:
            axes[0] = (TENSOR, FSDP)
    else:
        fitting = [
            dimension for dimension, size in enumerate(shape) if axes[dimension] is None and size % fsdp == 0
        ]
        if fitting:
            axes[max(fitting, key=lambda dimension: shape[dimension])] = FSDP
    return PartitionSpec(*axes)


def unsplit(params: Arrays, mesh: Mesh) -> tuple[str, ...]:
    """What an axis should have split and did not, each with why."""
    return tuple(
        reason for path, array in params.items() for reason in _reasons(path, array.shape, mesh) if reason
    )


def _reasons(path: str, shape: tuple[int, ...], mesh: Mesh) -> tuple[str, ...]:
    if is_stacked(path):
        shape = shape[1:]
    used = _spec_of_layer(path, shape, mesh)
    tensor, fsdp = mesh.shape[TENSOR], mesh.shape[FSDP]
    split = rules().tensor_dimension(path, len(shape)) if shape else None
    reasons = []
    if tensor > 1 and split is not None and TENSOR not in used:
        reasons.append(f"{path}: {shape[split]:,} is not a multiple of tensor={tensor}")
    is_split = any(FSDP in (axes if isinstance(axes, tuple) else (axes,)) for axes in used)
    if fsdp > 1 and prod(shape) >= rules().least_elements and not is_split:
        if rules().rows_only.search(path):
            factors = f"tensor={tensor} x fsdp={fsdp}" if TENSOR in used else f"fsdp={fsdp}"
            reasons.append(f"{path}: {shape[0]:,} is not a multiple of {factors}")
        else:
            sizes = " x ".join(f"{size:,}" for size in shape)
            reasons.append(f"{path}: no dimension of {sizes} is left that is a multiple of fsdp={fsdp}")
    return tuple(reasons)


def state_shardings(state: TrainState, optimizer: optax.GradientTransformation, mesh: Mesh) -> Any:
    """The sharding of each array of an abstract state, in a tree of its form.

    Args:
      optimizer: which of its arrays belong to a parameter is known to it alone.
    """
    whole: Any = NamedSharding(mesh, PartitionSpec())

    def of_arrays(arrays: Arrays) -> Any:
        return {path: NamedSharding(mesh, spec_of(path, array.shape, mesh)) for path, array in arrays.items()}

    params = of_arrays(state.params)
    # What an optimizer keeps for a parameter need not have its shape.
    kept = optax.tree_utils.tree_map_params(
        optimizer,
        lambda array, parameter, sharding: sharding if array.shape == parameter.shape else whole,
        state.optimizer,
        state.params,
        params,
        transform_non_params=lambda _: whole,
    )
    return TrainState(params, of_arrays(state.statistics), kept, whole, whole)


def bytes_per_device(state: Any) -> int:
    """Bytes of a state of abstract arrays with shardings on each device, which is the same on all."""
    return sum(
        prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
    )
