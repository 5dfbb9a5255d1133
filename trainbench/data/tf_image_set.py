"""An image classification set that tf.data reads, for comparison with Grain: no state, no held-out split."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbench.data import tfdata
from trainbench.data.bad_records import BadRecords
from trainbench.data.image_set import image_wire
from trainbench.data.pipeline import Shard
from trainbench.data.reading import Choices, Surroundings
from trainbench.data.settings import BAD_RECORDS, ImageData
from trainbench.data.spec import ImageWire
from trainbench.data.tfdata import TfBatches
from trainbench.errors import UserError

# A batch that lies ready, one that is being made, and what the threads of tf.data hold.
BATCHES_AHEAD = 3


@dataclass(frozen=True)
class Fixed:
    """A setting that cannot be changed here: the values that change nothing, what to type, and why."""

    accepted: Collection[Any]
    typed: str
    why: str


FIXED = {
    "crop": Fixed((None, "random_resized"), "random_resized", "tf.data crops to the model's size"),
    "held_out": Fixed((None,), "null", "tf.data trains here, and evaluates nothing"),
    "decoder": Fixed((None,), "default", "TensorFlow decodes"),
    "workers": Fixed((None,), "default", "tf.data starts no processes"),
    "threads": Fixed((None,), "default", "tf.data chooses its threads itself"),
    "bad_records": Fixed(
        (0, BAD_RECORDS), "0", "tf.data cannot name a damaged record, and stops at the first"
    ),
}


@dataclass(frozen=True)
class TfImageSet:
    """Images of a set prepared as TFRECORD; damaged ones end the run, since tf.data cannot name them."""

    settings: ImageData
    directory: Path
    wire: ImageWire
    size: int
    shard: Shard
    bad: BadRecords
    choices: Choices
    batches_ahead: int = BATCHES_AHEAD

    def batches(self, batch_size: int, seed: int) -> TfBatches:
        """image uint8 [B, H, W, C], label int32 [B]."""
        return tfdata.batches(self.directory, self.settings, self.size, batch_size, seed, self.shard)

    def held_out(self, batch_size: int) -> None:
        del batch_size

    def padding_fraction(self) -> None:
        return None


def open_tf_images(settings: ImageData, surroundings: Surroundings, size: int) -> TfImageSet:
    """The set that `settings` name, for a model that reads images of `size` pixels a side.

    Raises:
      UserError: TensorFlow is missing, the set is not prepared as TFRECORD, or tf.data is asked for what it
        does not do here.
    """
    _refuse_what_is_fixed(settings)
    directory = surroundings.directory(settings, tfdata.FORMAT)
    found = tfdata.open_tfrecord(settings.name, directory)
    shape, classes = found.image_shape(settings.image_key), found.class_count(settings.label_key)
    found.check_split(settings.split)
    # Last, as it takes seconds.
    tfdata.tensorflow()
    return TfImageSet(
        settings=settings,
        directory=directory,
        wire=image_wire(settings, "random_resized", shape, size, classes),
        size=size,
        shard=surroundings.shard,
        bad=surroundings.bad_records(0, found),
        choices=_choices(settings),
    )


def _refuse_what_is_fixed(settings: ImageData) -> None:
    for key, fixed in FIXED.items():
        value = getattr(settings, key)
        if value not in fixed.accepted:
            raise UserError(
                f"data.{key}={value} cannot be had with data.loader=tfdata: {fixed.why}",
                allowed=f"data.{key}={fixed.typed}",
                fix=f"data.{key}={fixed.typed}, or data.loader=grain",
            )


def _choices(settings: ImageData) -> Choices:
    choices: dict[str, tuple[Any, str]] = {"data.decoder": ("tensorflow", "data.loader=tfdata has no other")}
    if settings.crop is None:
        choices["data.crop"] = "random_resized", "data.loader=tfdata has no other"
    if settings.bad_records:
        choices["data.bad_records"] = 0, FIXED["bad_records"].why
    return choices
