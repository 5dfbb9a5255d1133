"""Small data sets for tests, as TFDS builders; also what processes of their own import."""

import io
import os
import time
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

# Where the generation of a set notes that it began, and which file it then waits for.
NOTES, RELEASE = "SMALL_SETS_NOTES", "SMALL_SETS_RELEASE"


def encoded(number: int, form: str = "JPEG") -> io.BytesIO:
    pixels = np.random.default_rng(number).integers(0, 255, (60, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    file.seek(0)
    return file


class SmallPhotos(tfds.core.GeneratorBasedBuilder):
    """64 and 8 JPEGs of 80 x 60 pixels."""

    VERSION = tfds.core.Version("1.2.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "deep": tfds.features.Image(shape=(1, 1, 1), dtype=np.uint16, encoding_format="png"),
            "pixels": tfds.features.Tensor(shape=(2, 3, 1), dtype=np.uint8),
            "label": tfds.features.ClassLabel(num_classes=10),
            "number": np.int64,
            "note": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(64), "test": self._generate_examples(8)}

    def _generate_examples(self, count):
        _note_and_wait()
        deep = io.BytesIO()
        Image.fromarray(np.full((1, 1), 40_000, np.uint16)).save(deep, "PNG")
        for number in range(count):
            yield (
                number,
                {
                    "image": encoded(number),
                    "deep": io.BytesIO(deep.getvalue()),
                    "pixels": np.full((2, 3, 1), number, np.uint8),
                    "label": number % 10,
                    "number": number,
                    "note": f"photo {number}",
                },
            )


class SmallPngs(SmallPhotos):
    """As `SmallPhotos`, but PNG in all but name."""

    def _generate_examples(self, count):
        for key, example in super()._generate_examples(count):
            yield key, {**example, "image": encoded(key, "PNG")}


class SmallGreys(SmallPhotos):
    """Each image of one grey that no other has, so that it is known again however it is cropped; 64 and 8."""

    def _generate_examples(self, count):
        for key, example in super()._generate_examples(count):
            file = io.BytesIO()
            Image.new("RGB", (80, 60), (3 * key,) * 3).save(file, "PNG")
            file.seek(0)
            yield key, {**example, "image": file}


class SmallTexts(tfds.core.GeneratorBasedBuilder):
    """Two configurations of ten short texts each."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="plain"), tfds.core.BuilderConfig(name="loud")]  # noqa: RUF012

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "label": np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(10):
            yield number, {"text": f"text {number}", "label": number}


class SmallArrays(SmallPhotos):
    """Images as arrays, which TFDS encodes with TensorFlow."""

    def _generate_examples(self, count):
        for key, example in super()._generate_examples(count):
            yield key, {**example, "image": np.zeros((4, 4, 3), np.uint8)}


class SmallManual(SmallTexts):
    """Needs a file that the user must bring."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir should contain\n  words.txt, from its author."

    def _split_generators(self, dl_manager):
        (dl_manager.manual_dir / "words.txt").read_text()
        return {"train": self._generate_examples()}


class SmallDownloaded(SmallTexts):
    """Downloads one file; a test sets `url`."""

    url = ""

    def _split_generators(self, dl_manager):
        dl_manager.download(self.url)
        return {"train": self._generate_examples()}


class SmallBeam(tfds.core.BeamBasedBuilder):
    """Made with Apache Beam."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"x": np.int64}))

    def _split_generators(self, dl_manager):
        return {"train": None}

    def _generate_examples(self):
        raise AssertionError("not reached")


def _note_and_wait():
    if notes := os.environ.get(NOTES):
        with open(notes, "a", encoding="utf-8") as file:
            file.write("began\n")
    if release := os.environ.get(RELEASE):
        while not Path(release).exists():
            time.sleep(0.02)
