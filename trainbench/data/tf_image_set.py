"""An image classification set that tf.data reads, for comparison with Grain: no state, no held-out split."""

from dataclasses import dataclass
from pathlib import Path

from trainbench.data import prepare, tfdata
from trainbench.data.bad_records import BadRecords
from trainbench.data.image_set import image_wire
from trainbench.data.pipeline import Shard
from trainbench.data.reading import Choices, Surroundings, data_directory
from trainbench.data.settings import ImageData
from trainbench.data.spec import ImageWire
from trainbench.data.tfdata import TfBatches
from trainbench.errors import UserError

# A batch that lies ready, one that is being made, and what the threads of tf.data hold.
BATCHES_AHEAD = 3


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
    if settings.held_out is not None:
        raise UserError(
            f"data.held_out={settings.held_out} is not read with data.loader=tfdata",
            allowed="data.held_out=null",
            fix="data.held_out=null, or data.loader=grain",
        )
    tfdata.check(settings)
    directory = data_directory(settings, surroundings.cache)
    if settings.download:
        prepare.prepare(
            settings.name,
            directory,
            download=True,
            manual_dir=settings.manual_dir,
            file_format=tfdata.FORMAT,
        )
    found = tfdata.open_tfrecord(settings.name, directory)
    shape, classes = found.image_shape(settings.image_key), found.class_count(settings.label_key)
    found.check_split(settings.split)
    return TfImageSet(
        settings=settings,
        directory=directory,
        wire=image_wire(settings, "random_resized", shape, size, classes),
        size=size,
        shard=surroundings.shard,
        bad=surroundings.bad_records(settings.bad_records),
        choices={},
    )
