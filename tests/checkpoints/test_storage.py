"""Checkpoints on the disk: exact, on any number of devices, whole or not at all."""

import logging
import math
import os
import resource
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trainbench.autos import Auto
from trainbench.checkpoints import files, starting
from trainbench.checkpoints.notes import Notes, Save, in_words
from trainbench.checkpoints.storage import Storage
from trainbench.errors import UserError
from trainbench.measure.guards import TimedWindow
from trainbench.measure.pauses import Measured
from trainbench.measure.plan import Plan
from trainbench.measure.steady import Steadiness
from trainbench.training.state import TrainState

PLAN = Plan(
    calls=12, calls_per_block=2, warmup_min_calls=0, warmup_max_calls=12, window=3, warmup_limit_s=9.0
)


def notes(step: int) -> Notes:
    return Notes(
        step=step,
        global_batch_size=8,
        conditions={"the device": "cpu"},
        plan=PLAN,
        chosen={"blocks": Auto(6, "few")},
        measured=Measured((0.1, 0.25), (0.01, 0.02), Steadiness(True, "settled")),
        blocks_of=(0, 1),
        losses=((1, 0.1 + 0.2), (2, math.inf)),
        inputs=(in_words(b"\x00state"), None),
        saves=(Save(1.5, 0.25, (0.3,)),),
    )


def state(value: float) -> TrainState:
    params = {"a/kernel": jnp.full((4, 6), value), "b": jnp.full((3,), value, jnp.bfloat16)}
    return TrainState(params, {}, (params, ()), jnp.int32(7), jnp.zeros(2, jnp.uint32))


def abstract(like: TrainState) -> TrainState:
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
    )


@pytest.fixture
def storage(tmp_path):
    made = Storage(tmp_path / "ck", keep=2)
    yield made
    made.close()


def saved(storage: Storage, step: int, value: float) -> None:
    saving = storage.begin(state(value), notes(step))
    saving.wait()
    assert saving.error is None
    assert saving.started_s <= saving.blocked_until_s <= (saving.ended_s or 0)


def test_what_is_restored_is_what_was_saved(storage):
    saved(storage, 5, 0.1)
    found, told = storage.restore(5, abstract(state(0.0)))
    assert jax.tree.structure(found) == jax.tree.structure(state(0.1))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(state(0.1)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert told == notes(5)
    assert told.input_of(0, 2) == b"\x00state"
    assert told.input_of(1, 2) is None
    assert told.input_of(0, 4) is None, "the shares of other processes don't fit"


def test_the_state_may_be_donated_while_it_is_being_saved(storage):
    step = jax.jit(lambda held: jax.tree.map(lambda leaf: leaf + 1, held), donate_argnums=0)
    large = state(1.0)._replace(params={"a": jnp.ones((512, 512))})
    shape = abstract(large)
    step(jax.tree.map(jnp.copy, large))  # compiled before
    saving = storage.begin(large, notes(1))
    for _ in range(50):
        large = step(large)
    jax.block_until_ready(large)
    saving.wait()
    found, _ = storage.restore(1, shape)
    assert float(found.params["a"].min()) == float(found.params["a"].max()) == 1.0


def test_saving_is_no_forbidden_transfer_and_compiles_nothing_the_second_time(storage):
    saved(storage, 1, 1.0)
    now, window = state(2.0), TimedWindow()
    with window():
        saving = storage.begin(now, notes(2))
    saving.wait()
    assert window.compilations == 0


def test_as_many_are_kept_as_asked_for(storage):
    for step in (1, 2, 3):
        saved(storage, step, step)
    assert files.steps_in(storage.directory) == (2, 3)
    assert sorted(path.name for path in storage.directory.glob(".*.json")) == [
        ".2.sizes.json",
        ".3.sizes.json",
    ]


def test_a_truncated_file_is_found_and_named(storage):
    saved(storage, 1, 1.0)
    saved(storage, 2, 2.0)
    assert files.damage(storage.directory, 2) is None
    written = [path for path in (storage.directory / "2" / "state").rglob("*") if path.is_file()]
    largest = max(written, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    told = files.damage(storage.directory, 2)
    assert told is not None
    assert largest.name in told
    with pytest.raises(UserError, match=largest.name) as error:
        starting.check_whole(storage.directory, (1, 2))
    assert "from optimizer step 1" in error.value.fix


def test_after_a_failure_saving_works_again(storage):
    saved(storage, 1, 1.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
    try:
        saving = storage.begin(state(2.0), notes(2))
        saving.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in str(saving.error)
    assert saving.ended_s is None
    storage.recover()
    assert files.steps_in(storage.directory) == (1,), "the earlier checkpoint is as it was"
    saved(storage, 3, 3.0)
    assert files.steps_in(storage.directory) == (1, 3)


def test_orbax_is_imported_only_where_checkpoints_are_asked_for():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, trainbench.benchmark; sys.exit('orbax.checkpoint' in sys.modules)",
        ],
        env=os.environ | {"PYTHONPATH": ":".join(sys.path)},
        timeout=120,
    )
    assert done.returncode == 0


def test_orbax_logs_nothing_below_what_ends_a_program():
    assert logging.getLogger("absl").level == logging.CRITICAL


ON_FEWER_DEVICES = """
import sys
from pathlib import Path

import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

from tests.checkpoints.test_storage import abstract, notes
from trainbench.checkpoints.storage import Storage
from trainbench.training.parallel import Axes, mesh
from trainbench.training.state import TrainState

whole = np.arange(64.0, dtype=np.float32).reshape(16, 4)
assert len(jax.devices()) == 8
for count in (8, 4, 1):
    devices = mesh(jax.devices()[:count], Axes(fsdp=count))
    split, same = NamedSharding(devices, P("fsdp")), NamedSharding(devices, P())
    def placed(kernel):
        return TrainState(
            {"kernel": jax.device_put(kernel, split)}, {}, (jax.device_put(kernel, same),),
            jax.device_put(np.int32(3), same), jax.device_put(np.zeros(2, np.uint32), same),
        )
    storage = Storage(Path(sys.argv[1]), keep=5)
    if count < 8:
        state, told = storage.restore(10 - count, abstract(placed(whole)))
        kernel = state.params["kernel"]
        assert kernel.sharding == split and len(kernel.addressable_shards) == count
        np.testing.assert_array_equal(kernel, whole * {4: 1, 1: 2}[count])
        np.testing.assert_array_equal(state.optimizer[0], kernel)
    if count > 1:
        storage.begin(placed(whole * 8 / count), notes({8: 6, 4: 9}[count])).wait()
    storage.close()
print("restored")
"""


def test_a_state_that_is_split_over_8_devices_is_restored_on_4_and_on_1(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ON_FEWER_DEVICES, str(tmp_path / "ck")],
        env={"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "restored" in done.stdout, done.stderr
