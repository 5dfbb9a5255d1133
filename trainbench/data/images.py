"""What becomes of a stored image before it reaches the device: cut and mirrored for training, or as it is.

Grain's workers and threads call these for every image, so they are picklable and hold no state.
"""

import functools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainbench.data.bad_records import BadRecord
from trainbench.data.decoders import Box, Stored, choose_decoder, cut, whole
from trainbench.data.pipeline import Sample
from trainbench.errors import UserError

__all__ = ["CentreCrop", "RandomResizedCrop", "Transform", "Whole", "choose_decoder", "random_box"]

# Szegedy et al. 2014 (arXiv:1409.4842, section 6): 8 to 100 % of the area, at 3:4 to 4:3.
LEAST_AREA = 0.08
LEAST_RATIO, MOST_RATIO = 3 / 4, 4 / 3
TRIES = 10
# A picture resized to 256 and cut to 224 shows this part of its shorter side (Krizhevsky et al. 2012).
CENTRE = 224 / 256
LARGEST_LABEL = np.iinfo(np.int32).max


@dataclass(frozen=True)
class RandomResizedCrop:
    """The usual training crop for ImageNet: a random part of the image, resized, every second one mirrored.

    Result: image uint8 [size, size, 3] in RGB, label int32 scalar. For reduced decoding of large images, see
    `decoders.cut`. Raises BadRecord for content that it cannot use.
    """

    image_key: str
    label_key: str
    size: int
    flip: bool
    decoder: str

    def __call__(self, content: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        label = _label(content, self.label_key)
        mirrored = self.flip and rng.random() < 0.5
        choose = functools.partial(random_box, rng=rng)
        stored = _stored(content, self.image_key)
        image = cut(stored, choose, (self.size, self.size), mirrored=mirrored, decoder=self.decoder)
        return {"image": image, "label": label}


@dataclass(frozen=True)
class CentreCrop:
    """The usual crop for evaluation: the shorter side resized to size/0.875, and the centre cut out.

    Both steps are one here: the central 87.5 % of the shorter side are resized. Result: image uint8
    [size, size, 3] in RGB, label int32 scalar. Raises BadRecord for content that it cannot use.
    """

    image_key: str
    label_key: str
    size: int
    decoder: str

    def __call__(self, content: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        label = _label(content, self.label_key)
        stored = _stored(content, self.image_key)
        image = cut(stored, _centre_box, (self.size, self.size), mirrored=False, decoder=self.decoder)
        return {"image": image, "label": label}


@dataclass(frozen=True)
class Whole:
    """The image as it is stored, of exactly `shape` (height, width, 1 or 3 channels); perhaps mirrored.

    Result: image uint8 [height, width, channels], label int32 scalar. Raises BadRecord for content that it
    cannot use, an image of another size included.
    """

    image_key: str
    label_key: str
    shape: tuple[int, int, int]
    flip: bool
    decoder: str

    def __post_init__(self) -> None:
        if self.shape[2] not in (1, 3):
            raise UserError(f"images of {self.shape[2]} channels", allowed="1 channel (grey) or 3 (RGB)")

    def __call__(self, content: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        label = _label(content, self.label_key)
        image = whole(_stored(content, self.image_key), self.shape[2], decoder=self.decoder)
        if image.shape != self.shape:
            raise BadRecord(f"an image of {_sizes(image.shape)} among others of {_sizes(self.shape)}")
        if self.flip and rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
        return {"image": image, "label": label}


def random_box(height: int, width: int, rng: np.random.Generator) -> Box:
    """A random part of an image, as torchvision's RandomResizedCrop draws it.

    Area and ratio are drawn until the part lies within the image, at most 10 times; then it is the largest
    central part whose ratio is between 3:4 and 4:3
    (docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomResizedCrop.html).
    """
    for _ in range(TRIES):
        area, ratio, down, across = rng.random(4).tolist()
        area = height * width * (LEAST_AREA + area * (1 - LEAST_AREA))
        ratio = LEAST_RATIO * (MOST_RATIO / LEAST_RATIO) ** ratio  # uniform in its logarithm
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = int(down * (height - box_height + 1)), int(across * (width - box_width + 1))
            return Box(top, left, box_height, box_width)
    return _central(
        height, width, min(height, round(width / LEAST_RATIO)), min(width, round(height * MOST_RATIO))
    )


def _centre_box(height: int, width: int) -> Box:
    side = max(1, round(CENTRE * min(height, width)))
    return _central(height, width, side, side)


def _central(height: int, width: int, box_height: int, box_width: int) -> Box:
    return Box((height - box_height) // 2, (width - box_width) // 2, box_height, box_width)


def _stored(content: Mapping[str, Any], key: str) -> Stored:
    stored = content.get(key)
    if stored is None:
        raise BadRecord(f"no {key!r} in the record")
    if not isinstance(stored, bytes | np.ndarray):
        raise BadRecord(f"{key!r} is of type {type(stored).__name__}, no image")
    return stored


def _label(content: Mapping[str, Any], key: str) -> np.ndarray:
    try:
        label = operator.index(content[key])
    except KeyError:
        raise BadRecord(f"no {key!r} in the record") from None
    except TypeError:
        raise BadRecord(f"{key!r} is {content[key]!r:.40}, no integer") from None
    if not 0 <= label <= LARGEST_LABEL:
        # TFDS writes -1 where a split has no labels.
        raise BadRecord(f"label {label}" + (" stands for none" if label == -1 else " is out of range"))
    return np.asarray(label, np.int32)


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in shape)


Transform = RandomResizedCrop | CentreCrop | Whole
