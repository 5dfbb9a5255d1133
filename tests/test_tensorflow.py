"""What needs TensorFlow, from the command line to the record: stock sets prepared; tf.data as the loader."""

import json
import os
import subprocess
import sys

import pytest

from tests.building import request
from tests.data import imagenet, small_sets
from tests.needs import needs_tensorflow
from trainbench import real_data
from trainbench.data.pipeline import Shard
from trainbench.data.reading import Surroundings

pytestmark = [pytest.mark.tensorflow, needs_tensorflow]

FAST = ("model=resnet_tiny", "batch_size=4", "measure=quick", "steps=6", "warmup=1", "hydra.run.dir=out")
IMAGENET = ("data=tfds", "data.name=imagenet2012", "model.architecture.classes=1000")
# Stands in TensorFlow's place, and tells whoever asks for it that it is not there.
STAND_IN = "import os; open(os.environ['ASKED_FOR'], 'w').close(); raise ImportError('not for this run')"


def trainbench(directory, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "trainbench", *arguments],
        cwd=directory,
        env=os.environ | {"TRAINBENCH_CACHE": str(directory / "cache")} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


def record_in(directory):
    return json.loads((directory / "out" / "result.json").read_text())


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    archives = tmp_path_factory.mktemp("imagenet") / "archives"
    imagenet.write_archives(archives)
    return archives


@pytest.fixture(scope="module")
def tfrecord(archives):
    """The overrides that name ImageNet prepared as TFRECORD, and what `prepare` said."""
    directory = archives.parent / "tfrecord"
    overrides = (*IMAGENET, f"data.dir={directory}", "data.loader=tfdata")
    said = trainbench(
        archives.parent, "prepare", *overrides[:2], *overrides[3:], f"data.manual_dir={archives}"
    )
    return overrides, said.stdout


def test_imagenet_goes_from_its_archives_to_training_which_does_without_tensorflow(archives, tmp_path):
    place = f"data.dir={tmp_path / 'tfds'}"
    said = trainbench(tmp_path, "prepare", *IMAGENET[:2], place, f"data.manual_dir={archives}")
    assert "train        12 records" in said.stdout
    (tmp_path / "instead").mkdir()
    (tmp_path / "instead" / "tensorflow.py").write_text(STAND_IN)
    asked_for = tmp_path / "asked_for"
    trainbench(
        tmp_path,
        *(*IMAGENET, place, *FAST),
        PYTHONPATH=str(tmp_path / "instead"),
        ASKED_FOR=str(asked_for),
    )
    record = record_in(tmp_path)
    assert record["status"] == "ok"
    assert record["input"]["mode"] == "real"
    assert record["input"]["bad_records"] == {}
    assert record["loss"]["finite"]
    assert not asked_for.exists()


def test_the_stand_in_for_tensorflow_is_noticed(tmp_path):
    (tmp_path / "tensorflow.py").write_text(STAND_IN)
    asked_for = tmp_path / "asked_for"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "ASKED_FOR": str(asked_for)}
    done = subprocess.run([sys.executable, "-c", "import tensorflow"], env=environment, capture_output=True)
    assert done.returncode == 1
    assert asked_for.exists()


@pytest.mark.parametrize("mode", ["real", "all"])
def test_tf_data_trains_from_tfrecord(tfrecord, tmp_path, mode):
    overrides, said = tfrecord
    assert "train        12 records" in said
    done = trainbench(tmp_path, *overrides, *FAST, f"input={mode}")
    assert "Traceback" not in done.stderr
    record = record_in(tmp_path)
    assert record["status"] == "ok"
    assert record["input"]["mode"] == mode
    assert record["loss"]["finite"]
    assert record["autos"]["data.decoder"]["value"] == "tensorflow"
    if mode == "all":
        assert set(record["input"]["rates"]) == {"resident", "host", "real"}
        assert record["input"]["loader"]["samples_per_s"] > 0


def test_both_loaders_give_each_image_with_its_label(tmp_path):
    """64 images, each of a grey of its own: one epoch, as a batch of all of them."""

    def epoch(loader, file_format):
        directory = tmp_path / loader
        small_sets.SmallGreys(data_dir=str(directory), file_format=file_format).download_and_prepare()
        asked = request(
            *("model=resnet_tiny", "data=tfds", "data.name=small_greys"),
            *(f"data.dir={directory}", f"data.loader={loader}"),
        )
        batches = real_data.open_data(asked, Surroundings(2, Shard(), tmp_path, tmp_path)).batches(64, seed=0)
        batch = next(batches)
        batches.close()
        assert (batch["image"].min((1, 2, 3)) == batch["image"].max((1, 2, 3))).all()
        return sorted(zip(batch["image"][:, 0, 0, 0].tolist(), batch["label"].tolist(), strict=True))

    grain, tfdata = epoch("grain", "array_record"), epoch("tfdata", "tfrecord")
    assert grain == tfdata == [(3 * number, number % 10) for number in range(64)]
