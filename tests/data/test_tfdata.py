import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.data import imagenet, small_sets  # noqa: F401 (small_sets: for the builders that it registers)
from tests.data.refusing import refused
from tests.needs import needs_tensorflow, without_tensorflow
from trainbench.data import prepare, prepared, tfdata
from trainbench.data.pipeline import Shard
from trainbench.data.settings import ImageData


def settings(**changes):
    chosen = {
        "name": "small_photos",
        "split": "train",
        "image_key": "image",
        "label_key": "label",
        "flip": True,
        "mean": (0.5,),
        "std": (0.5,),
        "loader": "tfdata",
        "bad_records": 0,
        "download": False,
    }
    return ImageData(**(chosen | changes))


def batches(directory, seed=0, shard=Shard(), batch_size=8, **changes):  # noqa: B008
    return tfdata.batches(directory, settings(**changes), 32, batch_size, seed, shard)


def test_a_set_that_is_not_prepared_says_how(tmp_path):
    error = refused("not prepared", batches, tmp_path, name="imagenet2012")
    assert error.fix.endswith("data.loader=tfdata data.manual_dir=DIR")
    assert refused("not prepared", batches, tmp_path, name="digits").fix.endswith("data.loader=tfdata")


def test_array_records_are_for_grain(tmp_path):
    prepare.prepare("small_photos", tmp_path, download=False)
    error = refused("prepared as array_record", batches, tmp_path)
    assert error.allowed == "tfrecord"
    assert error.fix.startswith("data.loader=grain; or ")


def test_the_command_to_prepare_again_asks_for_the_same_loader(tmp_path):
    error = refused(
        "needs files", prepare.prepare, "small_manual", tmp_path, download=False, file_format="tfrecord"
    )
    assert error.fix.endswith("data.loader=tfdata data.manual_dir=DIR")
    (tmp_path / "imagenet2012" / "4.0.0").mkdir(parents=True)
    (tmp_path / "imagenet2012" / "4.0.0" / "dataset_info.json").write_text("{}")
    error = refused("not what lies prepared", batches, tmp_path, name="imagenet2012/5.1.0")
    assert error.fix.endswith("data.loader=tfdata data.manual_dir=DIR")


@without_tensorflow
def test_missing_tensorflow_names_the_extra():
    assert "pip install tensorflow-cpu" in refused("needs TensorFlow", tfdata.tensorflow).fix


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tfrecord")
    for name in ("small_photos", "small_pngs"):
        prepare.prepare(name, directory, download=False, file_format="tfrecord")
    return directory


@needs_tensorflow
@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["small_photos", "small_pngs"])
def test_batches_have_the_shape_that_travels(directory, name):
    batch = next(batches(directory, name=name))
    assert (batch["image"].shape, batch["image"].dtype) == ((8, 32, 32, 3), np.uint8)
    assert (batch["label"].shape, batch["label"].dtype) == ((8,), np.int32)
    assert batch["image"].std() > 10


@needs_tensorflow
@pytest.mark.tensorflow
def test_a_seed_fixes_order_crops_and_flips(directory):
    def first(seed):
        return list(itertools.islice(batches(directory, seed), 10))

    one, again, other = first(0), first(0), first(1)
    for batch, same in zip(one, again, strict=True):
        np.testing.assert_array_equal(batch["image"], same["image"])
        np.testing.assert_array_equal(batch["label"], same["label"])
    assert not np.array_equal(one[0]["image"], other[0]["image"])


@needs_tensorflow
@pytest.mark.tensorflow
def test_epochs_show_each_sample_once_and_shards_share_them(directory):
    labels = [next(batches(directory, shard=Shard(index, 2), batch_size=32))["label"] for index in range(2)]
    assert np.array_equal(np.bincount(np.concatenate(labels)), np.bincount(np.arange(64) % 10))


@needs_tensorflow
@pytest.mark.tensorflow
def test_closed_batches_end(directory):
    source = batches(directory)
    next(source)
    source.close()
    with pytest.raises(StopIteration):
        next(source)


@needs_tensorflow
@pytest.mark.tensorflow
def test_wrong_settings_are_refused(directory):
    refused("no such split", batches, directory, split="trian")
    refused("no such feature", batches, directory, image_key="img")
    refused("how many classes", batches, directory, label_key="number")


@needs_tensorflow
@pytest.mark.tensorflow
def test_a_damaged_record_names_the_loader_that_can_leave_it_out(directory, tmp_path):
    shutil.copytree(directory / "small_photos", tmp_path / "small_photos")
    file = next(tmp_path.rglob("*train.tfrecord*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    refused("cannot read a record", lambda: list(itertools.islice(batches(tmp_path), 9)))


@needs_tensorflow
@pytest.mark.tensorflow
def test_the_stock_imagenet_is_prepared_from_its_archives_and_read_without_tensorflow(tmp_path):
    manual = tmp_path / "manual"
    refused("needs files", prepare.prepare, "imagenet2012", tmp_path, download=False)
    imagenet.write_archives(manual)
    prepare.prepare("imagenet2012", tmp_path, download=False, manual_dir=str(manual))
    script = (
        "import sys; from pathlib import Path; from trainbench.data import prepared\n"
        "imagenet = prepared.open_set('imagenet2012', Path(sys.argv[1]))\n"
        "assert imagenet.image_shape('image') == (None, None, 3) and imagenet.class_count('label') == 1000\n"
        "train = imagenet.records('train', raw=['image'])\n"
        "contents = [train[index].content for index in range(len(train))]\n"
        "assert 'tensorflow' not in sys.modules\n"
        "facts = [(each['file_name'].decode(), each['label'], len(each['image'])) for each in contents]\n"
        "print(sorted(facts))\n"
        "print(len(imagenet.records('validation')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout == f"{imagenet.training_facts()}\n{imagenet.VALIDATION_IMAGES}\n"
    assert prepared.open_set("imagenet2012", tmp_path).fingerprint().startswith("imagenet2012/5.1.0 ")
