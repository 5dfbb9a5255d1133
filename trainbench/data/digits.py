"""The handwritten digits of scikit-learn as a real TFDS data set: written once as ArrayRecord, read by Grain.

1,797 grey images of 8 x 8 pixels with values 0 to 16, in 10 classes (Alpaydin & Kaynak 1998, UCI Machine
Learning Repository, "Optical Recognition of Handwritten Digits"). No network and no TensorFlow is needed.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits

from trainbench.data.spec import DIGITS
from trainbench.data.synthetic import HostBatch
from trainbench.errors import UserError

TRAIN_SAMPLES = 1500


class TrainbenchDigits(tfds.core.GeneratorBasedBuilder):
    """The TFDS builder: splits "train" (1,500) and "test" (297), drawn by one fixed permutation.

    The order of the original groups samples by writer, so its tail would not be a fair held-out set.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=DIGITS.classes),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, download_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del download_manager
        order = np.random.default_rng(0).permutation(len(load_digits().target))
        return {
            "train": self._generate_examples(order[:TRAIN_SAMPLES]),
            "test": self._generate_examples(order[TRAIN_SAMPLES:]),
        }

    def _generate_examples(self, indices: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        digits = load_digits()
        for index in indices:
            pixels = np.rint(digits.images[index] * (255 / 16)).astype(np.uint8)
            yield int(index), {"image": _png(pixels), "label": int(digits.target[index])}


def _png(pixels: np.ndarray) -> io.BytesIO:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    encoded.seek(0)
    return encoded


def prepare(directory: Path) -> Any:
    """The prepared builder under `directory`; written on the first call, only read afterwards."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        builder = TrainbenchDigits(data_dir=str(directory), file_format="array_record")
        if not builder.info.splits:
            tfds.disable_progress_bar()
            # TFDS announces itself on stdout, which is for results.
            with contextlib.redirect_stdout(sys.stderr):
                builder.download_and_prepare()
    except OSError as error:
        raise UserError(
            f"the digits data set cannot be written to {directory}: {error.strerror or error}",
            allowed="a directory that exists or can be made, and written to",
            fix="choose a writable directory with data.dir=DIR or the variable TRAINBENCH_CACHE",
        ) from error
    return builder


def batches(directory: Path, split: str, batch_size: int, seed: int) -> Iterator[HostBatch]:
    """Endless shuffled batches: image uint8 [B, 8, 8, 1], label int32 [B]; order fixed by `seed`."""
    dataset = grain.MapDataset.source(_records(directory, split)).seed(seed).shuffle().repeat()
    yield from dataset.map(decode).batch(batch_size, drop_remainder=True).to_iter_dataset()


def whole(directory: Path, split: str) -> HostBatch:
    """Every sample of a split in one batch, in stored order."""
    samples = [decode(record) for record in _records(directory, split)]
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def _records(directory: Path, split: str) -> Any:
    # The stored PNG bytes come through, so that decoding does not depend on what TFDS finds installed.
    skip = {"image": tfds.decode.SkipDecoding()}
    return prepare(directory).as_data_source(split=split, decoders=skip)


def decode(record: dict[str, Any]) -> dict[str, np.ndarray]:
    """One stored record as arrays: image uint8 [8, 8, 1], label int32 scalar."""
    with Image.open(io.BytesIO(record["image"])) as image:
        pixels = np.asarray(image, dtype=np.uint8)[..., None]
    return {"image": pixels, "label": np.asarray(record["label"], np.int32)}
