import itertools
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from trainbench.data import digits
from trainbench.data.spec import DIGITS
from trainbench.errors import UserError


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfds")
    digits.prepare(directory)
    return directory


def test_it_is_a_tfds_data_set_of_array_records(directory):
    builder = digits.prepare(directory)
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
        "train": 1500,
        "test": 297,
    }
    assert list(directory.rglob("*.array_record*"))
    assert "tensorflow" not in sys.modules


def test_splits_hold_every_digit_once(directory):
    stored = np.concatenate([digits.whole(directory, split)["image"] for split in ("train", "test")])
    original = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    rows = {image.tobytes() for image in original}
    assert len(stored) == len(original) == 1797
    assert {image.tobytes() for image in stored} == rows


def test_labels_stay_with_their_images(directory):
    original = load_digits()
    label_of = {
        np.rint(image * (255 / 16)).astype(np.uint8).tobytes(): label
        for image, label in zip(original.images, original.target, strict=True)
    }
    test = digits.whole(directory, "test")
    assert [label_of[image.tobytes()] for image in test["image"]] == list(test["label"])


def test_batches_are_fixed_by_the_seed(directory):
    def first(seed):
        return list(itertools.islice(digits.batches(directory, "train", 32, seed), 3))

    one, again, other = first(0), first(0), first(1)
    assert one[0]["image"].shape == (32, 8, 8, 1)
    assert one[0]["image"].dtype == np.uint8
    np.testing.assert_array_equal(one[2]["image"], again[2]["image"])
    assert not np.array_equal(one[0]["image"], other[0]["image"])


def test_an_epoch_shows_each_sample_once(directory):
    batches = list(itertools.islice(digits.batches(directory, "train", 50, 0), 30))
    labels = np.concatenate([batch["label"] for batch in batches])
    assert np.array_equal(np.bincount(labels), np.bincount(digits.whole(directory, "train")["label"]))


def test_normalisation_constants_are_those_of_the_data(directory):
    pixels = np.concatenate([digits.whole(directory, split)["image"] for split in ("train", "test")]) / 255
    assert DIGITS.mean[0] == pytest.approx(pixels.mean(), abs=0.003)
    assert DIGITS.std[0] == pytest.approx(pixels.std(), abs=0.003)


def test_preparing_twice_writes_once(directory):
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
    digits.prepare(directory)
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()} == before


def test_an_unwritable_directory_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        digits.prepare(tmp_path / "file" / "below")
