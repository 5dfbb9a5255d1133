"""Which part of each array a device holds."""

import re

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from tests.building import TINY, Workbench
from trainbench.training import compile as aot
from trainbench.training import sharding
from trainbench.training.parallel_settings import AXES

SPLIT, FSDP, BOTH = ("tensor",), ("fsdp",), {"fsdp", "tensor"}


def mesh_of(**sizes):
    shape = tuple(sizes.get(axis, 1) for axis in AXES)
    return Mesh(np.asarray([jax.devices()[0]] * int(np.prod(shape)), dtype=object).reshape(shape), AXES)


def spec(path, *shape, **sizes):
    return tuple(sharding.spec_of(path, shape, mesh_of(**sizes)))


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        ("blocks/0/attention/query/kernel", (64, 64), (None, "tensor")),
        ("blocks/0/attention/query/bias", (64,), ("tensor",)),
        ("blocks/11/attention/out/kernel", (64, 64), ("tensor", None)),
        ("blocks/0/attention/out/bias", (64,), (None,)),
        ("blocks/0/attention_norm/scale", (64,), (None,)),
        ("blocks/0/mlp/up/kernel", (64, 256), (None, "tensor")),
        ("blocks/0/mlp/down/kernel", (256, 64), ("tensor", None)),
        ("blocks/0/mlp/down/bias", (64,), (None,)),
        ("embeddings/token", (1024, 64), ("tensor", None)),
        ("token", (1024, 64), ("tensor", None)),
        ("class_token", (1, 1, 64), (None, None, None)),
        ("position", (128, 64), (None, None)),
        ("stages/1/0/conv2/kernel", (3, 3, 32, 32), (None, None, None, "tensor")),
        ("stages/1/0/norm2/scale", (32,), ("tensor",)),
        ("stages/1/0/shortcut/norm/mean", (32,), ("tensor",)),
        ("head/kernel", (64, 10), (None, "tensor")),
    ],
)
def test_tensor_splits_columns_then_rows(path, shape, expected):
    assert spec(path, *shape, tensor=2) == expected


def test_fsdp_splits_the_longest_dimension_that_it_divides():
    assert spec("blocks/0/mlp/up/kernel", 64, 256, fsdp=8) == (None, "fsdp")
    assert spec("stages/0/0/conv1/kernel", 3, 3, 16, 16, fsdp=8) == (None, None, "fsdp", None)


def test_tables_of_embeddings_are_split_by_rows_alone():
    assert spec("token", 1024, 768, fsdp=8) == ("fsdp", None)
    assert spec("embeddings/token", 1024, 768, fsdp=2, tensor=2) == (("tensor", "fsdp"), None)
    assert spec("embeddings/position", 512, 1024, fsdp=8, tensor=2) == ("fsdp", None)
    assert spec("token", 50257, 768, fsdp=8) == (None, None)


def test_what_is_small_stays_whole_under_fsdp():
    assert spec("blocks/0/mlp/up/bias", 1023, fsdp=1) == (None,)
    assert spec("blocks/0/mlp/up/bias", 512, fsdp=8) == (None,)


def test_fsdp_takes_a_dimension_that_tensor_has_left():
    assert spec("blocks/0/mlp/up/kernel", 64, 256, fsdp=2, tensor=2) == ("fsdp", "tensor")
    assert spec("blocks/0/attention/out/kernel", 64, 64, fsdp=2, tensor=2) == ("tensor", "fsdp")


def test_a_dimension_that_is_no_multiple_stays_whole_and_is_told():
    mesh = mesh_of(tensor=2, fsdp=4)
    params = {"token": jax.ShapeDtypeStruct((50257, 66), "float32")}
    assert sharding.spec_of("token", (50257, 66), mesh) == PartitionSpec(None, None)
    assert sharding.unsplit(params, mesh) == (
        "token: 50,257 is not a multiple of tensor=2",
        "token: 50,257 is not a multiple of fsdp=4",
    )
    params = {
        "token": jax.ShapeDtypeStruct((30522, 64), "float32"),
        "mlp/up/kernel": jax.ShapeDtypeStruct((66, 102), "float32"),
    }
    assert sharding.unsplit(params, mesh) == (
        "token: 30,522 is not a multiple of tensor=2 x fsdp=4",
        "mlp/up/kernel: no dimension of 66 x 102 is left that is a multiple of fsdp=4",
    )


@pytest.mark.parametrize("model", TINY)
def test_every_rule_that_a_model_needs_is_there(model):
    """All matrices and convolutions of a block are split, so nothing of it is computed twice."""
    bench = Workbench([f"model={model}"])
    mesh = mesh_of(tensor=2)
    for path, array in bench.abstract_state.params.items():
        if re.search(r"(query|key|value|out|up|down|conv\d?)/kernel$", path):
            assert "tensor" in sharding.spec_of(path, array.shape, mesh), path
    assert sharding.unsplit(bench.abstract_state.params, mesh) == ()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb", "lars"])
@pytest.mark.parametrize("model", ["vit_tiny", "resnet_tiny"])
def test_optimizer_state_and_statistics_lie_with_their_parameters(model, optimizer):
    bench = Workbench([f"model={model}", f"optimizer={optimizer}"])
    state, mesh = bench.abstract_state, mesh_of(fsdp=2, tensor=2)
    placed = sharding.state_shardings(state, bench.optimizer, mesh)
    assert jax.tree.structure(placed) == jax.tree.structure(state)
    for path, leaf in jax.tree_util.tree_leaves_with_path(placed.optimizer):
        name = getattr(path[-1], "key", None)
        if name in state.params:
            assert leaf == placed.params[name], path
    for name in placed.statistics:
        assert placed.statistics[name] == placed.params[re.sub("mean$|var$", "scale", name)]


def test_the_state_of_one_device_gets_smaller_with_the_devices_that_split_it():
    bench = Workbench(["model=bert_tiny", "optimizer=adamw"])
    state = bench.abstract_state
    whole = aot.nbytes(state)

    def on_one_device(**sizes):
        shardings = sharding.state_shardings(state, bench.optimizer, mesh_of(**sizes))
        return sharding.bytes_per_device(aot.placed(state, shardings))

    assert on_one_device(data=8) == whole
    assert whole / 8 <= on_one_device(fsdp=8) < 1.1 * whole / 8
    assert whole / 2 <= on_one_device(tensor=2) < 1.1 * whole / 2
    assert whole / 4 <= on_one_device(fsdp=2, tensor=2) < 1.1 * whole / 4
