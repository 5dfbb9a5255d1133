import io

import numpy as np
import pytest
from PIL import Image

from trainbench.data.embedded import photos
from trainbench.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")
pytest.importorskip("skimage", reason="scikit-image is not installed")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    made = photos.TrainbenchPhotos(data_dir=str(tmp_path_factory.mktemp("tfds")), file_format="array_record")
    made.download_and_prepare()
    return made


def stored(builder, split):
    source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    return [source[index] for index in range(len(source))]


def test_both_splits_have_equally_many_of_each_photograph(builder):
    for split, each in (("train", 72), ("test", 8)):
        labels = [int(record["label"]) for record in stored(builder, split)]
        assert np.bincount(labels).tolist() == [each] * 8


def test_images_are_jpegs_of_the_size_and_weight_of_imagenet(builder):
    images = [record["image"] for record in stored(builder, "train")]
    assert 90_000 < np.mean([len(image) for image in images]) < 115_000
    with Image.open(io.BytesIO(images[0])) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (500, 375))


def test_no_image_comes_twice(builder):
    images = [record["image"] for split in ("train", "test") for record in stored(builder, split)]
    assert len(set(images)) == len(images) == 640


def test_the_same_pieces_are_cut_each_time(builder):
    again = photos._jpeg(photos._piece(photos._photo("china"), np.random.default_rng([0, 5]))).getvalue()
    assert again in [record["image"] for record in stored(builder, "train")]


@pytest.mark.parametrize(
    ("package", "says"), [("absent_package", "is not installed"), ("json", "lacks data/x")]
)
def test_what_is_missing_to_make_them_is_named(monkeypatch, package, says):
    monkeypatch.setitem(photos.SOURCES, "cat", (package, "data/x.png"))
    monkeypatch.setitem(photos.LIBRARIES, package, "scikit-image")
    with pytest.raises(UserError, match=says) as error:
        photos._photo("cat")
    assert "-m pip install opencv-python-headless scikit-image" in str(error.value)
    assert "scikit-image" in error.value.problem
