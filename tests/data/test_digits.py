import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.building import request
from trainbench.data.image_set import open_images
from trainbench.data.pipeline import Shard
from trainbench.data.prepared import open_set
from trainbench.data.reading import Surroundings


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def digits(cache: Path, *overrides: str):
    surroundings = Surroundings(cores=2, shard=Shard(), scratch=cache, cache=cache)
    return open_images(request("data=digits", "model=resnet_tiny", *overrides).data, surroundings, 32)


def whole(cache: Path, split: str):
    """Every sample of a split, in stored order."""
    other = {"train": "test", "test": "train"}[split]
    (batch,) = digits(cache, f"data.split={other}", f"data.held_out={split}").held_out(2000)
    return batch


def test_it_is_a_tfds_data_set_of_array_records(cache):
    builder = open_set("digits", cache / "tfds").builder
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1500,
        "test": 297,
    }
    assert list(cache.rglob("*.array_record*"))
    assert "tensorflow" not in sys.modules


def test_splits_hold_every_digit_once(cache):
    stored = np.concatenate([whole(cache, split)["image"] for split in ("train", "test")])
    original = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    rows = {image.tobytes() for image in original}
    assert len(stored) == len(original) == 1797
    assert {image.tobytes() for image in stored} == rows


def test_labels_stay_with_their_images(cache):
    original = load_digits()
    label_of = {
        np.rint(image * (255 / 16)).astype(np.uint8).tobytes(): label
        for image, label in zip(original.images, original.target, strict=True)
    }
    test = whole(cache, "test")
    assert [label_of[image.tobytes()] for image in test["image"]] == list(test["label"])


def test_they_travel_as_they_are_stored(cache):
    wire = digits(cache).wire
    assert (wire.height, wire.width, wire.channels, wire.classes) == (8, 8, 1, 10)
    batches = digits(cache).batches(32, seed=0)
    batch = next(batches)
    batches.close()
    assert (batch["image"].shape, batch["image"].dtype) == ((32, 8, 8, 1), np.uint8)


def test_an_epoch_shows_each_sample_once(cache):
    batches = digits(cache).batches(50, seed=0)
    labels = np.concatenate([next(batches)["label"] for _ in range(30)])
    batches.close()
    assert np.array_equal(np.bincount(labels), np.bincount(whole(cache, "train")["label"]))


def test_normalisation_constants_are_those_of_the_data(cache):
    pixels = np.concatenate([whole(cache, split)["image"] for split in ("train", "test")]) / 255
    wire = digits(cache).wire
    assert wire.mean[0] == pytest.approx(pixels.mean(), abs=0.003)
    assert wire.std[0] == pytest.approx(pixels.std(), abs=0.003)


def test_preparing_twice_writes_once(cache):
    open_set("digits", cache / "tfds")
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    open_set("digits", cache / "tfds")
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()} == before
