"""640 photographs of ImageNet's usual size as a real TFDS data set: for measuring how fast images are read.

They are cut out of eight photographs that scikit-learn and scikit-image carry, at places that a fixed seed
draws, and stored as JPEG. No network and no TensorFlow is needed. The label says which photograph; since
pieces of one photograph overlap, accuracy on "test" says nothing about new images.

Sources, as the packages' own texts tell (scikit-learn: datasets/images/README.txt; scikit-image: the
docstrings of skimage.data):

  china      by danielbuechele on Flickr, CC BY 2.0, flickr.com/photos/danielbuechele/6061409035
  flower     by vultilion on Flickr, CC BY 2.0, flickr.com/photos/vultilion/6056698931
             (both: creativecommons.org/licenses/by/2.0; cut, resized and compressed again here)
  astronaut  Eileen Collins, by NASA, public domain
  cat        Chelsea, by Stefan van der Walt, CC0
  coffee     by Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0
  rocket     Falcon 9, by SpaceX, public domain
  retina     by Mikael Häggström, CC0
  galaxies   Hubble eXtreme Deep Field, by NASA, public domain
"""

import importlib
import io
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from trainbench import extras
from trainbench.errors import UserError

# By label: the package, and the file in it.
SOURCES: dict[str, tuple[str, str]] = {
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "galaxies": ("skimage", "data/hubble_deep_field.jpg"),
}
LIBRARIES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}
TRAIN_PER_SOURCE, TEST_PER_SOURCE = 72, 8
WIDTH, HEIGHT = 500, 375
# A piece shows at least this much of the width that it could have.
LEAST_SCALE = 0.75
# The mean file then has 97 kB, 0.52 bytes a pixel: as many as those of the photographs that are JPEGs
# themselves (0.48), and nearly those of ImageNet (about 110 kB for 500 x 375 pixels).
QUALITY = 98


# Not registered with TFDS: it is opened by trainbench's own name for it.
class TrainbenchPhotos(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The TFDS builder: splits "train" (576) and "test" (64), equally many of each photograph."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(HEIGHT, WIDTH, 3), encoding_format="jpeg"),
                "label": tfds.features.ClassLabel(names=list(SOURCES)),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, download_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        del download_manager
        return {
            "train": self._generate_examples(range(TRAIN_PER_SOURCE)),
            "test": self._generate_examples(range(TRAIN_PER_SOURCE, TRAIN_PER_SOURCE + TEST_PER_SOURCE)),
        }

    def _generate_examples(self, pieces: range) -> Iterator[tuple[str, dict[str, Any]]]:
        for label, name in enumerate(SOURCES):
            photo = _photo(name)
            for number in pieces:
                piece = _piece(photo, np.random.default_rng([label, number]))
                yield f"{name}_{number}", {"image": _jpeg(piece), "label": label}


def _photo(name: str) -> Image.Image:
    package, path = SOURCES[name]
    try:
        # Read as a file: the packages' own functions would download what they lack.
        stored = resources.files(importlib.import_module(package)).joinpath(path).read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise UserError(
            f"data=photos is made from files in {LIBRARIES[package]}, which "
            + ("is not installed" if isinstance(error, ImportError) else f"lacks {path} in this version"),
            fix=extras.install("image"),
        ) from error
    return Image.open(io.BytesIO(stored)).convert("RGB")


def _piece(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale, across, down = rng.uniform((LEAST_SCALE, 0, 0), 1)
    width = scale * min(photo.width, photo.height * WIDTH / HEIGHT)
    height = width * HEIGHT / WIDTH
    left, top = across * (photo.width - width), down * (photo.height - height)
    box = (left, top, left + width, top + height)
    return photo.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box)


def _jpeg(image: Image.Image) -> io.BytesIO:
    encoded = io.BytesIO()
    image.save(encoded, format="JPEG", quality=QUALITY)
    encoded.seek(0)
    return encoded
