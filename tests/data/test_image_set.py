"""An image set as it is opened for a model: what is chosen, and what is refused."""

import dataclasses

import numpy as np
import pytest

from tests.building import request
from tests.data import small_sets
from trainbench.data import prepare
from trainbench.data.image_set import image_wire, open_images
from trainbench.data.pipeline import Shard
from trainbench.data.reading import Surroundings, data_directory
from trainbench.errors import UserError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    prepare.prepare(small_sets.SmallPhotos.name, cache / "tfds", download=False)
    return cache


def opened(cache, *overrides, size=32, shard=Shard()):  # noqa: B008
    asked = request("data=tfds", "data.name=small_photos", "model=resnet_tiny", *overrides)
    return open_images(asked.data, Surroundings(2, shard, cache, cache), size)


def test_images_of_many_sizes_are_cropped_on_the_host(cache):
    found = opened(cache)
    assert found.choices["data.crop"][0] == "random_resized"
    assert (found.wire.height, found.wire.width, found.wire.channels, found.wire.classes) == (32, 32, 3, 10)
    batches = found.batches(8, seed=0)
    batch = next(batches)
    batches.close()
    assert (batch["image"].shape, batch["label"].shape) == ((8, 32, 32, 3), (8,))


def test_images_of_one_size_travel_whole(cache):
    found = opened(cache, "data.image_key=pixels")
    assert found.choices["data.crop"] == ("whole", "every image is 2 x 3, and is resized on the device")
    assert (found.wire.height, found.wire.width, found.wire.channels) == (2, 3, 1)
    assert found.wire.mean == pytest.approx([np.mean([0.485, 0.456, 0.406])])


def test_images_of_many_sizes_cannot_travel_whole(cache):
    with pytest.raises(UserError, match="whole needs images of one size"):
        opened(cache, "data.crop=whole")


def test_what_was_asked_for_is_not_called_chosen(cache):
    asked = ("data.crop=random_resized", "data.decoder=pillow", "data.workers=0", "data.threads=1")
    found = opened(cache, *asked)
    assert dict(found.choices) == {}
    assert found.decoder == "pillow"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.split=trian", "train"),
        ("data.held_out=validation", "test"),
        ("data.image_key=picture", "image"),
        ("data.label_key=class", "label"),
        ("data.image_key=note", "note"),
    ],
)
def test_what_the_set_lacks_is_refused_before_anything_is_compiled(cache, override, said):
    with pytest.raises(UserError) as caught:
        opened(cache, override)
    assert override.partition("=")[2] in caught.value.problem
    assert said in str(caught.value)


def test_held_out_images_come_once_each_and_always_alike(cache):
    found = opened(cache, "data.held_out=test")
    first, again = (list(found.held_out(5)) for _ in range(2))
    assert [len(batch["label"]) for batch in first] == [5, 3]
    np.testing.assert_array_equal(first[1]["image"], again[1]["image"])
    assert opened(cache).held_out(5) is None


def test_processes_share_the_records(cache):
    labels = []
    for index in range(2):
        batches = opened(cache, shard=Shard(index, 2)).batches(32, seed=0)
        labels.append(next(batches)["label"])
        batches.close()
    assert sorted(np.concatenate(labels)) == sorted(number % 10 for number in range(64))


def test_tfds_own_variable_says_where_stock_sets_live(cache, monkeypatch):
    asked = request("data=tfds", "data.name=small_photos", "model=resnet_tiny").data
    assert data_directory(asked, cache) == cache / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", "/elsewhere")
    assert str(data_directory(asked, cache)) == "/elsewhere"
    assert str(data_directory(dataclasses.replace(asked, dir="/here"), cache)) == "/here"
    assert data_directory(request("data=digits", "model=resnet_tiny").data, cache) == cache / "tfds"


def test_small_images_of_one_size_travel_whole_and_large_ones_are_cropped(cache):
    assert opened(cache, "data.image_key=pixels", size=3).crop == "whole"
    found = opened(cache, "data.image_key=pixels", size=2)
    assert found.choices["data.crop"] == ("random_resized", "every image is 2 x 3, more than the model's 2")


def test_an_alpha_channel_is_left_out(cache):
    settings = request("data=tfds", "model=resnet_tiny").data
    assert image_wire(settings, "whole", (8, 8, 4), size=32, classes=10).channels == 3


@pytest.mark.parametrize(
    ("split", "held_out"), [("train+test", "test"), ("train", "train"), ("train[:60%]", "train[50%:]")]
)
def test_nothing_is_held_out_that_was_trained_on(cache, split, held_out):
    with pytest.raises(UserError, match="share records"):
        opened(cache, f"data.split='{split}'", f"data.held_out='{held_out}'")


def test_parts_of_one_split_can_be_held_out(cache):
    found = opened(cache, "data.split='train[:50%]'", "data.held_out='train[50%:]'")
    (batch,) = found.held_out(100)
    assert len(batch["label"]) == 32


def test_more_workers_than_the_machine_can_run_are_refused(cache):
    with pytest.raises(UserError, match=r"data\.workers=500 on 2 cores"):
        opened(cache, "data.workers=500")
