"""What a run that goes on has to share with the one before."""

import pytest

from tests.building import tree
from trainbench.checkpoints import identity
from trainbench.checkpoints.settings import CheckpointConfig
from trainbench.errors import UserError

SAVING = CheckpointConfig(every=10)


def directory(*overrides: str, config: CheckpointConfig = SAVING) -> str:
    settings = identity.identity(tree(*overrides), config)
    return str(identity.directory("resnet_tiny", settings, config))


def test_the_directory_is_named_by_the_model_and_what_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert directory().startswith(f"{tmp_path}/checkpoints/resnet_tiny-")
    assert directory() == directory()


@pytest.mark.parametrize(
    "override",
    [
        "parallel.data=4",
        "timeout_s=5",
        "trace=true",
        "price_per_hour=2",
        "checkpoint.every=3",
        "checkpoint.keep=5",
    ],
)
def test_what_changes_nothing_about_the_training_leaves_the_directory_as_it_is(override):
    assert directory(override) == directory()


@pytest.mark.parametrize(
    "override",
    ["seed=1", "batch_size=3", "precision=fp32", "optimizer.weight_decay=0", "steps=7", "remat=full"],
)
def test_what_changes_the_training_or_its_timing_has_a_directory_of_its_own(override):
    assert directory(override) != directory()


def test_saves_that_count_are_a_part_of_what_is_measured():
    timed = [directory(config=CheckpointConfig(every=every, timed=True)) for every in (10, 20)]
    assert len({*timed, directory()}) == 3


def test_a_bucket_is_no_directory():
    with pytest.raises(UserError, match="gs://bucket/a is no directory"):
        directory(config=CheckpointConfig(every=10, dir="gs://bucket/a"))


def test_settings_that_differ_are_named_with_both_values():
    there, here = (identity.identity(tree(f"seed={seed}"), SAVING) for seed in (0, 1))
    assert identity.different_settings(there, here) == ["seed is 0 there and 1 here"]
    assert identity.different_settings({}, {"a": None}) == ["a is None there and None here"]


def test_arrays_that_differ_are_named_the_first_few_of_them():
    found = identity.different_arrays(
        {"head/bias": "float32[10]", "old": "float32[]", "same": "int32[]"},
        {"head/bias": "float32[5]", "new": "float32[2]", "same": "int32[]"},
    )
    assert found == [
        "head/bias is float32[10] there and float32[5] here",
        "new is missing there and float32[2] here",
        "old is float32[] there and missing here",
    ]
    assert identity.first_few([*found, "a", "b"]).endswith("; and 2 more")
    assert identity.first_few(found[:1]) == found[0]
