"""The handwritten digits of scikit-learn as a real TFDS data set.

1,797 grey images of 8 x 8 pixels with values 0 to 16, in 10 classes (Alpaydin & Kaynak 1998, UCI Machine
Learning Repository, "Optical Recognition of Handwritten Digits"). No network and no TensorFlow is needed.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

TRAIN_SAMPLES = 1500
CLASSES = 10


# Not registered with TFDS: it is opened by trainbench's own name for it.
class TrainbenchDigits(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The TFDS builder: splits "train" (1,500) and "test" (297), drawn by one fixed permutation.

    The order of the original groups samples by writer, so its tail would not be a fair held-out set.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(num_classes=CLASSES),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, download_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del download_manager
        order = np.random.default_rng(0).permutation(len(_original().target))
        return {
            "train": self._generate_examples(order[:TRAIN_SAMPLES]),
            "test": self._generate_examples(order[TRAIN_SAMPLES:]),
        }

    def _generate_examples(self, indices: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        digits = _original()
        for index in indices:
            pixels = np.rint(digits.images[index] * (255 / 16)).astype(np.uint8)
            yield int(index), {"image": _png(pixels), "label": int(digits.target[index])}


def _original() -> Any:
    # Imported here: once the set is prepared, opening it needs no scikit-learn.
    from sklearn.datasets import load_digits

    return load_digits()


def _png(pixels: np.ndarray) -> io.BytesIO:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, format="PNG")
    encoded.seek(0)
    return encoded
