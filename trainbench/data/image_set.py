"""An image classification set, opened for a model: how its images travel, and its batches."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainbench.data import images, pipeline
from trainbench.data.bad_records import BadRecords
from trainbench.data.pipeline import Batches, Reading, Shard, Transform
from trainbench.data.prepared import Prepared
from trainbench.data.reading import Choices, Surroundings, check_splits
from trainbench.data.settings import ImageData
from trainbench.data.spec import HostBatch, ImageWire
from trainbench.errors import UserError


@dataclass(frozen=True)
class ImageSet:
    """Images of a prepared set; `wire` is how they travel to the device.

    Attributes:
      size: pixels a side that images are cropped to; unused for whole images.
    """

    settings: ImageData
    prepared: Prepared
    wire: ImageWire
    size: int
    crop: str
    decoder: str
    reading: Reading
    shard: Shard
    bad: BadRecords
    choices: Choices

    @property
    def batches_ahead(self) -> int:
        return self.reading.batches_ahead

    def batches(self, batch_size: int, seed: int) -> Iterator[HostBatch]:
        """image uint8 [B, H, W, C], label int32 [B]."""
        transform = Transform(self._training_transform(), self.bad)
        samples = pipeline.shuffled(
            self._records(self.settings.split), seed, self.shard, transform, self.reading
        )
        return Batches(samples.batch(batch_size, drop_remainder=True), self.reading)

    def held_out(self, batch_size: int) -> Iterator[HostBatch] | None:
        """As `batches`, but each sample once, from the centre; the last batch may be smaller."""
        if self.settings.held_out is None:
            return None
        transform = Transform(self._held_out_transform(), self.bad)
        return _grouped(pipeline.in_order(self._records(self.settings.held_out), transform), batch_size)

    def padding_fraction(self) -> None:
        return None

    def _records(self, split: str) -> pipeline.Records:
        return self.prepared.records(split, raw=[self.settings.image_key])

    def _training_transform(self) -> images.Transform:
        keys = self.settings.image_key, self.settings.label_key
        if self.crop == "whole":
            return images.Whole(*keys, self._shape, self.settings.flip, self.decoder)
        return images.RandomResizedCrop(*keys, self.size, self.settings.flip, self.decoder)

    def _held_out_transform(self) -> images.Transform:
        keys = self.settings.image_key, self.settings.label_key
        if self.crop == "whole":
            return images.Whole(*keys, self._shape, False, self.decoder)
        return images.CentreCrop(*keys, self.size, self.decoder)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.wire.height, self.wire.width, self.wire.channels


def open_images(settings: ImageData, surroundings: Surroundings, size: int) -> ImageSet:
    """The set that `settings` name, for a model that reads images of `size` pixels a side.

    Raises:
      UserError: it is not prepared, or has not what the settings name.
    """
    found = surroundings.open_set(settings)
    shape = found.image_shape(settings.image_key)
    classes = found.class_count(settings.label_key)
    check_splits(settings, found)
    choices: dict[str, tuple[Any, str]] = {}
    crop = settings.crop
    if crop is None:
        crop, _ = choices["data.crop"] = _choose_crop(shape, size)
    decoder, reason = images.choose_decoder(settings.decoder)
    if settings.decoder is None:
        choices["data.decoder"] = decoder, reason
    reading = surroundings.reading(settings.workers, settings.threads, choices)
    return ImageSet(
        settings=settings,
        prepared=found,
        wire=image_wire(settings, crop, shape, size, classes),
        size=size,
        crop=crop,
        decoder=decoder,
        reading=reading,
        shard=surroundings.shard,
        bad=surroundings.bad_records(settings.bad_records, found),
        choices=choices,
    )


def _choose_crop(shape: tuple[int | None, ...], size: int) -> tuple[str, str]:
    height, width, _ = shape
    if height is None or width is None:
        return "random_resized", "images are of different sizes, as ImageNet's"
    if max(height, width) > size:
        return "random_resized", f"every image is {height} x {width}, more than the model's {size}"
    return "whole", f"every image is {height} x {width}, and is resized on the device"


def image_wire(
    settings: ImageData, crop: str, shape: tuple[int | None, ...], size: int, classes: int
) -> ImageWire:
    """How images of a set travel: cropped to `size` pixels a side and in colour, or whole, of `shape`.

    Raises:
      UserError: they are to be whole, but are of different sizes.
    """
    height, width, channels = (size, size, 3) if crop == "random_resized" else shape
    if height is None or width is None or channels is None:
        raise UserError(
            f"data.crop=whole needs images of one size; those of data.name={settings.name} have many",
            allowed="data.crop=random_resized",
            fix="leave data.crop out",
        )
    if channels != 1:
        # The decoders leave an alpha channel out.
        channels = 3
    mean, std = (_per_channel(values, channels) for values in (settings.mean, settings.std))
    return ImageWire(height, width, channels, classes, mean, std)


def _per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value for each channel; their average where images have another number of channels."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _grouped(samples: Iterator[Mapping[str, np.ndarray]], batch_size: int) -> Iterator[HostBatch]:
    while group := list(itertools.islice(samples, batch_size)):
        yield {name: np.stack([sample[name] for sample in group]) for name in group[0]}
